//! `GetAuthorizationToken`, and what its tokens are good for.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{ACCOUNT, PUBLIC, header_text};

/// How long tokens live (the documentation of `GetAuthorizationToken`).
const TOKEN_TTL: Duration = Duration::from_hours(12);
/// The header that names an operation of AWS's JSON protocol.
const TARGET_HEADER: HeaderName = HeaderName::from_static("x-amz-target");

/// TokenIssuer that were given.
#[derive(Default)]
pub(super) struct TokenIssuer {
    /// By token: the registry that it is for, and how many requests it was used for.
    issued: HashMap<String, (String, usize)>,
    /// For how many requests each is good.
    pub(super) max_requests: Option<usize>,
    /// What is answered instead of a token, and how often still.
    pub(super) failure: Option<(StatusCode, &'static str, usize)>,
    pub(super) access_keys: BTreeSet<String>,
}

/// What a request's credentials are worth.
pub(super) enum Verdict {
    Accepted,
    Anonymous,
    Expired,
}

impl TokenIssuer {
    /// Answers a request for a token.
    pub(super) fn authorize(&mut self, headers: &HeaderMap, registry: &str) -> Response {
        let operation = if registry == PUBLIC {
            "SpencerFrontendService.GetAuthorizationToken"
        } else {
            "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
        };
        if header_text(headers, &TARGET_HEADER) != Some(operation) {
            return aws_error(StatusCode::BAD_REQUEST, "UnknownOperationException", "unknown operation");
        }
        // Signature version 4; what it signs is AWS's to judge.
        let authorization = header_text(headers, &AUTHORIZATION).unwrap_or_default();
        let credential = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=");
        let Some((key, scope)) = credential.and_then(|credential| credential.split_once('/')) else {
            let message = "Request is missing Authentication Token";
            return aws_error(StatusCode::BAD_REQUEST, "MissingAuthenticationTokenException", message);
        };
        let (service, region) = service_of(registry);
        if !scope.contains(&format!("/{region}/{service}/aws4_request,")) {
            let message = "Credential should be scoped to a valid region and to the correct service";
            return aws_error(StatusCode::BAD_REQUEST, "InvalidSignatureException", message);
        }
        self.access_keys.insert(key.to_owned());
        if let Some((status, code, times)) = &mut self.failure
            && *times > 0
        {
            *times -= 1;
            return aws_error(*status, code, "User is not authorized to perform: GetAuthorizationToken");
        }
        let token = format!("token-{}-of-{key}", self.issued.len());
        self.issued.insert(token.clone(), (registry.to_owned(), 0));
        let expires = SystemTime::now() + TOKEN_TTL;
        let expires = expires.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let token = json!({
            "authorizationToken": STANDARD.encode(format!("AWS:{token}")),
            "expiresAt": expires,
            "proxyEndpoint": format!("https://{registry}"),
        });
        let data = if registry == PUBLIC { token } else { json!([token]) };
        axum::Json(json!({"authorizationData": data})).into_response()
    }

    /// The token server of ECR Public: for somebody, or for nobody in particular.
    pub(super) fn public_token(&mut self, headers: &HeaderMap) -> Response {
        let key = match basic_password(headers) {
            None => "anonymous".to_owned(),
            Some(token) if self.issued.contains_key(&token) => token,
            Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
        };
        let token = format!("bearer-{}-of-{key}", self.issued.len());
        self.issued.insert(token.clone(), (PUBLIC.to_owned(), 0));
        axum::Json(json!({"token": token, "expires_in": TOKEN_TTL.as_secs()})).into_response()
    }

    /// Judges the credentials of a request to a registry, which uses them.
    pub(super) fn check(&mut self, registry: &str, headers: &HeaderMap) -> Verdict {
        let presented = if registry == PUBLIC {
            header_text(headers, &AUTHORIZATION)
                .and_then(|value| value.strip_prefix("Bearer "))
                .map(ToOwned::to_owned)
        } else {
            basic_password(headers)
        };
        let Some(presented) = presented else { return Verdict::Anonymous };
        match self.issued.get_mut(&presented) {
            Some((_, used)) if self.max_requests.is_some_and(|max| *used >= max) => Verdict::Expired,
            // A token is for all registries of its service.
            Some((given_for, used)) if *given_for == registry => {
                *used += 1;
                Verdict::Accepted
            }
            _ => Verdict::Anonymous,
        }
    }
}

/// The service and region by which requests for a registry's tokens are signed.
fn service_of(registry: &str) -> (&'static str, &str) {
    if registry == PUBLIC {
        return ("ecr-public", "us-east-1");
    }
    let rest = registry.strip_prefix(ACCOUNT).unwrap_or_default();
    let region = rest.split('.').find(|part| part.split('-').count() == 3 && !part.starts_with("dkr"));
    ("ecr", region.unwrap_or_default())
}

/// The password of the user `AWS`.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = header_text(headers, &AUTHORIZATION)?.strip_prefix("Basic ")?;
    let value = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    value.strip_prefix("AWS:").map(ToOwned::to_owned)
}

/// An error of AWS's JSON protocol.
fn aws_error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({"__type": code, "message": message}))).into_response()
}
