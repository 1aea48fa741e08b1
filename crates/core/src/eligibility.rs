//! Pure rules for when a pod may run a variant, and the closed list of outcomes.
//!
//! - [`pod`]: exclusions by a pod's metadata, independent of its images.
//! - [`placement`] and [`node`]: candidate nodes of a pod, their platforms and container runtimes.
//! - [`record_view`]: the variant that a conversion record offers now.

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
