//! Errors of a reconciliation, and the condition reasons that they map to.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use zstart_convert::{Error, ErrorClass, Plan};
use zstart_core::record::{ImageConversionStatus, RecordReason};
use zstart_core::{Platform, units};
use zstart_registry::ConnectionError;

use super::status::is_ready;
use crate::credentials::{CandidateError, CredentialReport};
use crate::executor::ConversionError;
use crate::scheduler::Reachability;

/// Cause of a reconciliation without a variant.
#[derive(Debug, Error)]
pub(super) enum ReconcileError {
    /// The record is none that the controller would create.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The source can't be resolved to a digest.
    #[error("{}", chain_with_hint(.0))]
    Resolve(#[source] Error),
    /// The source is resolved, but has no variant.
    #[error("{}", conversion_chain(.0))]
    Conversion(#[from] ConversionError),
    /// The variant serves, and other platforms can't be added.
    #[error("failed to add {} to the variant: {}", list(.platforms), chain_with_hint(.source))]
    AddPlatforms {
        /// Platforms that the variant lacks.
        platforms: Vec<Platform>,
        /// Cause.
        source: Error,
    },
    /// The recorded variant can't be looked at.
    #[error("{}", chain_with_hint(.0))]
    Variant(#[source] Error),
    /// The registry accepted none of the credentials.
    #[error("{error}; {report}")]
    NoAccess {
        /// Error of the credentials that got furthest.
        error: Box<ReconcileError>,
        /// Results of the pull secrets.
        report: CredentialReport,
    },
    /// The registry denies the push of a variant, and the repository has none. Nothing was pulled.
    #[error("{message}")]
    PushDenied {
        /// The registry's refusal.
        message: Arc<str>,
    },
    /// The credentials can't be read.
    #[error("{}", zstart_core::chain(.0))]
    Credentials(#[from] CandidateError),
    /// The status can't be written.
    #[error("failed to write the record's status")]
    Status(#[from] kube::Error),
    /// The registry let the controller wait for too long.
    #[error("failed to look at the source within {}", units::duration(*limit))]
    LookTimeout {
        /// Longest time of a look.
        limit: Duration,
    },
}

/// Defect of a record that a user created.
#[derive(Debug, Error)]
pub(super) enum RecordError {
    /// The reference has several spellings; only the normal form counts.
    #[error(
        "source {reference} is not in its normal form: delete this record and create one with source \
         {normalised}"
    )]
    NotNormalised {
        /// The record's source.
        reference: String,
        /// Its normal form.
        normalised: String,
    },
    /// The name doesn't follow from the source.
    #[error("the record of {reference} must be named {expected}: delete this record and create that one")]
    Name {
        /// The record's source.
        reference: String,
        /// The name that it must have.
        expected: String,
    },
    /// The reference can't be a source.
    #[error("{0}")]
    NoSource(String),
}

/// An error and its causes in one line, with the setting that mends the error.
pub(crate) fn chain_with_hint(error: &Error) -> String {
    let mut text = error.chain();
    if let Some(server) = ConnectionError::find(error).and_then(ConnectionError::plain_http_server) {
        text.push_str("; if you trust the network, add ");
        text.push_str(server);
        text.push_str(" to controller.plainHttpRegistries");
    }
    text
}

/// The same of a conversion.
fn conversion_chain(error: &ConversionError) -> String {
    match error {
        ConversionError::Convert(error) => chain_with_hint(error),
        ConversionError::Timeout { .. } | ConversionError::Job(_) | ConversionError::Abandoned => {
            zstart_core::chain(error)
        }
    }
}

fn list(platforms: &[Platform]) -> String {
    platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ReconcileError {
    /// A step from the resolved source to its variant failed.
    pub(super) fn convert(error: impl Into<Error>) -> Self {
        Self::Conversion(ConversionError::Convert(error.into()))
    }

    pub(super) fn class(&self) -> ErrorClass {
        match self {
            Self::Record(_) => ErrorClass::Refused,
            // It isn't the source that is missing.
            Self::Variant(error) if error.class() == ErrorClass::NotFound => ErrorClass::NotVerified,
            Self::Resolve(error)
            | Self::AddPlatforms { platforms: _, source: error }
            | Self::Variant(error) => error.class(),
            Self::Conversion(error) => error.class(),
            Self::NoAccess { error, .. } => error.class(),
            Self::PushDenied { .. } => ErrorClass::PushDenied,
            Self::LookTimeout { .. } => ErrorClass::Unavailable,
            Self::Credentials(_) | Self::Status(_) => ErrorClass::Other,
        }
    }

    pub(super) fn reason(&self) -> RecordReason {
        match self.class() {
            ErrorClass::NotFound => RecordReason::SourceNotFound,
            ErrorClass::PullDenied => RecordReason::PullDenied,
            ErrorClass::PushDenied => RecordReason::PushDenied,
            ErrorClass::Unavailable => RecordReason::RegistryUnavailable,
            ErrorClass::RateLimited { retry_after: _ } => RecordReason::RateLimited,
            ErrorClass::ContentMismatch => RecordReason::ContentMismatch,
            ErrorClass::NotVerified => RecordReason::NotVerified,
            ErrorClass::SourceMoved => RecordReason::SourceMoved,
            ErrorClass::VariantConflict => RecordReason::VariantConflict,
            ErrorClass::Refused => RecordReason::NotConvertible,
            ErrorClass::Other => RecordReason::Failed,
        }
    }

    /// Names the platforms that a failed conversion would have added to the variant that serves.
    pub(super) fn while_serving(self, plan: &Plan, status: &ImageConversionStatus) -> Self {
        let Some(variant) = status.variant.as_ref().filter(|_| is_ready(status)) else { return self };
        let Self::Conversion(ConversionError::Convert(source)) = self else { return self };
        let serves =
            |platform: &Platform| variant.platforms.iter().any(|served| &served.platform == platform);
        let platforms = plan.conversions().map(|conversion| &conversion.platform);
        let platforms: Vec<Platform> = platforms.filter(|platform| !serves(platform)).cloned().collect();
        if platforms.is_empty() { Self::convert(source) } else { Self::AddPlatforms { platforms, source } }
    }

    /// The error itself, without the results of the pull secrets.
    pub(super) fn cause(&self) -> &Self {
        match self {
            Self::NoAccess { error, .. } => error,
            other => other,
        }
    }

    /// Message of the record, which administrators read: it names the pull secrets of all tenants. The displayed text
    /// is for the events, which each tenant reads.
    pub(super) fn record_message(&self) -> String {
        match self {
            Self::NoAccess { error, report } => format!("{error}; {}", report.for_administrators()),
            other => other.to_string(),
        }
    }

    /// Adds the results of the pull secrets to a denial. A missing image needs no other credentials.
    pub(super) fn with_credentials(self, report: CredentialReport) -> Self {
        if self.is_denial() { Self::NoAccess { error: Box::new(self), report } } else { self }
    }

    /// Returns whether the registry denied the pull or the push.
    pub(super) fn is_denial(&self) -> bool {
        matches!(self.class(), ErrorClass::PullDenied | ErrorClass::PushDenied)
    }

    /// Returns whether the registry refused the login itself. A refused push says nothing about the login, which
    /// could pull.
    pub(super) fn is_login_refusal(&self) -> bool {
        matches!(self.cause(), Self::Resolve(Error::Repository(error)) if error.is_login_refusal())
    }

    /// Returns whether the content of the source is the cause. Another attempt for the same digest ends the same way.
    pub(super) fn is_caused_by_content(&self) -> bool {
        match self {
            Self::Resolve(error) => error.is_caused_by_content(),
            Self::Conversion(error) => error.is_caused_by_content(),
            Self::Record(_)
            | Self::AddPlatforms { .. }
            | Self::Variant(_)
            | Self::NoAccess { .. }
            | Self::PushDenied { .. }
            | Self::Credentials(_)
            | Self::Status(_)
            | Self::LookTimeout { .. } => false,
        }
    }

    /// Evidence about the registry.
    pub(super) fn reachability(&self) -> Reachability {
        match self {
            // A Job runs on another node: its trouble is no evidence about the leader's.
            Self::Record(_)
            | Self::Credentials(_)
            | Self::Status(_)
            | Self::Conversion(ConversionError::Job(_) | ConversionError::Abandoned) => Reachability::Unknown,
            Self::Resolve(_)
            | Self::Conversion(ConversionError::Convert(_) | ConversionError::Timeout { .. })
            | Self::AddPlatforms { .. }
            | Self::Variant(_)
            | Self::NoAccess { .. }
            | Self::PushDenied { .. }
            | Self::LookTimeout { .. } => match self.class() {
                ErrorClass::Unavailable => Reachability::Unreachable,
                _ => Reachability::Answered,
            },
        }
    }

    /// Whether other credentials may succeed. A registry may report a repository that the credentials
    /// can't see as not found.
    pub(super) fn depends_on_credentials(&self) -> bool {
        matches!(self.class(), ErrorClass::NotFound | ErrorClass::PullDenied | ErrorClass::PushDenied)
    }

    /// Returns whether a ready variant stays ready. `maxStaleness` limits for how long.
    pub(super) fn keeps_variant_ready(&self) -> bool {
        match self {
            Self::Record(_) => false,
            Self::NoAccess { error, .. } => error.keeps_variant_ready(),
            // The error says nothing about the image.
            Self::Resolve(_) => {
                matches!(
                    self.class(),
                    ErrorClass::Unavailable | ErrorClass::RateLimited { .. } | ErrorClass::Other
                )
            }
            Self::Credentials(_) | Self::Status(_) | Self::PushDenied { .. } | Self::LookTimeout { .. } => {
                true
            }
            // The variant is of the source's digest. The phases have removed one that the registry lost.
            Self::Conversion(_) | Self::AddPlatforms { .. } | Self::Variant(_) => {
                self.class() != ErrorClass::SourceMoved
            }
        }
    }

    /// Returns whether the credentials of this error got further: denied to push, then not found, then denied to
    /// pull.
    pub(super) fn is_more_specific_than(&self, other: &Self) -> bool {
        let rank = |error: &Self| match error.class() {
            ErrorClass::PushDenied => 2,
            ErrorClass::NotFound => 1,
            _ => 0,
        };
        rank(self) > rank(other)
    }

    /// Returns whether the error tells that the image exists or doesn't, or about its content.
    pub(super) fn tells_about_image(&self) -> bool {
        match self {
            Self::Record(_)
            | Self::Credentials(_)
            | Self::Status(_)
            | Self::LookTimeout { .. }
            | Self::Conversion(ConversionError::Abandoned) => false,
            Self::NoAccess { error, .. } => error.tells_about_image(),
            // A registry that denies a pull doesn't say whether the image exists.
            Self::Resolve(error) => !matches!(
                error.class(),
                ErrorClass::PullDenied | ErrorClass::Unavailable | ErrorClass::RateLimited { .. }
            ),
            Self::Conversion(_) | Self::AddPlatforms { .. } | Self::Variant(_) | Self::PushDenied { .. } => {
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use zstart_core::Reference;
    use zstart_registry::auth::Credentials;
    use zstart_registry::{ManifestKey, RegistryClient, RegistryOptions};

    use super::*;

    #[tokio::test]
    async fn registry_without_tls_is_named_with_the_setting() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        let client = RegistryClient::new(RegistryOptions::default()).unwrap();
        let reference: Reference = format!("{host}/app:v1").parse().unwrap();
        let repository = client.repository(&reference, Credentials::Anonymous);
        let error = repository.manifest(ManifestKey::from(&reference)).await.unwrap_err();
        let said = ReconcileError::Resolve(error.into()).to_string();
        let hint = format!("add {host} to controller.plainHttpRegistries");
        assert!(
            said.contains(&format!("{host} speaks plain HTTP, not TLS")) && said.ends_with(&hint),
            "{said}"
        );
        server.abort();
    }
}
