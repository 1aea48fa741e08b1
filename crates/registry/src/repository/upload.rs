//! An upload session as a [`BlobUpload`].

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use zstart_core::Digest;

use crate::api::uploads::{Session, StreamError};
use crate::error::{RegistryError, RequestError};
use crate::http::MAX_REDIRECTS;
use crate::observed::Observed;
use crate::operation::Operation;
use crate::store::{BlobUpload, ByteStream};

/// An upload session as a [`BlobUpload`].
pub(super) struct Upload {
    pub(super) location: String,
    pub(super) session: Session,
    pub(super) observed: Arc<Observed>,
}

impl Upload {
    /// Moves the session to where the registry redirects streams, if it has redirected one before. Returns the
    /// number of redirects.
    async fn follow_stream_redirects(&mut self) -> usize {
        let known = self.observed.get().stream_redirects;
        if known == 0 {
            return 0;
        }
        let followed = match self.session.follow_stream_redirects(known).await {
            Ok(followed) => followed,
            // The stream gets the error that counts.
            Err(error) => {
                let error = zstart_core::chain(&error);
                tracing::debug!(error, "failed to find the address of a redirected upload");
                return known;
            }
        };
        self.observed.update(|observed| observed.stream_redirects = followed);
        followed
    }
}

#[async_trait]
impl BlobUpload for Upload {
    async fn send(&mut self, content: ByteStream) -> Result<(), RegistryError> {
        let followed = self.follow_stream_redirects().await;
        self.session.patch(content).await.map_err(|error| match error {
            StreamError::Content(error) => error,
            StreamError::Request(error) => {
                if matches!(error, RequestError::StreamRedirected { .. }) {
                    // Concurrent uploads find out the same.
                    self.observed.update(|observed| {
                        let redirects = (followed + 1).min(MAX_REDIRECTS);
                        observed.stream_redirects = observed.stream_redirects.max(redirects);
                    });
                }
                error.during(Operation::push("upload a blob", ""), &self.location)
            }
        })
    }

    async fn commit(self: Box<Self>, digest: &Digest) -> Result<(), RegistryError> {
        let put = self.session.put(digest, Bytes::new()).await;
        let operation = Operation::push("finish the upload of blob", digest);
        put.map_err(|error| error.during(operation, &self.location))
    }

    async fn abort(self: Box<Self>) {
        self.session.cancel().await;
    }
}
