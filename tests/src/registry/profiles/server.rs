//! A server that answers as a product does, in front of a real registry.
//!
//! It also checks the client: credentials at a wrong origin, altered upload addresses and the like are
//! violations, which fail the test.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use zstart_core::sync::lock;

use self::login::{Action, Tokens};
use self::uploads::Session;
use super::behaviour::{Behaviour, Login};
use crate::registry::request_log::{Recording, RequestLog};
use crate::registry::reverse_proxy::ReverseProxy;
use crate::registry::route::{self, Endpoint};

mod blobs;
mod errors;
mod login;
mod manifests;
mod tags;
mod uploads;

/// A running server.
pub struct ProfileServer {
    state: Arc<ServerState>,
    _servers: [AbortOnDropHandle<()>; 3],
}

/// Origins of the server, as `http://HOST:PORT`.
struct Origins {
    registry: String,
    token: String,
    storage: String,
}

/// Origin that a request arrived at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Registry,
    Token,
    Storage,
}

struct ServerState {
    behaviour: &'static Behaviour,
    upstream: ReverseProxy,
    origins: Origins,
    calls: RequestLog,
    violations: Mutex<Vec<String>>,
    tokens: Mutex<Tokens>,
    /// Repositories that exist.
    repositories: Mutex<BTreeSet<String>>,
    /// Upload sessions by ID.
    sessions: Mutex<HashMap<String, Session>>,
    manifests: Mutex<manifests::Pushed>,
}

impl ProfileServer {
    /// Starts a server in front of the registry at `upstream` (`host:port`).
    pub async fn start(behaviour: &'static Behaviour, upstream: &str) -> Result<Self> {
        let listeners = [listen().await?, listen().await?, listen().await?];
        let mut addresses = Vec::new();
        for listener in &listeners {
            addresses.push(format!("http://{}", listener.local_addr()?));
        }
        let [registry, token, storage] = &addresses[..] else { anyhow::bail!("three listeners") };
        let origins = Origins { registry: registry.clone(), token: token.clone(), storage: storage.clone() };
        let state = Arc::new(ServerState {
            behaviour,
            upstream: ReverseProxy::new(upstream)?,
            origins,
            calls: RequestLog::default(),
            violations: Mutex::default(),
            tokens: Mutex::default(),
            repositories: Mutex::new(BTreeSet::from([behaviour.repository.to_owned()])),
            sessions: Mutex::default(),
            manifests: Mutex::default(),
        });
        let mut origins = [Origin::Registry, Origin::Token, Origin::Storage].into_iter();
        let servers = listeners.map(|listener| {
            let origin = origins.next().unwrap_or(Origin::Storage);
            let router = Router::new().fallback(handle).with_state((Arc::clone(&state), origin));
            // The server ends with the task, so its result is dropped.
            AbortOnDropHandle::new(tokio::spawn(async { drop(axum::serve(listener, router).await) }))
        });
        Ok(Self { state, _servers: servers })
    }

    /// `127.0.0.1:PORT` of the registry.
    pub fn host(&self) -> String {
        self.state.origins.host().to_owned()
    }

    /// Begins a recording of the requests from now on.
    pub fn record(&self) -> Recording {
        self.state.calls.record()
    }

    /// Faults of the client so far.
    pub fn violations(&self) -> Vec<String> {
        lock(&self.state.violations).clone()
    }

    /// Makes all tags immutable.
    pub fn make_tags_immutable(&self) {
        self.state.manifests().tags_are_immutable = true;
    }
}

async fn listen() -> Result<TcpListener> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?)
}

impl Origins {
    fn host(&self) -> &str {
        self.registry.trim_start_matches("http://")
    }

    /// Replaces the origins in a template.
    fn fill(&self, template: &str) -> String {
        template
            .replace("{registry}", &self.registry)
            .replace("{token}", &self.token)
            .replace("{storage}", &self.storage)
            .replace("{host}", self.host())
    }
}

impl ServerState {
    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        lock(&self.tokens)
    }

    fn manifests(&self) -> MutexGuard<'_, manifests::Pushed> {
        lock(&self.manifests)
    }

    fn violation(&self, fault: &str) {
        lock(&self.violations).push(fault.to_owned());
    }

    fn exists(&self, repository: &str) -> bool {
        lock(&self.repositories).contains(repository)
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> Response {
        errors::error(self.behaviour.errors, status, code, message)
    }

    fn not_found(&self) -> Response {
        self.error(StatusCode::NOT_FOUND, "NOT_FOUND", "not found")
    }
}

/// Decoded pairs of a query.
fn query_pairs(query: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://query/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

async fn handle(State((state, origin)): State<(Arc<ServerState>, Origin)>, request: Request) -> Response {
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let method = request.method().clone();
    if let Login::Token(login) = &state.behaviour.login
        && let Some(realm) = reqwest::Url::parse(&state.origins.fill(login.realm)).ok()
        && realm.path() == request.uri().path()
        && realm.origin().ascii_serialization() == state.origins.of(origin)
    {
        state.calls.push(format!("{method} token{path}"));
        return state.token(login, request).await;
    }
    match origin {
        Origin::Registry => {
            state.calls.push(format!("{method} {path}"));
            registry(&state, request).await
        }
        Origin::Storage => {
            state.calls.push(format!("{method} storage{path}"));
            state.serve_from_storage(request).await
        }
        Origin::Token => {
            state.calls.push(format!("{method} token{path}"));
            state.violation("the token server got a request to another address than its realm");
            state.not_found()
        }
    }
}

impl Origins {
    fn of(&self, origin: Origin) -> &str {
        match origin {
            Origin::Registry => &self.registry,
            Origin::Token => &self.token,
            Origin::Storage => &self.storage,
        }
    }
}

async fn registry(state: &Arc<ServerState>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let session = path.rsplit('/').next().unwrap_or_default();
    if let Some(repository) = state.session_repository(session) {
        if let Err(refused) = state.require(request.headers(), &[(&repository, Action::Push)]) {
            return drained(request, *refused).await;
        }
        return state.continue_upload(session, request).await;
    }
    let (repository, endpoint) = route::parse(&path);
    if endpoint == Endpoint::Base {
        return state.ping(request.headers());
    }
    if endpoint == Endpoint::Other {
        return drained(request, state.not_found()).await;
    }
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut needed = vec![(repository, if is_read { Action::Pull } else { Action::Push })];
    let pairs = query_pairs(request.uri().query().unwrap_or_default());
    let mount_source = pairs.iter().find(|(key, _)| key == "from").map(|(_, value)| value.as_str());
    needed.extend(mount_source.map(|from| (from, Action::Pull)));
    if let Err(refused) = state.require(request.headers(), &needed) {
        return drained(request, *refused).await;
    }
    if repository.split('/').count() < state.behaviour.name_components {
        let message = "a repository's name needs more components";
        return drained(request, state.error(StatusCode::BAD_REQUEST, "NAME_INVALID", message)).await;
    }
    if is_read && !state.exists(repository) {
        let manifests = &state.behaviour.manifests;
        let is_manifest = matches!(endpoint, Endpoint::Manifest(_));
        let hides_tags = is_manifest && manifests.missing.status != StatusCode::NOT_FOUND;
        let missing = if hides_tags { manifests.missing } else { manifests.missing_repository };
        return state.error(missing.status, missing.code, "the repository is not known");
    }
    match endpoint {
        Endpoint::Manifest(reference) if is_read => state.read_manifest(repository, reference, request).await,
        Endpoint::Manifest(reference) => state.put_manifest(repository, reference, request).await,
        Endpoint::Blob(_) => state.read_blob(request).await,
        Endpoint::Upload => state.start_upload(repository, request).await,
        Endpoint::Tags => state.list_tags(repository, &pairs).await,
        Endpoint::Referrers(_) => state.referrers(),
        Endpoint::Base | Endpoint::Other => state.not_found(),
    }
}

/// Reads a request to its end before it is answered: a client that is answered while it still sends may see a
/// closed connection instead of the response.
async fn drained(request: Request, response: Response) -> Response {
    crate::registry::gateway::drain(request).await;
    response
}

/// The headers that the registry behind the server gets: without credentials, which the server has checked.
fn without_authorization(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
}
