//! The operator that converts images, and keeps what the webhook needs.

pub mod certificates;
