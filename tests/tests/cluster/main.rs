//! Whole clusters, which need root. Each test starts its own cluster and is the first process in its
//! namespaces.

mod end_to_end;
mod lab;
