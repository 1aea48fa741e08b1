//! Errors of requests to AWS. Each message says what to do.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;
use zstart_registry::ErrorKind;
use zstart_registry::auth::ProviderError;

/// Error of setting up the HTTP client for AWS.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client for AWS: {0}")]
pub struct SetupError(pub(crate) String);

/// AWS error codes for throttling.
const THROTTLING_CODES: [&str; 3] = ["ThrottlingException", "Throttling", "TooManyRequestsException"];
/// STS error code: STS couldn't reach the identity provider that signed the web identity token.
const IDP_UNREACHABLE: &str = "IDPCommunicationError";

/// Whether no provider in the AWS chain returned an identity.
pub(crate) fn is_missing(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_))
}

pub(crate) fn missing_identity() -> ProviderError {
    let message = "found no AWS identity in the environment, a profile, a web identity token (IRSA), container \
                   credentials (EKS Pod Identity) or an instance role: give this process an identity, e.g. a \
                   role for the controller's service account, or run `aws configure`";
    ProviderError { message: message.to_owned(), kind: ErrorKind::Denied }
}

/// Error for an AWS chain that is missing an identity or failed to load one.
pub(crate) fn identity_error(error: &CredentialsError) -> ProviderError {
    if is_missing(error) {
        return missing_identity();
    }
    let kind = match error {
        CredentialsError::InvalidConfiguration(_) => ErrorKind::Denied,
        error => sts_kind(error),
    };
    let message = format!("failed to load the AWS identity of this process: {}", zstart_core::chain(error));
    ProviderError { message, kind }
}

/// Classifies an STS answer in the error's chain. Only STS denies permanently; any other failure is
/// temporary.
fn sts_kind(error: &CredentialsError) -> ErrorKind {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let code = (error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::code)).or_else(|| {
            error.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::code)
        });
        if let Some(Some(code)) = code {
            return kind_of(code);
        }
        cause = error.source();
    }
    ErrorKind::Unavailable
}

fn kind_of(code: &str) -> ErrorKind {
    match code {
        IDP_UNREACHABLE => ErrorKind::Unavailable,
        code if THROTTLING_CODES.contains(&code) => ErrorKind::RateLimited { retry_after: None },
        _ => ErrorKind::Denied,
    }
}

/// Error for a failed request. `actions` are the IAM actions that the identity needs.
pub(crate) fn service_error<E>(
    operation: &str,
    actions: &str,
    error: &SdkError<E, HttpResponse>,
) -> ProviderError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(response) = error else {
        let message = format!("{operation} failed: {}", zstart_core::chain(error));
        return ProviderError { message, kind: ErrorKind::Unavailable };
    };
    let code = response.err().code().unwrap_or("no code");
    let detail = response.err().message().unwrap_or_default();
    let kind = if response.raw().status().is_server_error() { ErrorKind::Unavailable } else { kind_of(code) };
    let hint = if kind == ErrorKind::Denied {
        format!(" (the identity needs a policy that allows {actions})")
    } else {
        String::new()
    };
    ProviderError { message: format!("{operation} failed: {code}: {detail}{hint}"), kind }
}

/// Error for a `GetAuthorizationToken` response without a token in the documented form.
pub(crate) fn unreadable_token() -> ProviderError {
    let message = "GetAuthorizationToken returned no token of the form base64(user:password)".to_owned();
    ProviderError { message, kind: ErrorKind::Other }
}
