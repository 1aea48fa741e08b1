//! An image in a registry, read with oci-client.
//!
//! oci-client never logs in here: each request has the authorization that [`Login`] returned. Two properties
//! of oci-client 0.18 shape this module. It stores an authorization once and never replaces it, so a new
//! authorization means a new client. For a password, it would follow the registry's challenge to any host, so
//! a password enters its token cache, where it is used without a challenge.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::RegistryTokenType;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::sync::Mutex;

use crate::digest::Digest;
use crate::reader::{BlobStream, ImageReader, ReadError, ReadErrorKind};

/// Time without a byte after which a transfer fails.
const READ_TIMEOUT: Duration = Duration::from_mins(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of a manifest. oci-client reads a manifest's body whole, without a limit of its size; the time
/// limits it.
const MANIFEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Characters of a registry's error message that are repeated.
const MESSAGE_MAX: usize = 300;
/// Media types of all manifests and indexes, so that the registry converts none.
const ACCEPT: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Authorization of a pull.
#[derive(Clone, PartialEq, Eq)]
pub enum Authorization {
    /// The registry asks for no credentials.
    Anonymous,
    /// User and password.
    Basic {
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// Token of the registry's token server.
    Bearer(String),
}

/// Source of authorizations. A layer can take longer than a token lives, so each request asks for one.
#[async_trait]
pub trait Login: Send + Sync {
    /// Returns an authorization that is valid now. The implementation caches it.
    async fn authorization(&self) -> Result<Authorization, ReadError>;
}

/// A registry's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Host and port, as in the URL.
    pub host: String,
    /// Whether the registry speaks plain HTTP.
    pub plain_http: bool,
}

impl Endpoint {
    /// Whether the registry runs on this machine.
    fn is_loopback(&self) -> bool {
        let host = match self.host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or(rest),
            None => self.host.split(':').next().unwrap_or(&self.host),
        };
        matches!(host, "localhost" | "localhost.localdomain")
            || host.ends_with(".localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Tag or digest of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Tag, which may move.
    Tag(String),
    /// Digest.
    Digest(Digest),
}

/// An image in a registry.
pub struct RegistryImage {
    endpoint: Endpoint,
    repository: String,
    selector: Selector,
    login: Arc<dyn Login>,
    session: Mutex<Option<Session>>,
}

/// Client for one authorization.
struct Session {
    authorization: Authorization,
    client: Client,
}

impl RegistryImage {
    /// Creates an image. Sends no request.
    pub fn new(endpoint: Endpoint, repository: String, selector: Selector, login: Arc<dyn Login>) -> Self {
        Self { endpoint, repository, selector, login, session: Mutex::default() }
    }

    fn reference(&self, selector: &Selector) -> Reference {
        let (host, repository) = (self.endpoint.host.clone(), self.repository.clone());
        match selector {
            Selector::Tag(tag) => Reference::with_tag(host, repository, tag.clone()),
            Selector::Digest(digest) => Reference::with_digest(host, repository, digest.to_string()),
        }
    }

    /// Returns the client for the current authorization, and that authorization as oci-client takes it.
    async fn client(&self) -> Result<(Client, RegistryAuth), ReadError> {
        let authorization = self.login.authorization().await?;
        let mut session = self.session.lock().await;
        let client = match &*session {
            Some(session) if session.authorization == authorization => session.client.clone(),
            _ => self.new_client(&authorization).await?,
        };
        let auth = match &authorization {
            // The password is in the token cache.
            Authorization::Anonymous | Authorization::Basic { .. } => RegistryAuth::Anonymous,
            Authorization::Bearer(token) => RegistryAuth::Bearer(token.clone()),
        };
        *session = Some(Session { authorization, client: client.clone() });
        Ok((client, auth))
    }

    async fn new_client(&self, authorization: &Authorization) -> Result<Client, ReadError> {
        // A proxy that is used for no address switches off those of the environment. Those would get a loopback
        // registry's password in clear text.
        let proxy = self.endpoint.is_loopback().then(|| "http://127.0.0.1:9".to_owned());
        let config = ClientConfig {
            protocol: if self.endpoint.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            platform_resolver: None,
            read_timeout: Some(READ_TIMEOUT),
            connect_timeout: Some(CONNECT_TIMEOUT),
            user_agent: concat!("zstart-verify/", env!("CARGO_PKG_VERSION")),
            no_proxy: proxy.as_ref().map(|_| "*,0.0.0.0/0,::/0".to_owned()),
            http_proxy: proxy.clone(),
            https_proxy: proxy,
            ..ClientConfig::default()
        };
        // `Client::new` would fall back to the defaults on a bad configuration.
        let client = Client::try_from(config)
            .map_err(|error| read_error("set up the HTTP client".to_owned(), error))?;
        if let Authorization::Basic { user, password } = authorization {
            let token = RegistryTokenType::Basic(user.clone(), password.clone());
            client.tokens.insert(&self.reference(&self.selector), RegistryOperation::Pull, token).await;
        }
        Ok(client)
    }

    async fn pull_manifest(&self, selector: &Selector) -> Result<Bytes, ReadError> {
        let reference = self.reference(selector);
        let operation = || format!("read manifest {reference}");
        let (client, auth) = self.client().await?;
        let pull = client.pull_manifest_raw(&reference, &auth, &ACCEPT);
        match tokio::time::timeout(MANIFEST_TIMEOUT, pull).await {
            Ok(Ok((content, _))) => Ok(content),
            Ok(Err(error)) => Err(read_error(operation(), error)),
            Err(elapsed) => Err(ReadError::new(ReadErrorKind::Unavailable, operation(), elapsed)),
        }
    }
}

#[async_trait]
impl ImageReader for RegistryImage {
    async fn top(&self) -> Result<Bytes, ReadError> {
        self.pull_manifest(&self.selector).await
    }

    fn pinned(&self) -> Option<&Digest> {
        match &self.selector {
            Selector::Tag(_) => None,
            Selector::Digest(digest) => Some(digest),
        }
    }

    async fn manifest(&self, digest: &Digest) -> Result<Bytes, ReadError> {
        self.pull_manifest(&Selector::Digest(digest.clone())).await
    }

    async fn blob(&self, digest: &Digest) -> Result<BlobStream, ReadError> {
        let reference = self.reference(&self.selector);
        let operation = format!("read blob {digest} of {}/{}", self.endpoint.host, self.repository);
        let (client, auth) = self.client().await?;
        client.store_auth_if_needed(reference.resolve_registry(), &auth).await;
        // A bare digest: of a descriptor, oci-client would follow `urls` to any host.
        match client.pull_blob_stream(&reference, digest.as_str()).await {
            Ok(blob) => Ok(Box::pin(
                blob.map(move |piece| piece.map_err(|error| read_error(operation.clone(), error.into()))),
            )),
            Err(error) => Err(read_error(operation, error)),
        }
    }
}

/// Classifies an error. URLs are left out: that of a redirected blob holds a signature.
fn read_error(operation: String, error: OciDistributionError) -> ReadError {
    let (kind, cause) = match error {
        OciDistributionError::UnauthorizedError { .. } => {
            (ReadErrorKind::Denied, "the registry answered 401 Unauthorized".to_owned())
        }
        OciDistributionError::AuthenticationFailure(message) => (ReadErrorKind::Denied, printable(&message)),
        OciDistributionError::ServerError { code, message, .. } => {
            let kind = match code {
                404 => ReadErrorKind::NotFound,
                401 | 403 => ReadErrorKind::Denied,
                429 | 500.. => ReadErrorKind::Unavailable,
                _ => ReadErrorKind::Other,
            };
            (kind, format!("the registry answered {code}: {}", printable(&message)))
        }
        OciDistributionError::RegistryError { envelope, .. } => {
            let kinds = envelope.errors.iter().map(|error| kind_of_code(&error.code));
            let kind = kinds.reduce(|first, _| first).unwrap_or(ReadErrorKind::Other);
            let errors = envelope.errors.iter().map(|error| format!("{:?}: {}", error.code, error.message));
            (kind, printable(&errors.collect::<Vec<_>>().join(", ")))
        }
        OciDistributionError::DigestError(error) => (ReadErrorKind::Content, error.to_string()),
        OciDistributionError::RequestError(error) => return request_error(operation, error),
        OciDistributionError::IoError(error) => return stream_error(operation, error),
        error => (ReadErrorKind::Other, printable(&error.to_string())),
    };
    ReadError::new(kind, operation, cause)
}

fn kind_of_code(code: &OciErrorCode) -> ReadErrorKind {
    match code {
        OciErrorCode::BlobUnknown
        | OciErrorCode::ManifestBlobUnknown
        | OciErrorCode::ManifestUnknown
        | OciErrorCode::NameUnknown
        | OciErrorCode::NotFound => ReadErrorKind::NotFound,
        OciErrorCode::Unauthorized | OciErrorCode::Denied => ReadErrorKind::Denied,
        OciErrorCode::Toomanyrequests => ReadErrorKind::Unavailable,
        _ => ReadErrorKind::Other,
    }
}

/// oci-client's streams hold its own errors inside `io::Error`.
fn stream_error(operation: String, error: std::io::Error) -> ReadError {
    let error = match error.downcast::<DigestError>() {
        Ok(error) => return ReadError::new(ReadErrorKind::Content, operation, error),
        Err(error) => error,
    };
    match error.downcast::<reqwest::Error>() {
        Ok(error) => request_error(operation, error),
        Err(error) => ReadError::new(ReadErrorKind::Unavailable, operation, error),
    }
}

fn request_error(operation: String, error: reqwest::Error) -> ReadError {
    ReadError::new(ReadErrorKind::Unavailable, operation, error.without_url())
}

fn printable(message: &str) -> String {
    let message: String = message.chars().take(MESSAGE_MAX).collect();
    message.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_on_this_machine_are_loopback() {
        let is_loopback = |host: &str| Endpoint { host: host.to_owned(), plain_http: true }.is_loopback();
        for host in ["localhost:5000", "127.0.0.1", "127.8.0.1:5000", "[::1]:5000", "registry.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["registry.example", "10.0.0.1:5000", "localhost.example", "127.0.0.1.example"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
    #[test]
    fn errors_hide_the_urls_of_redirects() {
        let (code, message) = (403, "no right\n".to_owned());
        let url = "https://bucket.example/blob?X-Amz-Signature=secret".to_owned();
        let error =
            read_error("read blob".to_owned(), OciDistributionError::ServerError { url, code, message });
        assert_eq!(error.kind, ReadErrorKind::Denied);
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(cause.as_deref(), Some("the registry answered 403: no right"));
    }
}
