//! Why there is no token, in words that say what to do.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;
use zstart_registry::Trouble;
use zstart_registry::credentials::IssueError;

/// The HTTP client for AWS can't be set up.
#[derive(Debug, Error)]
#[error("failed to set up the HTTP client for AWS: {0}")]
pub struct SetupError(pub(crate) String);

/// Codes with which AWS asks to slow down.
const THROTTLING_CODES: [&str; 3] = ["ThrottlingException", "Throttling", "TooManyRequestsException"];
/// The code with which STS says that somebody else didn't answer it.
const IDP_UNREACHABLE: &str = "IDPCommunicationError";

/// Nothing in the chain gave an identity.
pub(crate) fn is_missing(error: &CredentialsError) -> bool {
    matches!(error, CredentialsError::CredentialsNotLoaded(_))
}

pub(crate) fn missing_identity() -> IssueError {
    let message = "there is no AWS identity in the environment, a profile, a web identity token (IRSA), a \
                   container's credentials (EKS Pod Identity), or an instance's role: give this process \
                   one, e.g. the controller's service account a role, or run `aws configure`";
    IssueError { message: message.to_owned(), trouble: Trouble::Denied }
}

/// The identity that was found can't be used.
pub(crate) fn identity_error(error: &CredentialsError) -> IssueError {
    if is_missing(error) {
        return missing_identity();
    }
    let trouble = match error {
        CredentialsError::InvalidConfiguration(_) => Trouble::Denied,
        error => sts_trouble(error),
    };
    let message = format!("the AWS identity of this process can't be used: {}", zstart_core::chain(error));
    IssueError { message, trouble }
}

/// What STS said, where it was asked: only it can refuse for good.
fn sts_trouble(error: &CredentialsError) -> Trouble {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let code = (error.downcast_ref::<AssumeRoleError>().map(ProvideErrorMetadata::code)).or_else(|| {
            error.downcast_ref::<AssumeRoleWithWebIdentityError>().map(ProvideErrorMetadata::code)
        });
        if let Some(Some(code)) = code {
            return trouble_of(code);
        }
        cause = error.source();
    }
    Trouble::Unavailable
}

fn trouble_of(code: &str) -> Trouble {
    match code {
        IDP_UNREACHABLE => Trouble::Unavailable,
        code if THROTTLING_CODES.contains(&code) => Trouble::RateLimited { retry_after: None },
        _ => Trouble::Denied,
    }
}

/// The service gave no token. `rights` are what an identity needs for it.
pub(crate) fn service_error<E>(rights: &str, error: &SdkError<E, HttpResponse>) -> IssueError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        let message = format!("AWS gave no token: {}", zstart_core::chain(error));
        return IssueError { message, trouble: Trouble::Unavailable };
    };
    let code = answer.err().code().unwrap_or("no code");
    let said = answer.err().message().unwrap_or_default();
    let trouble =
        if answer.raw().status().is_server_error() { Trouble::Unavailable } else { trouble_of(code) };
    let advice = if trouble == Trouble::Denied {
        format!(" (the identity needs a policy that allows {rights})")
    } else {
        String::new()
    };
    IssueError { message: format!("AWS gave no token: {code}: {said}{advice}"), trouble }
}

/// The service answered something else than a token.
pub(crate) fn unreadable_token() -> IssueError {
    let message = "AWS gave no token that can be read".to_owned();
    IssueError { message, trouble: Trouble::Other }
}
