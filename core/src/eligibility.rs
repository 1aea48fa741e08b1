//! When a pod may run a variant: the pure rules, and the closed list of reasons why not.

mod reason;
pub mod runtime;

pub use reason::Reason;
