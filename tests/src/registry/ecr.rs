//! A fake of Amazon ECR: its host names, tokens and peculiarities, in front of a real registry.
//!
//! Programs reach it under the real host names, over TLS, through a proxy that knows these names only. Its
//! behaviour follows AWS's documentation and users' reports; it was never compared with the real ECR.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use zstart_core::sync::lock;

use self::rules::RegistryRules;
use self::tokens::TokenIssuer;
use self::uploads::Uploads;
use super::Registry;
use super::repository_reader::RepositoryReader;
use super::request_log::{Recording, RequestLog};
use super::reverse_proxy::{ReverseProxy, refuse_credentials};
use crate::pki::{Pki, Subject};
use crate::proxy::Proxy;
use crate::tls;

mod identities;
mod rules;
mod tokens;
mod uploads;

pub use identities::{Identity, Session};

/// Account of all private registries.
const ACCOUNT: &str = "123456789012";
/// A private registry.
pub const PRIVATE: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
/// ECR Public.
pub const PUBLIC: &str = "public.ecr.aws";
/// Registries and their token endpoints ("Amazon ECR endpoints and quotas").
pub const ENDPOINTS: [(&str, &str); 6] = [
    (PRIVATE, "api.ecr.eu-west-1.amazonaws.com"),
    ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", "api.ecr-fips.us-east-1.amazonaws.com"),
    ("123456789012.dkr-ecr.eu-west-1.on.aws", "ecr.eu-west-1.api.aws"),
    ("123456789012.dkr-ecr-fips.us-east-1.on.aws", "ecr-fips.us-east-1.api.aws"),
    ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn"),
    (PUBLIC, "api.ecr-public.us-east-1.amazonaws.com"),
];
/// Header with the operation of AWS's JSON protocol.
const TARGET_HEADER: header::HeaderName = header::HeaderName::from_static("x-amz-target");
/// Host of the redirects for blobs.
const BLOB_HOST: &str = "prod-eu-west-1-starport-layer-bucket.s3.eu-west-1.amazonaws.com";
/// Endpoint that exchanges a service account's token for an identity (IRSA).
const STS_HOST: &str = "sts.eu-west-1.amazonaws.com";

/// A running fake of ECR.
pub struct FakeEcr {
    state: Arc<EcrState>,
    proxy: Proxy,
    folder: TempDir,
    /// Base URL of a machine's own services, over http: instance metadata and container credentials.
    machine_url: String,
    _servers: [AbortOnDropHandle<()>; 2],
}

struct EcrState {
    registry: ReverseProxy,
    tokens: Mutex<TokenIssuer>,
    rules: Mutex<RegistryRules>,
    uploads: Mutex<Uploads>,
    calls: RequestLog,
    /// Sessions of roles.
    sessions: Mutex<Vec<Session>>,
    /// HTTP versions of the requests to the registries.
    http_versions: Mutex<BTreeSet<String>>,
}

impl FakeEcr {
    /// Starts the fake in front of the registry at `upstream` (`host:port`), with these repositories.
    pub async fn start(upstream: &str, repositories: &[&str]) -> Result<Self> {
        let folder = TempDir::with_prefix("zstart-ecr-")?;
        let pki = Pki::create(&folder.path().join("pki"))?;
        let names =
            ENDPOINTS.iter().flat_map(|(registry, api)| [*registry, *api]).chain([BLOB_HOST, STS_HOST]);
        let names: Vec<&str> = names.collect();
        pki.issue(&Subject { file: "ecr", name: "ecr", organisation: "lab", addresses: &names })?;
        let state = Arc::new(EcrState {
            registry: ReverseProxy::new(upstream)?,
            tokens: Mutex::default(),
            rules: Mutex::new(RegistryRules::of(repositories)),
            uploads: Mutex::default(),
            calls: RequestLog::default(),
            sessions: Mutex::default(),
            http_versions: Mutex::default(),
        });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&state));

        let listener = tls::Listener::bind(&pki.path("ecr.crt"), &pki.path("ecr.key")).await?;
        let proxy = Proxy::start(&names, listener.address()).await?;
        let http = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let machine_url = format!("http://{}", http.local_addr()?);
        let http = axum::serve(http, router.clone());
        // The servers end with the task, so their results are dropped.
        let servers = [
            AbortOnDropHandle::new(tokio::spawn(async { drop(axum::serve(listener, router).await) })),
            AbortOnDropHandle::new(tokio::spawn(async { drop(http.await) })),
        ];
        Ok(Self { state, proxy, folder, machine_url, _servers: servers })
    }

    /// Environment variables for a program: the proxy, the authority, and the AWS identity.
    pub fn environment(&self, identity: &Identity) -> Result<Vec<(&'static str, String)>> {
        let mut environment = identity.environment(self.folder.path(), &self.machine_url)?;
        // Not HTTPS_PROXY: with a kubeconfig, kube (5.0) connects to the API server through that proxy,
        // wherever it is.
        environment.push(("ALL_PROXY", self.proxy.address().to_owned()));
        environment.push(("SSL_CERT_FILE", self.authority().display().to_string()));
        Ok(environment)
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("pki/ca.crt")
    }

    /// Every token expires after this number of requests.
    pub fn expire_tokens_after(&self, requests: usize) {
        self.state.tokens().max_requests = Some(requests);
    }

    /// Answers the next `times` token requests with this error.
    pub fn fail_token_requests(&self, status: StatusCode, code: &'static str, times: usize) {
        self.state.tokens().failure = Some((status, code, times));
    }

    /// Makes tags immutable.
    pub fn make_tags_immutable(&self) {
        self.state.rules().immutable_tags = true;
    }

    /// Applies a lifecycle rule that expires untagged images at once. As in ECR, an image that a kept index names
    /// is kept too. Returns the expired digests. Only images that were pushed through the fake count.
    pub async fn expire_untagged(&self, registry: &Registry) -> Result<Vec<String>> {
        let (tags, manifests) = {
            let rules = self.state.rules();
            (rules.tags.clone(), rules.manifests.clone())
        };
        let tagged: BTreeSet<(String, String)> =
            tags.into_iter().map(|((repository, _), digest)| (repository, digest)).collect();
        let mut kept = tagged.clone();
        for (repository, digest) in &tagged {
            let json = RepositoryReader::new(registry, repository).manifest(digest).await?.json;
            let entries = json["manifests"].as_array().into_iter().flatten();
            let digests = entries.filter_map(|entry| entry["digest"].as_str());
            kept.extend(digests.map(|digest| (repository.clone(), digest.to_owned())));
        }
        let mut expired = Vec::new();
        for (repository, digest) in manifests.difference(&kept) {
            RepositoryReader::new(registry, repository).delete_manifest(digest).await?;
            expired.push(digest.clone());
        }
        Ok(expired)
    }

    /// Denies the right to describe repositories.
    pub fn deny_describe_repositories(&self) {
        self.state.tokens().denies_describe = true;
    }

    /// Forgets the next uploads when they are finished.
    pub fn forget_next_uploads(&self, times: usize) {
        self.state.uploads().forget_next = times;
    }

    /// Begins a recording of the requests from now on.
    pub fn record(&self) -> Recording {
        self.state.calls.record()
    }

    /// Requests so far, as `METHOD HOST/path`, and for AWS's own APIs ` OPERATION`.
    pub fn calls(&self) -> Vec<String> {
        self.state.calls.calls()
    }

    /// Number of requests with this method and with `part` in host or path.
    pub fn count(&self, method: &str, part: &str) -> usize {
        self.calls().iter().filter(|call| call.starts_with(method) && call.contains(part)).count()
    }

    /// HTTP versions of the requests to the registries.
    pub fn http_versions(&self) -> BTreeSet<String> {
        lock(&self.state.http_versions).clone()
    }

    /// Connections opened to this host.
    pub fn connections(&self, host: &str) -> usize {
        self.proxy.connections(host)
    }

    /// Statuses of the responses to manifest pushes.
    pub fn manifest_push_statuses(&self) -> Vec<StatusCode> {
        self.state.rules().puts.iter().map(|(_, status)| *status).collect()
    }

    /// Sessions of roles that were opened with a policy.
    pub fn sessions(&self) -> Vec<Session> {
        lock(&self.state.sessions).clone()
    }

    /// Access keys of the token requests.
    pub fn access_keys(&self) -> BTreeSet<String> {
        self.state.tokens().access_keys.clone()
    }
}

impl EcrState {
    fn tokens(&self) -> MutexGuard<'_, TokenIssuer> {
        lock(&self.tokens)
    }

    fn rules(&self) -> MutexGuard<'_, RegistryRules> {
        lock(&self.rules)
    }

    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        lock(&self.uploads)
    }
}

async fn handle(State(state): State<Arc<EcrState>>, request: Request) -> Response {
    let host = host_of(&request);
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let target = header_text(request.headers(), &TARGET_HEADER).and_then(|target| target.split_once('.'));
    let operation = target.map(|(_, operation)| format!(" {operation}")).unwrap_or_default();
    state.calls.push(format!("{} {host}{path}{operation}", request.method()));
    if host == BLOB_HOST {
        return serve_blob(&state, request).await;
    }
    if host == STS_HOST {
        return identities::assume_role(&state, request).await;
    }
    if host.starts_with("127.0.0.1:") {
        return identities::machine_endpoint(&request);
    }
    match ENDPOINTS.iter().find(|(registry, api)| *registry == host || *api == host) {
        Some((registry, api)) if *api == host => {
            let is_immutable = state.rules().immutable_tags;
            state.tokens().answer(request.headers(), registry, is_immutable)
        }
        Some((registry, _)) => {
            lock(&state.http_versions).insert(format!("{:?}", request.version()));
            rules::registry(&state, registry, request).await
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn host_of(request: &Request) -> String {
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str));
    host.unwrap_or_default().trim_end_matches(":443").to_owned()
}

/// S3: serves signed addresses, and refuses requests with additional credentials.
async fn serve_blob(state: &EcrState, request: Request) -> Response {
    if let Some(refused) = refuse_credentials(&request) {
        return refused;
    }
    state.registry.forward(request, &format!("https://{BLOB_HOST}")).await
}

/// An error in the distribution specification's format.
fn error_response(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({"errors": [{"code": code, "message": message}]});
    (status, axum::Json(body)).into_response()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
