//! Requests of the OCI distribution specification, one file each. Errors have no context here: the caller
//! knows the operation.

pub(crate) mod blobs;
pub(crate) mod manifests;
mod mount;
mod pagination;
pub(crate) mod referrers;
pub(crate) mod tags;
pub(crate) mod uploads;

use reqwest::StatusCode;

pub(crate) use mount::try_mount;
pub(crate) use pagination::NextPage;

/// Whether a response to a read has the whole body. A caching proxy may answer 203 (RFC 9110, 15.3.4) or 206
/// for all bytes. A body that isn't whole fails the comparison with its digest.
fn is_content(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::PARTIAL_CONTENT)
}

/// Whether a response to a write says that it succeeded. The specification names one status for each step;
/// registries answer any of these four, and containerd accepts them (`core/remotes/docker/pusher.go`).
fn is_written(status: StatusCode) -> bool {
    matches!(status, StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT)
}
