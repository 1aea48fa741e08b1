//! ECR's own API: `GetAuthorizationToken` and the validity of its tokens, `DescribeRepositories`.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::{ACCOUNT, PUBLIC, TARGET_HEADER, header_text};

/// Lifetime of a token (documentation of `GetAuthorizationToken`).
const TOKEN_TTL: Duration = Duration::from_hours(12);

/// Issues tokens and checks them.
#[derive(Default)]
pub(super) struct TokenIssuer {
    /// By token: its registry, and the number of requests made with it.
    issued: HashMap<String, (String, usize)>,
    /// Requests that each token is valid for; `None`: unlimited.
    pub(super) max_requests: Option<usize>,
    /// Error answered instead of a token, and the number of answers left.
    pub(super) failure: Option<(StatusCode, &'static str, usize)>,
    /// The identity lacks the right to describe repositories.
    pub(super) denies_describe: bool,
    pub(super) access_keys: BTreeSet<String>,
}

/// Result of checking a request's credentials.
pub(super) enum Verdict {
    Accepted,
    Anonymous,
    Expired,
}

impl TokenIssuer {
    /// Answers a request to a registry's API. `is_immutable` is the setting of its repositories.
    pub(super) fn answer(&mut self, headers: &HeaderMap, registry: &str, is_immutable: bool) -> Response {
        let service = if registry == PUBLIC {
            "SpencerFrontendService."
        } else {
            "AmazonEC2ContainerRegistry_V20150921."
        };
        let key = match self.signer(headers, registry) {
            Ok(key) => key,
            Err(refused) => return *refused,
        };
        let target = header_text(headers, &TARGET_HEADER).and_then(|target| target.strip_prefix(service));
        match target {
            Some("GetAuthorizationToken") => self.authorize(&key, registry),
            // ECR Public's API has the operation too, without mutability.
            Some("DescribeRepositories") if registry != PUBLIC => self.describe(is_immutable),
            _ => aws_error(StatusCode::BAD_REQUEST, "UnknownOperationException", "unknown operation"),
        }
    }

    /// Access key that signed a request.
    fn signer(&mut self, headers: &HeaderMap, registry: &str) -> Result<String, Box<Response>> {
        let refused =
            |code: &str, message: &str| Err(Box::new(aws_error(StatusCode::BAD_REQUEST, code, message)));
        // Signature version 4. The signature itself isn't checked.
        let authorization = header_text(headers, &AUTHORIZATION).unwrap_or_default();
        let credential = authorization.strip_prefix("AWS4-HMAC-SHA256 Credential=");
        let Some((key, scope)) = credential.and_then(|credential| credential.split_once('/')) else {
            return refused("MissingAuthenticationTokenException", "Request is missing Authentication Token");
        };
        let (service, region) = service_of(registry);
        if !scope.contains(&format!("/{region}/{service}/aws4_request,")) {
            let message = "Credential should be scoped to a valid region and to the correct service";
            return refused("InvalidSignatureException", message);
        }
        self.access_keys.insert(key.to_owned());
        Ok(key.to_owned())
    }

    /// The setting of the repositories. The names in the request aren't read: all have one setting.
    fn describe(&self, is_immutable: bool) -> Response {
        if self.denies_describe {
            let message = "User is not authorized to perform: ecr:DescribeRepositories";
            return aws_error(StatusCode::BAD_REQUEST, "AccessDeniedException", message);
        }
        let mutability = if is_immutable { "IMMUTABLE" } else { "MUTABLE" };
        axum::Json(json!({"repositories": [{"registryId": ACCOUNT, "imageTagMutability": mutability}]}))
            .into_response()
    }

    /// Issues a token.
    fn authorize(&mut self, key: &str, registry: &str) -> Response {
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

    /// Token server of ECR Public, with and without credentials.
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

    /// Checks the credentials of a request to a registry and counts the request.
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
            // A token is valid for all registries of its service.
            Some((given_for, used)) if *given_for == registry => {
                *used += 1;
                Verdict::Accepted
            }
            _ => Verdict::Anonymous,
        }
    }
}

/// Service and region in the signature of a registry's token requests.
fn service_of(registry: &str) -> (&'static str, &str) {
    if registry == PUBLIC {
        return ("ecr-public", "us-east-1");
    }
    let rest = registry.strip_prefix(ACCOUNT).unwrap_or_default();
    let region = rest.split('.').find(|part| part.split('-').count() == 3 && !part.starts_with("dkr"));
    ("ecr", region.unwrap_or_default())
}

/// Password of the user `AWS`.
fn basic_password(headers: &HeaderMap) -> Option<String> {
    let value = header_text(headers, &AUTHORIZATION)?.strip_prefix("Basic ")?;
    let value = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    value.strip_prefix("AWS:").map(ToOwned::to_owned)
}

/// An error in the format of AWS's JSON protocol.
fn aws_error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, axum::Json(json!({"__type": code, "message": message}))).into_response()
}
