//! Requests of the OCI distribution specification, one file each. Errors have no context here: the caller
//! knows the operation.

pub(crate) mod blobs;
pub(crate) mod manifests;
mod mount;
mod pagination;
pub(crate) mod referrers;
pub(crate) mod tags;
pub(crate) mod uploads;

pub(crate) use mount::try_mount;
