//! Pure rules for when a pod may run a variant, and the closed list of outcomes.
//!
//! - [`pod`]: exclusions by a pod's metadata, independent of its images.
//! - [`placement`]: constraints of a pod on its nodes.
//! - [`node`], [`node_class`] and [`node_set`]: nodes, their platforms and container runtimes.
//! - [`candidates`]: the nodes that a pod could run on, against a variant.
//! - [`vouched`]: nodes that don't exist yet.
//! - [`record_view`]: the variant that a conversion record offers now.

pub mod candidates;
pub mod node;
pub mod node_class;
pub mod node_set;
pub mod placement;
pub mod pod;
mod reason;
pub mod record_view;
pub mod runtime;
mod selector;
pub mod taint;
pub mod vouched;

pub use candidates::{Blocked, Candidates, FutureNodes};
pub use node::Node;
pub use node_class::{Candidate, NodeClass};
pub use node_set::NodeSet;
pub use placement::Placement;
pub use reason::Reason;
pub use record_view::RecordView;
