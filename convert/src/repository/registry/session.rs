//! One repository as a user: where it is, and the right to read or write it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};
use reqwest::{RequestBuilder, Url};
use tokio::sync::Mutex;
use zstart_core::Reference;

use super::super::{Access, RepositoryError, Trouble};
use super::answer;
use crate::credentials::Credentials;

/// How long a token is used. Token servers give at least 60 s (distribution, "Token Authentication
/// Specification", `expires_in`).
const FRESH: Duration = Duration::from_secs(45);

/// Shared by all requests to one repository.
#[derive(Clone)]
pub(super) struct Session {
    oci: oci_client::Client,
    /// For reading: gives up when nothing comes.
    pub(super) reader: reqwest::Client,
    /// For writing.
    pub(super) writer: reqwest::Client,
    reference: Reference,
    credentials: Credentials,
    plain_http: bool,
    may_read: Arc<Mutex<Option<Proof>>>,
    may_write: Arc<Mutex<Option<Proof>>>,
}

/// An authorization, and since when it is there.
struct Proof {
    since: Instant,
    authorization: Authorization,
}

/// The proof that goes with requests.
#[derive(Clone)]
pub(super) enum Authorization {
    None,
    Basic { username: String, password: String },
    Bearer(String),
}

impl Session {
    pub(super) fn new(
        oci: oci_client::Client,
        reader: reqwest::Client,
        writer: reqwest::Client,
        reference: &Reference,
        credentials: Credentials,
        plain_http: bool,
    ) -> Self {
        Self {
            oci,
            reader,
            writer,
            reference: reference.clone(),
            credentials,
            plain_http,
            may_read: Arc::default(),
            may_write: Arc::default(),
        }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The repository's name for messages.
    pub(super) fn location(&self) -> String {
        self.reference.name()
    }

    /// Whether an address is on the registry's own host.
    pub(super) fn is_own_host(&self, url: &Url) -> bool {
        Url::parse(&self.base()).is_ok_and(|base| base.host_str() == url.host_str())
    }

    /// An error about this repository.
    pub(super) fn error(
        &self,
        access: Access,
        operation: impl Into<String>,
        trouble: Trouble,
        message: impl Into<String>,
    ) -> RepositoryError {
        RepositoryError {
            operation: operation.into(),
            location: self.location(),
            message: message.into(),
            access,
            trouble,
        }
    }

    fn auth(&self) -> RegistryAuth {
        match &self.credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { username, password } => {
                RegistryAuth::Basic(username.clone(), password.clone())
            }
        }
    }

    /// The repository itself, as oci-client names things.
    fn oci_repository(&self) -> OciReference {
        let tag = self.reference.tag().map_or("latest", |tag| tag.as_str());
        OciReference::with_tag(
            self.reference.registry().into(),
            self.reference.repository().into(),
            tag.into(),
        )
    }

    /// The right to read or write. One request at a time asks for it; the others wait and share it.
    pub(super) async fn allow(&self, access: Access) -> Result<Authorization, RepositoryError> {
        let (proof, operation) = match access {
            Access::Pull => (&self.may_read, RegistryOperation::Pull),
            Access::Push => (&self.may_write, RegistryOperation::Push),
        };
        let mut proof = proof.lock().await;
        if let Some(Proof { since, authorization }) = &*proof
            && since.elapsed() < FRESH
        {
            return Ok(authorization.clone());
        }
        let since = Instant::now();
        let token = self.oci.auth(&self.oci_repository(), &self.auth(), operation).await;
        let token = token.map_err(|error| answer::from_oci(self, access, "log in", &error))?;
        let authorization = match (token, &self.credentials) {
            (Some(token), _) => Authorization::Bearer(token),
            (None, Credentials::Basic { username, password }) => {
                Authorization::Basic { username: username.clone(), password: password.clone() }
            }
            (None, Credentials::Anonymous) => Authorization::None,
        };
        *proof = Some(Proof { since, authorization: authorization.clone() });
        Ok(authorization)
    }

    /// The registry's address.
    fn base(&self) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!("{scheme}://{}", self.oci_repository().resolve_registry())
    }

    /// The address of something in this repository.
    pub(super) fn url(&self, access: Access, path: &str) -> Result<Url, RepositoryError> {
        let text = format!("{}/v2/{}/{path}", self.base(), self.reference.repository());
        Url::parse(&text).map_err(|error| {
            self.error(access, format!("form the address {text}"), Trouble::Other, error.to_string())
        })
    }

    /// Adds the proof to a request, unless it goes to somebody else: another host, another port, or
    /// from https back to http.
    pub(super) fn authorize(
        &self,
        request: RequestBuilder,
        url: &Url,
        authorization: &Authorization,
    ) -> RequestBuilder {
        let own = Url::parse(&self.base()).is_ok_and(|base| base.origin() == url.origin());
        match authorization {
            Authorization::Basic { username, password } if own => {
                request.basic_auth(username, Some(password))
            }
            Authorization::Bearer(token) if own => request.bearer_auth(token),
            Authorization::Basic { .. } | Authorization::Bearer(_) | Authorization::None => request,
        }
    }
}
