//! One repository as a user: where it is, and the right to read or write it.

use oci_client::secrets::RegistryAuth;
use oci_client::{Reference as OciReference, RegistryOperation};
use reqwest::{RequestBuilder, Url};
use tokio::sync::OnceCell;
use zstart_core::{Digest, Reference};

use super::super::{Access, ManifestKey, RepositoryError, Trouble};
use super::answer;
use crate::credentials::Credentials;

/// Shared by all requests to one repository.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) oci: oci_client::Client,
    pub(super) http: reqwest::Client,
    reference: Reference,
    credentials: Credentials,
    plain_http: bool,
    /// Done once before the first read: oci-client would go on without credentials, and without a
    /// word, where they are refused.
    read_allowed: std::sync::Arc<OnceCell<()>>,
}

/// The proof that goes with our own requests.
#[derive(Clone)]
pub(super) enum Authorization {
    None,
    Basic { username: String, password: String },
    Bearer(String),
}

impl Session {
    pub(super) fn new(
        oci: oci_client::Client,
        http: reqwest::Client,
        reference: &Reference,
        credentials: Credentials,
        plain_http: bool,
    ) -> Self {
        let reference = reference.clone();
        Self { oci, http, reference, credentials, plain_http, read_allowed: std::sync::Arc::default() }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The repository's name for messages.
    pub(super) fn location(&self) -> String {
        self.reference.name()
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

    pub(super) fn auth(&self) -> RegistryAuth {
        match &self.credentials {
            Credentials::Anonymous => RegistryAuth::Anonymous,
            Credentials::Basic { username, password } => {
                RegistryAuth::Basic(username.clone(), password.clone())
            }
        }
    }

    /// The repository itself, as oci-client names things.
    pub(super) fn oci_repository(&self) -> OciReference {
        let tag = self.reference.tag().map_or("latest", |tag| tag.as_str());
        OciReference::with_tag(
            self.reference.registry().into(),
            self.reference.repository().into(),
            tag.into(),
        )
    }

    /// A manifest, as oci-client names things.
    pub(super) fn oci_manifest(&self, key: ManifestKey<'_>) -> OciReference {
        let (registry, repository) = (self.reference.registry().into(), self.reference.repository().into());
        match key {
            ManifestKey::Tag(tag) => OciReference::with_tag(registry, repository, tag.to_string()),
            ManifestKey::Digest(digest) => {
                OciReference::with_digest(registry, repository, digest.to_string())
            }
        }
    }

    /// Asks for the right to read, once.
    pub(super) async fn allow_reading(&self) -> Result<(), RepositoryError> {
        let allow = || async {
            let allowed = self.oci.auth(&self.oci_repository(), &self.auth(), RegistryOperation::Pull).await;
            allowed.map(|_| ()).map_err(|error| answer::from_oci(self, Access::Pull, "log in", &error))
        };
        self.read_allowed.get_or_try_init(allow).await.map(|&()| ())
    }

    /// Asks for the right to write.
    pub(super) async fn allow_writing(&self) -> Result<Authorization, RepositoryError> {
        let token = self.oci.auth(&self.oci_repository(), &self.auth(), RegistryOperation::Push).await;
        let token = token.map_err(|error| answer::from_oci(self, Access::Push, "log in", &error))?;
        Ok(match (token, &self.credentials) {
            (Some(token), _) => Authorization::Bearer(token),
            (None, Credentials::Basic { username, password }) => {
                Authorization::Basic { username: username.clone(), password: password.clone() }
            }
            (None, Credentials::Anonymous) => Authorization::None,
        })
    }

    /// The registry's address.
    fn base(&self) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        format!("{scheme}://{}", self.oci_repository().resolve_registry())
    }

    /// The address of something in this repository.
    pub(super) fn url(&self, path: &str) -> Result<Url, RepositoryError> {
        let text = format!("{}/v2/{}/{path}", self.base(), self.reference.repository());
        Url::parse(&text).map_err(|error| {
            self.error(Access::Push, format!("form the address {text}"), Trouble::Other, error.to_string())
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

    /// The path of a manifest in this repository.
    pub(super) fn manifest_path(tag: Option<&zstart_core::Tag>, digest: &Digest) -> String {
        match tag {
            Some(tag) => format!("manifests/{tag}"),
            None => format!("manifests/{digest}"),
        }
    }
}
