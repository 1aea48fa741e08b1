//! Sources of a process's AWS identity.

use std::fs;
use std::path::Path;

use anyhow::Result;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use zstart_core::sync::lock;

use super::{EcrState, header_text};

/// Expiry of all credentials, in AWS's format.
const EXPIRES: &str = "2099-01-01T00:00:00Z";
/// Service account token, for IRSA and Pod Identity.
const SERVICE_ACCOUNT_TOKEN: &str = "a-service-accounts-token";
/// Role of a machine.
const ROLE: &str = "node-role";

/// Source of a process's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// No identity.
    None,
    /// Environment variables.
    Environment,
    /// A profile of `~/.aws/config` and `~/.aws/credentials`.
    Profile,
    /// A service account's token, exchanged for a role (IRSA).
    WebIdentity,
    /// Container credentials (EKS Pod Identity).
    Container,
    /// Role of the machine (instance metadata).
    Instance,
}

impl Identity {
    /// All sources with an identity.
    pub const AUTHENTICATED: [Self; 5] =
        [Self::Environment, Self::Profile, Self::WebIdentity, Self::Container, Self::Instance];

    /// Access key that signs the requests.
    pub fn access_key(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Environment => "AKIAENVIRONMENT00000",
            Self::Profile => "AKIAPROFILE000000000",
            Self::WebIdentity => "ASIAWEBIDENTITY00000",
            Self::Container => "ASIACONTAINER0000000",
            Self::Instance => "ASIAINSTANCE00000000",
        }
    }

    /// Environment of a process with this identity. Files are written to `folder`; the machine's services are
    /// at `machine_url`.
    pub(super) fn environment(self, folder: &Path, machine_url: &str) -> Result<Vec<(&'static str, String)>> {
        let file = |name: &str, content: &str| -> Result<String> {
            let path = folder.join(name);
            fs::write(&path, content)?;
            Ok(path.display().to_string())
        };
        let key = self.access_key();
        let mut environment = Vec::new();
        if self == Self::Instance {
            environment.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine_url.to_owned()));
        } else {
            environment.push(("AWS_EC2_METADATA_DISABLED", "true".to_owned()));
        }
        match self {
            Self::None | Self::Instance => {}
            Self::Environment => {
                environment.push(("AWS_ACCESS_KEY_ID", key.to_owned()));
                environment.push(("AWS_SECRET_ACCESS_KEY", "secret".to_owned()));
            }
            Self::Profile => {
                let content = format!("[lab]\naws_access_key_id = {key}\naws_secret_access_key = secret\n");
                environment.push(("AWS_SHARED_CREDENTIALS_FILE", file("credentials", &content)?));
                environment.push(("AWS_PROFILE", "lab".to_owned()));
            }
            Self::WebIdentity => {
                environment.push(("AWS_WEB_IDENTITY_TOKEN_FILE", file("token", SERVICE_ACCOUNT_TOKEN)?));
                environment.push(("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/zstart".to_owned()));
                environment.push(("AWS_REGION", "eu-west-1".to_owned()));
            }
            Self::Container => {
                environment
                    .push(("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{machine_url}/v1/credentials")));
                let token = file("pod-token", SERVICE_ACCOUNT_TOKEN)?;
                environment.push(("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token));
            }
        }
        Ok(environment)
    }
}

/// A session that a program opened with an identity that it had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// ARN of the role.
    pub role: String,
    /// Session policy.
    pub policy: Value,
}

impl Session {
    /// Access key of every session.
    pub const ACCESS_KEY: &'static str = "ASIASESSION000000000";

    /// Reads the parameters of `AssumeRole`; `None` for another request.
    fn of(body: &str) -> Option<Self> {
        let url = reqwest::Url::parse(&format!("http://sts/?{body}")).ok()?;
        let parameter =
            |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        (parameter("Action")? == "AssumeRole").then_some(())?;
        let policy = serde_json::from_str(&parameter("Policy")?).ok()?;
        Some(Self { role: parameter("RoleArn")?, policy })
    }
}

/// STS: returns a role for a service account's token, or a session for an identity.
pub(super) async fn assume_role(state: &EcrState, request: Request) -> Response {
    let body = to_bytes(request.into_body(), 64 * 1024).await.unwrap_or_default();
    let body = String::from_utf8_lossy(&body);
    if let Some(session) = Session::of(&body) {
        lock(&state.sessions).push(session);
        return assumed("AssumeRole", Session::ACCESS_KEY);
    }
    let has_parameter = |part: &str| body.split('&').any(|found| found == part);
    if !has_parameter("Action=AssumeRoleWithWebIdentity")
        || !has_parameter(&format!("WebIdentityToken={SERVICE_ACCOUNT_TOKEN}"))
    {
        let error = "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code>\
                       <Message>no</Message></Error></ErrorResponse>";
        return (StatusCode::BAD_REQUEST, error).into_response();
    }
    assumed("AssumeRoleWithWebIdentity", Identity::WebIdentity.access_key())
}

fn assumed(operation: &str, key: &str) -> Response {
    format!(
        "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <{operation}Result><Credentials><AccessKeyId>{key}</AccessKeyId>\
         <SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken>\
         <Expiration>{EXPIRES}</Expiration></Credentials><AssumedRoleUser>\
         <Arn>arn:aws:sts::123456789012:assumed-role/zstart/session</Arn>\
         <AssumedRoleId>AROA:session</AssumedRoleId></AssumedRoleUser>\
         </{operation}Result></{operation}Response>"
    )
    .into_response()
}

/// A machine's own services: instance metadata (version 2), and the agent of Pod Identity.
pub(super) fn machine_endpoint(request: &Request) -> Response {
    let role = "/latest/meta-data/iam/security-credentials";
    match request.uri().path() {
        "/v1/credentials"
            if header_text(request.headers(), &AUTHORIZATION) == Some(SERVICE_ACCOUNT_TOKEN) =>
        {
            axum::Json(credentials(Identity::Container)).into_response()
        }
        "/latest/api/token" => {
            ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "metadata-token").into_response()
        }
        path if !request.headers().contains_key("x-aws-ec2-metadata-token") => {
            (StatusCode::UNAUTHORIZED, path.to_owned()).into_response()
        }
        path => match path.strip_prefix(role) {
            Some("" | "/") => ROLE.into_response(),
            Some(name) if name.trim_matches('/') == ROLE => {
                axum::Json(credentials(Identity::Instance)).into_response()
            }
            _ => StatusCode::NOT_FOUND.into_response(),
        },
    }
}

fn credentials(identity: Identity) -> Value {
    json!({
        "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
        "AccessKeyId": identity.access_key(), "SecretAccessKey": "secret", "Token": "session",
        "Expiration": EXPIRES,
    })
}
