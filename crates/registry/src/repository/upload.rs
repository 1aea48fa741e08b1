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
    async fn follow_stream_redirects(&mut self, known: usize) -> usize {
        if known == 0 {
            return 0;
        }
        match self.session.follow_stream_redirects(known).await {
            Ok(followed) => followed,
            // The stream gets the error that counts.
            Err(error) => {
                let error = zstart_core::chain(&error);
                tracing::debug!(error, "failed to find the address of a redirected upload");
                known
            }
        }
    }
}

#[async_trait]
impl BlobUpload for Upload {
    async fn send(&mut self, content: ByteStream) -> Result<(), RegistryError> {
        let known = self.observed.get().stream_redirects;
        let followed = self.follow_stream_redirects(known).await;
        let sent = self.session.patch(content).await;
        // A balancer may redirect streams and answer an empty PATCH itself, so only a stream ends the probes.
        if known > 0 && sent.is_ok() {
            self.observed.update(|observed| observed.stream_redirects = followed);
        }
        sent.map_err(|error| match error {
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

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::api::uploads;
    use crate::client::Client;
    use crate::observed::SmallUploads;

    /// A registry that redirects each PATCH with content, and none without. Sends the number of redirects that
    /// are known when the content arrives.
    async fn start_balancer(
        observed: Arc<Observed>,
    ) -> (String, tokio::sync::mpsc::UnboundedReceiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (known, receiver) = tokio::sync::mpsc::unbounded_channel();
        // The task ends with the test's runtime.
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut request = Vec::new();
                let is_stream = |request: &[u8]| {
                    String::from_utf8_lossy(request)
                        .to_ascii_lowercase()
                        .contains("transfer-encoding: chunked")
                };
                while !request.ends_with(b"\r\n\r\n")
                    || (is_stream(&request) && !request.ends_with(b"\r\n0\r\n\r\n"))
                {
                    connection.read_buf(&mut request).await.unwrap();
                }
                let answer = if is_stream(&request) {
                    known.send(observed.get().stream_redirects).unwrap();
                    "307 Temporary Redirect\r\nLocation: /moved"
                } else {
                    "202 Accepted\r\nLocation: /v2/app/blobs/uploads/1"
                };
                let head = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                connection.write_all(head.as_bytes()).await.unwrap();
            }
        });
        (host, receiver)
    }

    #[tokio::test]
    async fn empty_patch_alone_does_not_end_the_probes() {
        let observed = Arc::new(Observed::new(SmallUploads::Session));
        let (host, mut known) = start_balancer(Arc::clone(&observed)).await;
        let client = Client::for_tests(&host, &host);
        for expected in [0, 1, 1] {
            let session = uploads::start(&client).await.unwrap();
            let mut upload = Upload { location: host.clone(), session, observed: Arc::clone(&observed) };
            upload.send(Box::pin(stream::iter([Ok("content".into())]))).await.unwrap_err();
            assert_eq!(known.recv().await, Some(expected));
        }
        assert_eq!(observed.get().stream_redirects, 1);
    }
}
