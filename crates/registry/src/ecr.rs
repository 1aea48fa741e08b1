//! Amazon ECR: which hosts are its registries, and what its registries do in their own way.

mod host;
mod quota;

pub use host::{EcrEndpoint, EcrRegistry};
pub(crate) use quota::{Ecr, EcrRegistries};
