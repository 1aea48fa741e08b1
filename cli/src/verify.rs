//! `zstart verify`.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use tokio::sync::Mutex;
use zstart_core::Reference;
use zstart_registry::auth::{self, Credentials, Password, PullAuthorization};
use zstart_registry::{ErrorKind, LayoutFolder, RegistryClient, RegistryError};
use zstart_verify::{
    Authorization, Digest, Endpoint, ImageReader, Images, LayoutImage, Login, ReadError, ReadErrorKind,
    RegistryImage, Selector,
};

use self::report::VerifyReport;
use crate::args::VerifyArguments;
use crate::error::CliError;
use crate::image_ref::{ImageRef, LayoutPlace};
use crate::registries::Registries;
use crate::style::{BAD, GOOD, paint};

mod report;
mod table;

/// Compares a variant with its source and prints a report.
pub(crate) async fn run(arguments: VerifyArguments) -> Result<(), CliError> {
    let VerifyArguments { source, variant, platforms, output, registry } = arguments;
    let registries = Registries::new(&registry);
    let source_image = open(&source, &registries).await?;
    let variant_image = open(&variant, &registries).await?;
    let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let images = Images { source: &*source_image, variant: &*variant_image };
    let report = zstart_verify::verify(images, &platforms).await?;
    let report = VerifyReport::new(source.to_string(), variant.to_string(), report);
    output.format().print(&report, || {
        let lines = table::lines(&report).into_iter();
        // The image's author chose some of the words, so control characters must not reach the terminal.
        let mut lines: Vec<String> = lines.map(|line| line.replace(char::is_control, "\u{fffd}")).collect();
        if let Some(verdict) = lines.last_mut() {
            *verdict = paint(if report.first_difference().is_none() { GOOD } else { BAD }, &verdict);
        }
        lines
    })?;
    match report.first_difference() {
        None => Ok(()),
        Some(difference) => Err(CliError::NotEqual {
            source_image: source.to_string(),
            variant: variant.to_string(),
            difference: difference.to_string(),
        }),
    }
}

/// Opens an image for the verifier. The converter's code logs in, and finds a layout's image by name.
async fn open(image: &ImageRef, registries: &Registries<'_>) -> Result<Box<dyn ImageReader>, CliError> {
    match image {
        ImageRef::Layout { place: LayoutPlace::Folder(folder), selection } => {
            let index = LayoutFolder::new(folder).index().await?;
            let selected = index.select(selection).map_err(|source| {
                let place = format!("oci:{}", folder.display());
                CliError::Selection { place, source }
            })?;
            Ok(Box::new(LayoutImage::new(folder, digest(&selected.digest))))
        }
        ImageRef::Layout { place: LayoutPlace::Archive(_), selection: _ } => {
            Err(CliError::VerifyArchive { image: image.to_string() })
        }
        ImageRef::Registry { reference, version: _ } => {
            let login = RegistryLogin::new(reference, registries).await?;
            let (endpoint, selector) = (login.endpoint().await, selector(reference));
            let repository = reference.repository().to_owned();
            Ok(Box::new(RegistryImage::new(endpoint, repository, selector, Arc::new(login))))
        }
    }
}

fn selector(reference: &Reference) -> Selector {
    match (reference.digest(), reference.tag()) {
        (Some(found), _) => Selector::Digest(digest(found)),
        (None, Some(tag)) => Selector::Tag(tag.to_string()),
        (None, None) => unreachable!("a reference has a tag or a digest"),
    }
}

fn digest(digest: &zstart_core::Digest) -> Digest {
    Digest::parse(digest.as_str()).unwrap_or_else(|| unreachable!("both crates know the same algorithms"))
}

/// Login to one repository, renewed when the authorization expires.
struct RegistryLogin {
    client: RegistryClient,
    reference: Reference,
    credentials: Credentials,
    current: Mutex<PullAuthorization>,
}

impl RegistryLogin {
    async fn new(reference: &Reference, registries: &Registries<'_>) -> Result<Self, CliError> {
        let credentials = registries.credentials(reference).await?;
        let client = registries.client(reference.registry()).await?;
        let current = client.pull_authorization(reference, credentials.clone()).await?;
        Ok(Self { client, reference: reference.clone(), credentials, current: Mutex::new(current) })
    }

    async fn endpoint(&self) -> Endpoint {
        let PullAuthorization { host, is_plain_http, .. } = self.current.lock().await.clone();
        Endpoint { host, plain_http: is_plain_http }
    }
}

#[async_trait]
impl Login for RegistryLogin {
    async fn authorization(&self) -> Result<Authorization, ReadError> {
        let mut current = self.current.lock().await;
        // A registry that asks for nothing has nothing to renew.
        let is_anonymous = current.authorization == auth::Authorization::Anonymous;
        if !is_anonymous && current.expires_at <= Instant::now() {
            let renewed = self.client.pull_authorization(&self.reference, self.credentials.clone()).await;
            *current = renewed.map_err(login_error)?;
        }
        Ok(match &current.authorization {
            auth::Authorization::Anonymous => Authorization::Anonymous,
            auth::Authorization::Basic(Password { username, password }) => {
                Authorization::Basic { user: username.clone(), password: password.clone() }
            }
            auth::Authorization::Bearer(token) => Authorization::Bearer(token.as_str().to_owned()),
        })
    }
}

fn login_error(error: RegistryError) -> ReadError {
    let kind = match error.kind {
        ErrorKind::NotFound => ReadErrorKind::NotFound,
        ErrorKind::Denied => ReadErrorKind::Denied,
        ErrorKind::Unavailable | ErrorKind::RateLimited { .. } => ReadErrorKind::Unavailable,
        ErrorKind::ContentMismatch => ReadErrorKind::Content,
        ErrorKind::TagImmutable | ErrorKind::Other => ReadErrorKind::Other,
    };
    ReadError::new(kind, "renew the login", error)
}
