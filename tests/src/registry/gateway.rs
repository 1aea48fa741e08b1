//! A gateway in front of a real registry: asks for tokens and injects faults.
//!
//! The registry behind the gateway stays honest. A test therefore sees the client's reaction to a fault, not
//! a fake's idea of a registry.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Effect of a rule on a request.
#[derive(Clone)]
pub enum Fault {
    /// None: the request passes, and counts as one of the rule's requests.
    PassThrough,
    /// Answers with this status, these headers and this body; the request doesn't reach the registry.
    Respond(StatusCode, Vec<(&'static str, String)>, &'static str),
    /// Redirects with this status to this origin, or to the gateway itself if the origin is empty. The address
    /// is the request's own, and ends with `moved=1`.
    RedirectTo(StatusCode, String),
    /// Forwards the request, and answers with this status.
    AnswerAs(StatusCode),
    /// Cuts the connection after this number of bytes of the response's body.
    CutResponseAfter(usize),
    /// Forwards this number of bytes of the request's body, then cuts both connections.
    CutRequestAfter(usize),
    /// Replaces the response's body by other bytes of equal length.
    FlipBytes,
    /// Stores a blob that arrives with the request that opens its upload (distribution specification, "Single
    /// POST"). Some registries do so; the one behind the gateway doesn't.
    AcceptSinglePost,
    /// Runs this before the request is forwarded.
    RunFirst(Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>),
}

impl Fault {
    /// Signals that a request has arrived and never answers it.
    pub fn stalled(arrived: &Arc<Notify>) -> Self {
        let arrived = Arc::clone(arrived);
        Self::RunFirst(Arc::new(move || -> BoxFuture<'static, ()> {
            arrived.notify_one();
            Box::pin(std::future::pending())
        }))
    }
}

/// A fault, the requests it applies to, and how often.
struct FaultRule {
    method: Method,
    path: PathRule,
    fault: Fault,
    /// Requests that the rule still applies to; `None`: all.
    remaining: Option<usize>,
}

/// Requests that a rule applies to.
enum PathRule {
    Contains(String),
    Is(String),
}

impl PathRule {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Contains(part) => path.contains(part),
            Self::Is(whole) => path == whole,
        }
    }
}

/// A login by token, as for Docker Hub and most registries.
#[derive(Clone, Debug)]
pub struct TokenLogin {
    /// User who gets tokens.
    pub username: String,
    /// Password.
    pub password: String,
}

impl TokenLogin {
    /// A login without a user: the token server refuses passwords.
    pub fn anonymous() -> Self {
        Self { username: String::new(), password: String::new() }
    }

    /// The header of a request with the password.
    fn basic(&self) -> Option<String> {
        let Self { username, password } = self;
        (!username.is_empty()).then(|| format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }
}

struct GatewayState {
    registry: ReverseProxy,
    address: String,
    login: Option<TokenLogin>,
    /// Whether requests that write need the password itself.
    writes_need_password: AtomicBool,
    rules: Mutex<Vec<FaultRule>>,
    calls: RequestLog,
    tokens: Mutex<Vec<String>>,
    refused_users: Mutex<Vec<String>>,
}

/// A running gateway.
pub struct Gateway {
    state: Arc<GatewayState>,
    server: JoinHandle<()>,
}

impl Gateway {
    /// Starts a gateway in front of the registry at `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> Result<Self> {
        Self::start_with(upstream, None).await
    }

    /// Starts a gateway that requires a token with each request if a login is given.
    pub async fn start_with(upstream: &str, login: Option<TokenLogin>) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let state = Arc::new(GatewayState {
            registry: ReverseProxy::new(upstream)?,
            address: listener.local_addr()?.to_string(),
            login,
            writes_need_password: AtomicBool::new(false),
            rules: Mutex::default(),
            calls: RequestLog::default(),
            tokens: Mutex::default(),
            refused_users: Mutex::default(),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move {
            // The server ends with the task, so its result is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { state, server })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.state.address.clone()
    }

    /// Applies a fault to all requests with this method and with `path_part` in their path.
    pub fn fault(&self, method: Method, path_part: &str, fault: Fault) {
        self.rule(FaultRule {
            method,
            path: PathRule::Contains(path_part.to_owned()),
            fault,
            remaining: None,
        });
    }

    /// Applies a fault to all requests with this method and path, query included.
    pub fn fault_at(&self, method: Method, path: &str, fault: Fault) {
        self.rule(FaultRule { method, path: PathRule::Is(path.to_owned()), fault, remaining: None });
    }

    /// Applies a fault to the next `times` requests with this method and with `path_part` in their path.
    pub fn fault_times(&self, times: usize, method: Method, path_part: &str, fault: Fault) {
        let path = PathRule::Contains(path_part.to_owned());
        self.rule(FaultRule { method, path, fault, remaining: Some(times) });
    }

    fn rule(&self, rule: FaultRule) {
        lock(&self.state.rules).push(rule);
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        lock(&self.state.rules).clear();
    }

    /// Whether every fault with a number of times has occurred that often.
    pub fn all_faults_hit(&self) -> bool {
        let rules = lock(&self.state.rules);
        rules.iter().all(|rule| rule.remaining.is_none_or(|remaining| remaining == 0))
    }

    /// Challenges `GET /v2/` no more: the registry asks for a login at each request that needs one.
    pub fn open_base(&self) {
        self.fault_at(Method::GET, "/v2/", Fault::Respond(StatusCode::OK, vec![], "{}"));
    }

    /// Refuses tokens for requests that write, and asks for the password itself.
    pub fn require_password_for_writes(&self) {
        self.state.writes_need_password.store(true, Ordering::Relaxed);
    }

    /// Rejects all tokens issued so far.
    pub fn revoke_tokens(&self) {
        lock(&self.state.tokens).clear();
    }

    /// Users of the failed logins so far.
    pub fn refused_users(&self) -> Vec<String> {
        lock(&self.state.refused_users).clone()
    }

    /// Begins a recording of the requests from now on.
    pub fn record(&self) -> Recording {
        self.state.calls.record()
    }

    /// Requests so far, as `METHOD /path?query`.
    pub fn calls(&self) -> Vec<String> {
        self.state.calls.calls()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl GatewayState {
    fn next_fault(&self, method: &Method, path: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let rule = rules
            .iter_mut()
            .find(|rule| rule.method == *method && rule.path.matches(path) && rule.remaining != Some(0))?;
        rule.remaining = rule.remaining.map(|remaining| remaining - 1);
        Some(rule.fault.clone())
    }

    fn is_authorized(&self, method: &Method, headers: &HeaderMap) -> bool {
        let Some(login) = &self.login else { return true };
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if self.needs_password(method) {
            return given.is_some() && given == login.basic().as_deref();
        }
        let tokens = lock(&self.tokens);
        let given = given.and_then(|given| given.strip_prefix("Bearer "));
        given.is_some_and(|given| tokens.iter().any(|token| token == given))
    }

    fn needs_password(&self, method: &Method) -> bool {
        self.writes_need_password.load(Ordering::Relaxed) && !matches!(*method, Method::GET | Method::HEAD)
    }

    fn issue_token(&self, headers: &HeaderMap) -> Response {
        let Some(login) = &self.login else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        if given != login.basic().as_ref().map(String::as_bytes) {
            let login = given.and_then(|given| STANDARD.decode(given.strip_prefix(b"Basic ")?).ok());
            let user =
                login.and_then(|login| Some(String::from_utf8(login).ok()?.split(':').next()?.to_owned()));
            lock(&self.refused_users).extend(user);
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let mut tokens = lock(&self.tokens);
        let token = format!("token-{}-{}", self.address, self.calls.len());
        tokens.push(token.clone());
        axum::Json(serde_json::json!({"token": token})).into_response()
    }

    fn challenge(&self, method: &Method) -> Response {
        let challenge = if self.needs_password(method) {
            "Basic realm=\"lab\"".to_owned()
        } else {
            format!("Bearer realm=\"http://{}/token\",service=\"lab\"", self.address)
        };
        (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, challenge)]).into_response()
    }
}

/// Reads a request to its end: a client answered while it still sends may see a closed connection instead of
/// the response.
pub(super) async fn drain(request: Request) {
    let mut content = request.into_body().into_data_stream();
    while let Some(Ok(_)) = content.next().await {}
}

async fn handle(State(state): State<Arc<GatewayState>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = request.method().clone();
    state.calls.push(format!("{method} {path}"));
    let fault = state.next_fault(&method, &path);
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
        Some(Fault::RedirectTo(status, origin)) => {
            drain(request).await;
            let separator = if path.contains('?') { '&' } else { '?' };
            let location = format!("{origin}{path}{separator}moved=1");
            return (*status, [(LOCATION, location)]).into_response();
        }
        Some(Fault::RunFirst(action)) => action().await,
        Some(Fault::AcceptSinglePost) if path.contains("digest=") => {
            let origin = format!("http://{}", state.address);
            return state.registry.accept_single_post(request, &origin).await;
        }
        Some(
            Fault::PassThrough
            | Fault::AcceptSinglePost
            | Fault::AnswerAs(_)
            | Fault::CutResponseAfter(_)
            | Fault::CutRequestAfter(_)
            | Fault::FlipBytes,
        )
        | None => {}
    }
    if path.starts_with("/token") {
        return state.issue_token(request.headers());
    }
    if !state.is_authorized(&method, request.headers()) {
        drain(request).await;
        return state.challenge(&method);
    }
    let request = if state.login.is_some() { without_credentials(request) } else { request };
    let origin = format!("http://{}", state.address);
    let response = match &fault {
        Some(Fault::CutRequestAfter(limit)) => {
            let change = |body| reqwest::Body::wrap_stream(truncate(body, *limit));
            state.registry.forward_with(request, &origin, change).await
        }
        _ => state.registry.forward(request, &origin).await,
    };
    match fault {
        Some(Fault::CutResponseAfter(limit)) => {
            response.map(|body| Body::from_stream(truncate(body.into_data_stream(), limit)))
        }
        Some(Fault::FlipBytes) => response.map(|body| {
            let flip = |chunk: Bytes| chunk.iter().map(|byte| byte ^ 0x55).collect::<Bytes>();
            Body::from_stream(body.into_data_stream().map(move |chunk| chunk.map(flip)))
        }),
        Some(Fault::AnswerAs(status)) => {
            let mut response = response;
            *response.status_mut() = status;
            response
        }
        _ => response,
    }
}
