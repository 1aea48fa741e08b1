//! When a pod may run a variant: the pure rules, and the closed list of reasons why not.
//!
//! - [`pod`]: what a pod says of itself that rules a rewrite out, whatever its images are.
//! - [`placement`] and [`node`]: which nodes a pod could land on, and what these can run.
//! - [`record_view`]: what a conversion record offers now.

pub mod node;
pub mod placement;
pub mod pod;
mod reason;
pub mod record_view;
pub mod runtime;
mod selector;
mod taint;

pub use node::Node;
pub use placement::{CandidateNodes, Placement};
pub use reason::Reason;
pub use record_view::RecordView;
