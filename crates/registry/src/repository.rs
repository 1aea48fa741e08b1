//! A repository of a registry that speaks the OCI distribution protocol.
//!
//! Our own client: of those that there are, oci-client (0.18) bounds no body, hides `Retry-After`,
//! holds blobs back in pieces smaller than ECR takes, trips over the 201 with which ECR answers them,
//! and sends passwords wherever a challenge points.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;
use tracing::debug;
use zstart_core::{Digest, Reference, Tag};

use self::ecr::EcrRegistries;
pub use self::limits::Limits;
use self::network::Network;
use self::session::Session;
use crate::credentials::Credentials;
use crate::{BlobUpload, ByteStream, ManifestKey, Repository, RepositoryError, Trouble};
use zstart_oci::{Descriptor, RawManifest};

mod answer;
mod challenge;
mod ecr;
mod limits;
mod login;
mod network;
mod pace;
mod pages;
mod pull;
mod push;
mod referrers;
mod retry;
mod session;
mod silence;
mod tags;

/// What holds for all registries.
#[derive(Clone, Debug, Default)]
pub struct RegistryOptions {
    /// Registries (`host` or `host:port`) that are reached over plain http. All others need TLS.
    pub plain_http: Vec<String>,
    /// Hosts outside of a registry's own domain to which it may send logins.
    pub token_servers: Vec<String>,
    /// How long registries may take.
    pub limits: Limits,
}

/// The way to registries. Cheap to clone; connections are shared.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    options: Arc<RegistryOptions>,
    network: Network,
    ecr: Arc<EcrRegistries>,
}

/// The HTTP client can't be set up, e.g. because the system has no root certificates.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client: {message}")]
pub struct ClientError {
    message: String,
}

/// Reads a `WWW-Authenticate` header.
#[cfg(fuzzing)]
pub fn challenge_of(header: &[u8]) {
    use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
    let Ok(header) = HeaderValue::from_bytes(header) else { return };
    let _ = challenge::read(&HeaderMap::from_iter([(WWW_AUTHENTICATE, header)]));
}

/// One repository, with the credentials for it.
struct RegistryRepository {
    location: String,
    session: Session,
    /// Whether a small blob may go in the request that opens its upload. `false` once it didn't.
    one_request_will_do: AtomicBool,
}

impl RegistryClient {
    /// A client. TLS uses the process's default rustls provider and the system's root certificates.
    pub fn new(options: RegistryOptions) -> Result<Self, ClientError> {
        let network = Network::new(options.limits)?;
        Ok(Self { network, options: Arc::new(options), ecr: Arc::default() })
    }

    /// The repository of `reference`. No request is made yet.
    pub fn repository(&self, reference: &Reference, credentials: Credentials) -> Arc<dyn Repository> {
        let (network, options) = (self.network.clone(), Arc::clone(&self.options));
        let ecr = self.ecr.of(reference.registry());
        let session = Session::new(network, options, reference, credentials, ecr);
        debug!(repository = %reference.name(), credentials = ?session.credentials(), "opened repository");
        let one_request_will_do = AtomicBool::new(true);
        Arc::new(RegistryRepository { location: reference.name(), session, one_request_will_do })
    }
}

#[async_trait]
impl Repository for RegistryRepository {
    fn location(&self) -> &str {
        &self.location
    }

    async fn manifest(&self, key: ManifestKey<'_>) -> Result<RawManifest, RepositoryError> {
        retry::with_retries(self.session.limits().pause, || pull::manifest(&self.session, key)).await
    }

    async fn tag_digest(&self, tag: &Tag) -> Result<Digest, RepositoryError> {
        match pull::tag_digest(&self.session, tag).await? {
            Some(digest) => Ok(digest),
            None => Ok(self.manifest(ManifestKey::Tag(tag)).await?.digest),
        }
    }

    async fn tags(&self, most: usize) -> Result<Vec<Tag>, RepositoryError> {
        tags::list(&self.session, most).await
    }

    async fn put_manifest(
        &self,
        manifest: &RawManifest,
        media_type: &str,
        tag: Option<&Tag>,
    ) -> Result<(), RepositoryError> {
        let pushed = retry::with_retries(self.session.limits().pause, || {
            push::manifest(&self.session, manifest, media_type, tag)
        })
        .await;
        let (mut error, tag) = match (pushed, tag) {
            (Err(error), Some(tag)) => (error, tag),
            (pushed, _) => return pushed,
        };
        // Where tags can't be moved, some registries refuse even what stands there already (Amazon ECR:
        // 400 TAG_INVALID). Two who make the same variant at once must both succeed.
        if matches!(error.trouble, Trouble::TagTaken | Trouble::Other)
            && let Ok(found) = self.tag_digest(tag).await
        {
            if found == manifest.digest {
                return Ok(());
            }
            if error.trouble == Trouble::TagTaken {
                error.message = format!(
                    "the tag is {found} already, and this repository's tags can't be moved: delete it there, \
                     or write to another tag ({})",
                    error.message
                );
            }
        }
        Err(error)
    }

    async fn blob(&self, digest: &Digest) -> Result<ByteStream, RepositoryError> {
        retry::with_retries(self.session.limits().pause, || pull::blob(&self.session, digest)).await
    }

    async fn has_blob(&self, digest: &Digest) -> Result<bool, RepositoryError> {
        retry::with_retries(self.session.limits().pause, || pull::has_blob(&self.session, digest)).await
    }

    async fn referrers(&self, of: &Digest, artifact_type: &str) -> Result<Vec<Descriptor>, RepositoryError> {
        referrers::list(&self.session, of, artifact_type).await
    }

    async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool, RepositoryError> {
        match self.session.beside(from) {
            Some((session, name)) => push::mount(&session, digest, &name).await,
            None => Ok(false),
        }
    }

    async fn put_blob(&self, digest: &Digest, content: Bytes) -> Result<(), RepositoryError> {
        let put = || push::whole(&self.session, digest, &content, &self.one_request_will_do);
        match retry::with_retries(self.session.limits().pause, put).await {
            Ok(()) => Ok(()),
            Err(error) => Err(ecr::explain(&self.session, error).await),
        }
    }

    async fn begin_blob(&self) -> Result<Box<dyn BlobUpload>, RepositoryError> {
        let begun = retry::with_retries(self.session.limits().pause, || push::begin(&self.session)).await;
        match begun {
            Ok(upload) => Ok(Box::new(upload)),
            Err(error) => Err(ecr::explain(&self.session, error).await),
        }
    }
}
