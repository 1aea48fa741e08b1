//! Why there is no token, in words that say what to do.

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

/// The HTTP client for AWS can't be set up.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client for AWS: {0}")]
pub struct SetupError(pub(crate) String);

/// Codes with which AWS asks to slow down.
const THROTTLED: [&str; 3] = ["ThrottlingException", "Throttling", "TooManyRequestsException"];
/// The code with which STS says that somebody else didn't answer it.
const AWAY: &str = "IDPCommunicationError";

/// Nothing in the chain gave an identity.
pub(crate) fn is_nobody(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_))
}

pub(crate) fn no_identity() -> ProviderError {
    let message = "there is no AWS identity in the environment, a profile, a web identity token (IRSA), a \
                   container's credentials (EKS Pod Identity), or an instance's role: give this process \
                   one, e.g. the controller's service account a role, or run `aws configure`";
    ProviderError { message: message.to_owned(), kind: ErrorKind::Denied }
}

/// The identity that was found can't be used.
pub(crate) fn of_identity(error: &CredentialsError) -> ProviderError {
    if is_nobody(error) {
        return no_identity();
    }
    let kind = match error {
        CredentialsError::InvalidConfiguration(_) => ErrorKind::Denied,
        error => refusal(error),
    };
    let message = format!("the AWS identity of this process can't be used: {}", zstart_core::chain(error));
    ProviderError { message, kind }
}

/// What STS said, where it was asked: only it can refuse for good.
fn refusal(error: &CredentialsError) -> ErrorKind {
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
        AWAY => ErrorKind::Unavailable,
        code if THROTTLED.contains(&code) => ErrorKind::RateLimited { retry_after: None },
        _ => ErrorKind::Denied,
    }
}

/// The service gave no token. `rights` are what an identity needs for it.
pub(crate) fn of_service<E>(rights: &str, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        let message = format!("AWS gave no token: {}", zstart_core::chain(error));
        return ProviderError { message, kind: ErrorKind::Unavailable };
    };
    let code = answer.err().code().unwrap_or("no code");
    let said = answer.err().message().unwrap_or_default();
    let kind = if answer.raw().status().is_server_error() { ErrorKind::Unavailable } else { kind_of(code) };
    let advice = if kind == ErrorKind::Denied {
        format!(" (the identity needs a policy that allows {rights})")
    } else {
        String::new()
    };
    ProviderError { message: format!("AWS gave no token: {code}: {said}{advice}"), kind }
}

/// The service answered something else than a token.
pub(crate) fn unreadable() -> ProviderError {
    let message = "AWS gave no token that can be read".to_owned();
    ProviderError { message, kind: ErrorKind::Other }
}
