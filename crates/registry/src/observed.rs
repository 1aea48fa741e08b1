//! Observed behaviour of a registry: a request that it refused once isn't sent again.

use std::sync::Mutex;

use zstart_core::sync::lock;

use crate::operation::Access;

/// Behaviour of one registry towards one repository's client. Shared by concurrent requests.
pub(crate) struct Observed(Mutex<Behaviour>);

/// A registry's behaviour, as far as its answers have shown it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// Requests of a small blob's upload.
    pub(crate) small_uploads: SmallUploads,
    /// Answers to HEAD of a blob.
    pub(crate) blob_heads: BlobHeads,
    /// Rights that a token needs to read the repository.
    pub(crate) reads: Access,
    /// Redirects of a streamed upload.
    pub(crate) stream_redirects: usize,
    /// Answers of the referrers API.
    pub(crate) referrers_api: ReferrersApi,
}

/// Requests of a small blob's upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SmallUploads {
    /// One, until the registry shows that it doesn't support that.
    SinglePost,
    /// Two: POST and PUT.
    Session,
}

/// Answers to HEAD of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlobHeads {
    /// Whether the blob exists.
    Answered,
    /// A refusal of every blob.
    Refused,
}

/// Answers of the referrers API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReferrersApi {
    /// Lists, or that there is no such API.
    Answers,
    /// Errors of the registry's own, on every attempt.
    Fails,
}

impl Observed {
    pub(crate) fn new(small_uploads: SmallUploads) -> Self {
        Self(Mutex::new(Behaviour {
            small_uploads,
            blob_heads: BlobHeads::Answered,
            reads: Access::Pull,
            stream_redirects: 0,
            referrers_api: ReferrersApi::Answers,
        }))
    }

    pub(crate) fn get(&self) -> Behaviour {
        *lock(&self.0)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.0));
    }
}
