//! A gateway in front of a real registry: it can ask for tokens, and it can misbehave.
//!
//! The registry behind it stays honest, so what a test sees is what a client makes of a lie, not
//! what a fake thinks a registry does.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use zstart_core::sync::lock;

use super::request_log::{Recording, RequestLog};
use super::reverse_proxy::{ReverseProxy, truncate, without_credentials};

/// What is done to a request that a rule fits.
#[derive(Clone)]
pub enum Fault {
    /// None: this request is spared, and counts.
    PassThrough,
    /// It is answered with this status and these headers; the registry doesn't see it.
    Respond(StatusCode, Vec<(&'static str, String)>, &'static str),
    /// Of the answer's body, that many bytes come; then the connection is cut.
    CutResponseAfter(usize),
    /// Of the request's body, that many bytes are passed on; then both connections are cut.
    CutRequestAfter(usize),
    /// The answer's body is other bytes of the same length.
    FlipBytes,
    /// A blob that comes with the request that opens its upload is stored at once, as some registries do
    /// (distribution specification, "Single POST") and the one behind this doesn't.
    AcceptSinglePost,
    /// The answer waits until this has run.
    RunFirst(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

impl Fault {
    /// It says that a request has come, and then never answers it.
    pub fn stalled(arrived: &Arc<Notify>) -> Self {
        let arrived = Arc::clone(arrived);
        Self::RunFirst(Arc::new(move || -> BoxFuture<'static, ()> {
            arrived.notify_one();
            Box::pin(std::future::pending())
        }))
    }
}

/// Which requests get which fault, and how often.
struct Rule {
    method: Method,
    path_part: String,
    fault: Fault,
    /// How many requests are still hit; `None`: all.
    remaining: Option<usize>,
}

/// A login by token, as Docker Hub and most registries have it.
#[derive(Clone, Debug)]
pub struct TokenLogin {
    /// The user who gets tokens.
    pub username: String,
    /// The password.
    pub password: String,
}

struct Shared {
    registry: ReverseProxy,
    address: String,
    login: Option<TokenLogin>,
    rules: Mutex<Vec<Rule>>,
    calls: RequestLog,
    tokens: Mutex<Vec<String>>,
}

/// A running gateway.
pub struct Gateway {
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Gateway {
    /// A gateway in front of the registry at `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> Result<Self> {
        Self::start_with(upstream, None).await
    }

    /// The same, asking for a token with each request.
    pub async fn start_with(upstream: &str, login: Option<TokenLogin>) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let shared = Arc::new(Shared {
            registry: ReverseProxy::new(upstream)?,
            address: listener.local_addr()?.to_string(),
            login,
            rules: Mutex::default(),
            calls: RequestLog::default(),
            tokens: Mutex::default(),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            // It ends with the task; there is nobody to tell.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { shared, server })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.shared.address.clone()
    }

    /// From now on, requests of this method whose path contains `path_part` get the fault.
    pub fn fault(&self, method: Method, path_part: &str, fault: Fault) {
        self.rule(Rule { method, path_part: path_part.to_owned(), fault, remaining: None });
    }

    /// The same for the next `times` such requests only.
    pub fn fault_times(&self, times: usize, method: Method, path_part: &str, fault: Fault) {
        self.rule(Rule { method, path_part: path_part.to_owned(), fault, remaining: Some(times) });
    }

    fn rule(&self, rule: Rule) {
        lock(&self.shared.rules).push(rule);
    }

    /// Behaves from now on.
    pub fn clear_faults(&self) {
        lock(&self.shared.rules).clear();
    }

    /// Whether every fault that was asked for a number of times came that often.
    pub fn all_faults_hit(&self) -> bool {
        let rules = lock(&self.shared.rules);
        rules.iter().all(|rule| rule.remaining.is_none_or(|remaining| remaining == 0))
    }

    /// Accepts no token that it gave so far.
    pub fn revoke_tokens(&self) {
        lock(&self.shared.tokens).clear();
    }

    /// Begins a recording of the requests from now on.
    pub fn record(&self) -> Recording {
        self.shared.calls.record()
    }

    /// The requests so far, as `METHOD /path?query`.
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.calls()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn next_fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules.iter_mut().find(|rule| {
            rule.method == *method && path.contains(&rule.path_part) && rule.remaining != Some(0)
        })?;
        rule.remaining = rule.remaining.map(|remaining| remaining - 1);
        Some(rule.fault.clone())
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        if self.login.is_none() {
            return true;
        }
        let tokens = lock(&self.tokens);
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        given.is_some_and(|given| tokens.iter().any(|token| token == given))
    }

    fn issue_token(&self, headers: &HeaderMap) -> Response {
        let Some(TokenLogin { username, password }) = &self.login else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let expected = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        if headers.get(AUTHORIZATION).is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let mut tokens = lock(&self.tokens);
        let token = format!("token-{}", self.calls.len());
        tokens.push(token.clone());
        axum::Json(serde_json::json!({"token": token})).into_response()
    }

    fn challenge(&self) -> Response {
        let challenge = format!("Bearer realm=\"http://{}/token\",service=\"lab\"", self.address);
        (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
    }
}

/// Opens an upload and finishes it with all that came.
async fn accept_single_post(shared: &Shared, request: Request) -> Response {
    let origin = format!("http://{}", shared.address);
    let query = request.uri().query().map(ToOwned::to_owned).unwrap_or_default();
    let path = request.uri().path().to_owned();
    let content = request.into_body();
    let to = |method, uri: &str, body| Request::builder().method(method).uri(uri).body(body);
    let Ok(open) = to(Method::POST, &path, Body::empty()) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let opened = shared.registry.forward(open, &origin).await;
    let location = opened.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(location) = location else { return opened };
    let Ok(finish) = to(Method::PUT, &format!("{location}&{query}"), content) else { return opened };
    shared.registry.forward(finish, &origin).await
}

/// Reads a request to its end: whoever is answered while he still sends may find the connection closed, and
/// not the answer.
async fn drain(request: Request) {
    let mut content = request.into_body().into_data_stream();
    while let Some(Ok(_)) = content.next().await {}
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = request.method().clone();
    shared.calls.push(format!("{method} {path}"));
    let fault = shared.next_fault(&method, &path);
    match &fault {
        Some(Fault::Respond(status, headers, body)) => {
            drain(request).await;
            let mut response = (*status, *body).into_response();
            for (name, value) in headers {
                if let Ok(value) = HeaderValue::from_str(value) {
                    response.headers_mut().insert(*name, value);
                }
            }
            return response;
        }
        Some(Fault::RunFirst(action)) => action().await,
        Some(Fault::AcceptSinglePost) if path.contains("digest=") => {
            return accept_single_post(&shared, request).await;
        }
        Some(
            Fault::PassThrough
            | Fault::AcceptSinglePost
            | Fault::CutResponseAfter(_)
            | Fault::CutRequestAfter(_)
            | Fault::FlipBytes,
        )
        | None => {}
    }
    if path.starts_with("/token") {
        return shared.issue_token(request.headers());
    }
    if !shared.is_authorized(request.headers()) {
        drain(request).await;
        return shared.challenge();
    }
    let request = if shared.login.is_some() { without_credentials(request) } else { request };
    let origin = format!("http://{}", shared.address);
    let response = match &fault {
        Some(Fault::CutRequestAfter(limit)) => {
            let change = |body| reqwest::Body::wrap_stream(truncate(body, *limit));
            shared.registry.forward_with(request, &origin, change).await
        }
        _ => shared.registry.forward(request, &origin).await,
    };
    match fault {
        Some(Fault::CutResponseAfter(limit)) => {
            response.map(|body| Body::from_stream(truncate(body.into_data_stream(), limit)))
        }
        Some(Fault::FlipBytes) => response.map(|body| {
            let flip = |chunk: Bytes| chunk.iter().map(|byte| byte ^ 0x55).collect::<Bytes>();
            Body::from_stream(body.into_data_stream().map(move |chunk| chunk.map(flip)))
        }),
        _ => response,
    }
}
