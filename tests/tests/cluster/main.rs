//! Whole clusters. They need root; each test starts its own cluster and is the first process in its
//! namespaces.

mod end_to_end;
mod lab;
