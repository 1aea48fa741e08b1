//! Tokens for one repository: of a role's session, whose policy allows pulls and pushes there and nothing more.
//!
//! A token has the rights of the identity that requested it (documentation of `GetAuthorizationToken`), and a session
//! has the rights that both its role and its session policy allow (IAM user guide, "Session policies").

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use zstart_registry::ErrorKind;
use zstart_registry::auth::ProviderError;
use zstart_registry::ecr::EcrEndpoint;

use crate::error;

/// Name of the session in `CloudTrail`.
const SESSION_NAME: &str = "zstart-convert";
/// Actions on a repository that a conversion needs (docs/ecr.md).
const ACTIONS: [&str; 8] = [
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchCheckLayerAvailability",
    "ecr:ListImages",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
];

/// A repository of a private registry.
pub(crate) struct PrivateRepository<'a> {
    pub(crate) account: &'a str,
    pub(crate) endpoint: &'a EcrEndpoint,
    pub(crate) name: &'a str,
}

/// Configuration with the identity of a session of `role` for one repository. `config` has the identity that assumes
/// the role.
pub(crate) async fn assume(
    config: SdkConfig,
    role: &str,
    repository: &PrivateRepository<'_>,
) -> Result<SdkConfig, ProviderError> {
    let client = aws_sdk_sts::Client::new(&config);
    let request = client.assume_role().role_arn(role).role_session_name(SESSION_NAME);
    let response = request.policy(policy(role, repository)).send().await;
    let actions = format!("sts:AssumeRole on {role}, and the role a trust policy for this identity");
    let response = response.map_err(|error| error::service_error("AssumeRole", &actions, &error))?;
    let credentials = response.credentials.ok_or_else(|| ProviderError {
        message: format!("AssumeRole returned no credentials for {role}"),
        kind: ErrorKind::Other,
    })?;
    let expires = credentials.expiration.try_into().ok();
    let (key, secret) = (credentials.access_key_id, credentials.secret_access_key);
    let session = Credentials::new(key, secret, Some(credentials.session_token), expires, "AssumeRole");
    Ok(config.into_builder().credentials_provider(SharedCredentialsProvider::new(session)).build())
}

/// The session policy. The role's partition is the repository's.
fn policy(role: &str, repository: &PrivateRepository<'_>) -> String {
    let PrivateRepository { account, endpoint, name } = repository;
    let partition = role.split(':').nth(1).unwrap_or("aws");
    let actions = ACTIONS.map(|action| format!("\"{action}\"")).join(",");
    // No part needs an escape: a role's partition, a region, digits, and a repository's name.
    format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"ecr:GetAuthorizationToken","Resource":"*"}},{{"Effect":"Allow","Action":[{actions}],"Resource":"arn:{partition}:ecr:{}:{account}:repository/{name}"}}]}}"#,
        endpoint.region
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_names_one_repository() {
        let endpoint = EcrEndpoint { region: "cn-north-1".to_owned(), fips: false, dual_stack: false };
        let repository = PrivateRepository { account: "123456789012", endpoint: &endpoint, name: "team/app" };
        let policy = policy("arn:aws-cn:iam::123456789012:role/zstart", &repository);
        assert!(
            policy.ends_with(
                r#""ecr:PutImage"],"Resource":"arn:aws-cn:ecr:cn-north-1:123456789012:repository/team/app"}]}"#
            ),
            "{policy}"
        );
        // STS takes 2,048 characters; a repository's name has 256 at most.
        assert!(policy.len() < 800, "{}", policy.len());
    }
}
