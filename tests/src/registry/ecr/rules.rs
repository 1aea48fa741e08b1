//! Peculiarities of ECR's registries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{HeaderName, LOCATION, WWW_AUTHENTICATE};
use http::{Method, StatusCode};

use super::super::reverse_proxy::without_credentials;
use super::super::route::{self, Endpoint};
use super::tokens::Verdict;
use super::uploads;
use super::{BLOB_HOST, EcrState, PUBLIC, error_response, header_text};

/// Manifest pushes per second and account ("Amazon ECR service quotas", `PutImage`).
const MAX_PUTS_PER_SECOND: usize = 10;
/// Maximum page size of a tag list.
const MAX_TAGS_PER_PAGE: usize = 1000;
/// Header with the digest of a pushed manifest.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// State shared by all registries of the account.
#[derive(Default)]
pub(super) struct RegistryRules {
    repositories: BTreeSet<String>,
    pub(super) immutable_tags: bool,
    /// Digests of pushed tags, by repository and tag.
    pub(super) tags: BTreeMap<(String, String), String>,
    /// Pushed manifests: repository and digest.
    pub(super) manifests: BTreeSet<(String, String)>,
    /// Time and status of each manifest push.
    pub(super) puts: Vec<(Instant, StatusCode)>,
}

impl RegistryRules {
    /// Rules with these repositories only.
    pub(super) fn of(repositories: &[&str]) -> Self {
        Self { repositories: repositories.iter().map(ToString::to_string).collect(), ..Self::default() }
    }
}

/// Answers a request to a registry.
pub(super) async fn registry(state: &EcrState, registry: &str, request: Request) -> Response {
    if registry == PUBLIC && request.uri().path() == "/token/" {
        return state.tokens().public_token(request.headers());
    }
    match state.tokens().check(registry, request.headers()) {
        Verdict::Accepted => {}
        Verdict::Anonymous => return challenge(registry),
        Verdict::Expired if registry == PUBLIC => {
            return error_response(
                StatusCode::BAD_REQUEST,
                "DENIED",
                "Your authorization token has expired.",
            );
        }
        // No challenge: a client that waits for a 401 never refreshes its token.
        Verdict::Expired => {
            let message = "Your authorization token has expired. Reauthenticate and try again.";
            return error_response(StatusCode::FORBIDDEN, "DENIED", message);
        }
    }
    let path = request.uri().path().to_owned();
    let (repository, endpoint) = route::parse(&path);
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if endpoint != Endpoint::Base && !state.rules().repositories.contains(repository) {
        if !is_read {
            abort_connection();
        }
        let message = format!("The repository with name '{repository}' does not exist in the registry");
        return error_response(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &message);
    }
    let origin = format!("https://{registry}");
    let request = without_credentials(request);
    match endpoint {
        Endpoint::Manifest(reference) if *request.method() == Method::PUT => {
            put_manifest(state, repository, reference, request, &origin).await
        }
        Endpoint::Upload => uploads::upload(state, request, &origin).await,
        // containers-roadmap#2671: with a token too.
        Endpoint::Blob(_) if *request.method() == Method::HEAD && registry == PUBLIC => challenge(registry),
        Endpoint::Blob(_) if *request.method() == Method::GET => {
            let signed =
                format!("https://{BLOB_HOST}{path}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0");
            (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, signed)]).into_response()
        }
        Endpoint::Tags if exceeds_page_limit(&request) => {
            error_response(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "n must not be larger than 1000")
        }
        _ => state.registry.forward(request, &origin).await,
    }
}

fn challenge(registry: &str) -> Response {
    let challenge = if registry == PUBLIC {
        format!("Bearer realm=\"https://{PUBLIC}/token/\",service=\"{PUBLIC}\",scope=\"aws\"")
    } else {
        format!("Basic realm=\"https://{registry}/\",service=\"ecr.amazonaws.com\"")
    };
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
}

/// Closes the connection without a response, by ending the task that serves it.
fn abort_connection() -> ! {
    std::panic::resume_unwind(Box::new("connection aborted"))
}

async fn put_manifest(
    state: &EcrState,
    repository: &str,
    reference: &str,
    request: Request,
    origin: &str,
) -> Response {
    let now = Instant::now();
    let key = (repository.to_owned(), reference.to_owned());
    let refused = {
        let rules = state.rules();
        let second = Duration::from_secs(1);
        let recent = rules.puts.iter().filter(|(put, _)| now.duration_since(*put) < second).count();
        if recent >= MAX_PUTS_PER_SECOND {
            Some((StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "Rate exceeded".to_owned()))
        } else if rules.immutable_tags && rules.tags.contains_key(&key) {
            // ECR refuses every push to an existing tag, including a push of equal content.
            let message = format!(
                "The image tag '{reference}' already exists in the '{repository}' repository and cannot be \
                 overwritten because the tag is immutable."
            );
            Some((StatusCode::BAD_REQUEST, "TAG_INVALID", message))
        } else {
            None
        }
    };
    if let Some((status, code, message)) = refused {
        state.rules().puts.push((now, status));
        return error_response(status, code, &message);
    }
    let response = state.registry.forward(request, origin).await;
    let mut rules = state.rules();
    rules.puts.push((now, response.status()));
    let digest = header_text(response.headers(), &CONTENT_DIGEST).unwrap_or_default().to_owned();
    if response.status().is_success() {
        if !reference.contains(':') {
            rules.tags.insert(key, digest.clone());
        }
        rules.manifests.insert((repository.to_owned(), digest));
    }
    drop(rules);
    response
}

fn exceeds_page_limit(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let number = query.split('&').find_map(|part| part.strip_prefix("n=")?.parse::<usize>().ok());
    number.is_some_and(|number| number > MAX_TAGS_PER_PAGE)
}
