//! One repository of one registry, for one identity.

use std::sync::{Arc, Mutex};

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use zstart_core::sync::lock;

use crate::auth::{
    Authorization, Credentials, Login, LoginPlan, PullAuthorization, RedirectLogins, Refusal, TokenCache,
};
use crate::ecr::Ecr;
use crate::error::RequestError;
use crate::http::{
    MAX_REDIRECTS, MinThroughput, RateLimit, Timeouts, error_of, read_bounded, redirect_target,
    write_redirect,
};
use crate::operation::Access;
use crate::request::Request;
use crate::transport::Transport;

/// Highest number of tokens that a request tries after the first one: one that other requests renewed, and
/// one of its own.
const MAX_RENEWALS: usize = 2;
/// Highest number of logins of another kind that a request tries because a refusal asks for it.
const MAX_CHALLENGES: usize = 1;

/// Sends requests to one repository. Clones share connections and tokens.
#[derive(Clone)]
pub(crate) struct Client {
    transport: Transport,
    /// The repository's name inside the registry.
    repository: String,
    credentials: Credentials,
    ecr: Option<Arc<Ecr>>,
    /// Another repository of the registry that the tokens may read too.
    mount_source: Option<String>,
    /// Rights of the token that reading requests carry.
    read_access: Access,
    pull_tokens: Arc<TokenCache>,
    push_tokens: Arc<TokenCache>,
    redirect_logins: Arc<RedirectLogins>,
    /// Allowance of pulls that the last response stated.
    rate_limit: Arc<Mutex<Option<RateLimit>>>,
}

impl Client {
    pub(crate) fn new(
        transport: Transport,
        repository: &str,
        credentials: Credentials,
        ecr: Option<Arc<Ecr>>,
    ) -> Self {
        Self {
            transport,
            repository: repository.to_owned(),
            credentials,
            ecr,
            mount_source: None,
            read_access: Access::Pull,
            pull_tokens: Arc::default(),
            push_tokens: Arc::default(),
            redirect_logins: Arc::default(),
            rate_limit: Arc::default(),
        }
    }

    /// A client whose tokens may also read the repository at `location` (`REGISTRY/NAME`). `None` if that
    /// repository is in another registry.
    pub(crate) fn with_mount_source(&self, location: &str) -> Option<Self> {
        let name = location.strip_prefix(self.transport.endpoint().registry())?.strip_prefix('/')?;
        Some(Self {
            mount_source: Some(name.to_owned()),
            pull_tokens: Arc::default(),
            push_tokens: Arc::default(),
            ..self.clone()
        })
    }

    /// A client that reads with a token for `access`.
    pub(crate) fn reading_with(&self, access: Access) -> Self {
        Self { read_access: access, ..self.clone() }
    }

    pub(crate) fn mount_source(&self) -> Option<&str> {
        self.mount_source.as_deref()
    }

    pub(crate) fn repository(&self) -> &str {
        &self.repository
    }

    /// The registry's quota and quirks, if it is one of Amazon ECR.
    pub(crate) fn ecr(&self) -> Option<&Ecr> {
        self.ecr.as_deref()
    }

    /// Allowance of pulls that the registry stated last, if it states one.
    pub(crate) fn rate_limit(&self) -> Option<RateLimit> {
        *lock(&self.rate_limit)
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.transport.options().timeouts
    }

    pub(crate) fn min_throughput(&self) -> MinThroughput {
        self.transport.options().min_throughput
    }

    /// The address of `path` in the repository.
    pub(crate) fn url(&self, path: &str) -> Result<Url, RequestError> {
        self.transport.endpoint().url(&self.repository, path)
    }

    /// Turns a response of an unexpected status into an error.
    pub(crate) async fn error_of(&self, response: Response) -> RequestError {
        error_of(response, self.timeouts().response).await
    }

    /// A response's body, if it has at most `max` bytes and arrives in time.
    pub(crate) async fn read_bounded(&self, response: Response, max: usize) -> Result<Vec<u8>, RequestError> {
        read_bounded(response, max, self.timeouts().response).await
    }

    /// The address in a response's `Location`.
    pub(crate) fn redirect_target(&self, response: &Response) -> Result<Url, RequestError> {
        redirect_target(self.transport.endpoint(), response.url(), response.headers())
    }

    /// The address to which a response redirects a request that writes: `None` if it doesn't.
    pub(crate) fn write_redirect(
        &self,
        request: &Request,
        response: &Response,
    ) -> Result<Option<Url>, RequestError> {
        write_redirect(self.transport.endpoint(), request, response)
    }

    /// Returns whether `url` is the registry's.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        self.transport.endpoint().is_same_origin(url)
    }

    /// Reads `url`, also where the registry redirects to. Credentials go to the registry alone, and to no
    /// address that another origin redirects to; another registry may ask for an anonymous login.
    pub(crate) async fn read(
        &self,
        method: Method,
        mut url: Url,
        accept: HeaderValue,
    ) -> Result<Response, RequestError> {
        let mut has_left = false;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::read(method.clone(), url.clone()).header(ACCEPT, accept.clone());
            has_left |= !self.is_own(&url);
            let response = if has_left {
                self.redirect_logins.send(&self.transport, request).await?
            } else {
                self.send_once(self.read_access, &mut request).await?
            };
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = self.redirect_target(&response)?;
        }
        Err(RequestError::Redirects { max: MAX_REDIRECTS })
    }

    /// Sends a request that writes, also where the registry redirects to: the request then has that address.
    /// A streamed body can't be sent again, which is [`RequestError::StreamRedirected`].
    pub(crate) async fn send(&self, access: Access, request: &mut Request) -> Result<Response, RequestError> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send_once(access, request).await?;
            let Some(url) = self.write_redirect(request, &response)? else { return Ok(response) };
            if !request.is_ready() {
                return Err(RequestError::StreamRedirected { status: response.status() });
            }
            request.is_steered |= !self.is_own(&request.url);
            request.url = url;
        }
        Err(RequestError::Redirects { max: MAX_REDIRECTS })
    }

    /// Sends a request with the authorization that `access` needs, and follows no redirect. Another host,
    /// another port, plain http after https, and an address that one of these chose get no authorization. A
    /// refused one is renewed and the request sent again; a streamed body can't be sent again, which is
    /// [`RequestError::TokenExpired`].
    pub(crate) async fn send_once(
        &self,
        access: Access,
        request: &mut Request,
    ) -> Result<Response, RequestError> {
        if request.is_steered || !self.is_own(&request.url) {
            return self.transport.send(request, &Authorization::Anonymous).await;
        }
        let (login, tokens) = (self.login(access), self.tokens(access));
        let mut active = tokens.authorization(&login, None).await?;
        // Both have limits: a registry must not keep a request busy without end.
        // A refused HEAD says little about a token: ECR Public answers 401 to every HEAD of a blob
        // (aws/containers-roadmap#2671). The GET that follows renews a token that expired.
        let max_renewals = if request.method == Method::HEAD { 0 } else { MAX_RENEWALS };
        let (mut challenges_left, mut renewals_left) = (MAX_CHALLENGES, max_renewals);
        loop {
            let response = self.transport.send(request, &active.authorization).await?;
            if let Some(stated) = RateLimit::of(response.headers()) {
                *lock(&self.rate_limit) = Some(stated);
            }
            if !self.is_refusal(&active.plan, response.status()) {
                return Ok(response);
            }
            let plan = login.plan_after_refusal(&active.plan, &response)?;
            if plan.as_ref().is_some_and(|plan| *plan != active.plan) && challenges_left > 0 {
                challenges_left -= 1;
            } else if !active.is_new && renewals_left > 0 {
                // A token that another request renewed may have expired too.
                renewals_left -= 1;
            } else {
                return Ok(response);
            }
            let refusal = Refusal { authorization: &active.authorization, plan, status: response.status() };
            let renewed = tokens.authorization(&login, Some(refusal)).await?;
            if renewed.authorization == active.authorization {
                return Ok(response);
            }
            active = renewed;
            if !request.is_ready() {
                // The next attempt has the new token.
                return Err(RequestError::TokenExpired { status: response.status() });
            }
        }
    }

    /// The authorization that reads carry.
    pub(crate) async fn pull_authorization(&self) -> Result<PullAuthorization, RequestError> {
        let active = self.pull_tokens.authorization(&self.login(Access::Pull), None).await?;
        let endpoint = self.transport.endpoint();
        Ok(PullAuthorization {
            host: endpoint.authority()?,
            is_plain_http: endpoint.is_plain_http(),
            authorization: active.authorization,
            expires_at: active.expires_at.into_std(),
        })
    }

    fn tokens(&self, access: Access) -> &TokenCache {
        match access {
            Access::Pull => &self.pull_tokens,
            Access::Push => &self.push_tokens,
        }
    }

    fn login(&self, access: Access) -> Login<'_> {
        Login {
            transport: &self.transport,
            repository: &self.repository,
            mount_source: self.mount_source.as_deref(),
            credentials: &self.credentials,
            access,
        }
    }

    /// Whether a status may refuse the authorization. ECR Public answers an expired one with 400. Some
    /// registries answer 404 to a request without a login (containerd#3291), so that a 404 counts only if the
    /// login is known.
    fn is_refusal(&self, plan: &LoginPlan, status: StatusCode) -> bool {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
            StatusCode::BAD_REQUEST => self.ecr().is_some_and(Ecr::is_public),
            StatusCode::NOT_FOUND => *plan == LoginPlan::Unknown,
            _ => false,
        }
    }
}

#[cfg(test)]
impl Client {
    /// An anonymous client. The registry `plain` is reached over http.
    pub(crate) fn for_tests(registry: &str, plain: &str) -> Self {
        Self::new(Transport::for_tests(registry, plain), "app", Credentials::Anonymous, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A registry that issues a token for everything, and refuses each request with another challenge. Counts
    /// requests for the manifest.
    async fn start_changing_registry() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let refused = Arc::new(AtomicUsize::new(0));
        let (own, count) = (host.clone(), Arc::clone(&refused));
        // The task ends with the test's runtime.
        tokio::spawn(async move {
            for number in 0.. {
                let Ok((mut connection, _)) = listener.accept().await else { break };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    connection.read_buf(&mut head).await.unwrap();
                }
                let (status, body) = if head.starts_with(b"GET /token?") {
                    ("200 OK".to_owned(), format!("{{\"token\": \"{number}\"}}"))
                } else {
                    count.fetch_add(usize::from(head.starts_with(b"GET /v2/app/")), Ordering::Relaxed);
                    let realm = format!("Bearer realm=\"http://{own}/token\",service=\"{number}\"");
                    (format!("401 Unauthorized\r\nWWW-Authenticate: {realm}"), String::new())
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close");
                connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
            }
        });
        (host, refused)
    }

    #[tokio::test]
    async fn changing_challenges_lead_to_one_login() {
        let (host, refused) = start_changing_registry().await;
        let client = Client::for_tests(&host, &host);
        let read = async || {
            let url = client.url("manifests/v1").unwrap();
            client.read(Method::GET, url, HeaderValue::from_static("*/*")).await.unwrap()
        };
        assert_eq!(read().await.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(refused.swap(0, Ordering::Relaxed), 1 + MAX_CHALLENGES);
        // The next request begins with a cached token, which may have expired.
        assert_eq!(read().await.status(), StatusCode::UNAUTHORIZED);
        let refused = refused.load(Ordering::Relaxed);
        assert!(refused <= 1 + MAX_CHALLENGES + MAX_RENEWALS, "{refused}");
    }
}
