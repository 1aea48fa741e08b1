//! One repository of one registry, for one identity.

use std::sync::Arc;

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::auth::{Authorization, Credentials, Grant, Login, Password, PullAuthorization};
use crate::ecr::Ecr;
use crate::error::{RequestError, transport_error};
use crate::http::{MinThroughput, Timeouts, error_of, read_bounded, redirect_target};
use crate::operation::Access;
use crate::request::Request;
use crate::transport::Transport;

/// Highest number of tokens that a request tries after the first one: one that other requests renewed, and
/// one of its own.
const MAX_RENEWALS: usize = 2;
/// Highest number of redirects that are followed. Registries redirect readers of blobs to their storage,
/// once.
const MAX_REDIRECTS: usize = 5;

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
    pull_token: Arc<Mutex<Option<CachedToken>>>,
    push_token: Arc<Mutex<Option<CachedToken>>>,
}

struct CachedToken {
    expires_at: Instant,
    authorization: Authorization,
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
            pull_token: Arc::default(),
            push_token: Arc::default(),
        }
    }

    /// A client whose tokens may also read the repository at `location` (`REGISTRY/NAME`). `None` if that
    /// repository is in another registry.
    pub(crate) fn with_mount_source(&self, location: &str) -> Option<Self> {
        let name = location.strip_prefix(self.transport.endpoint().registry())?.strip_prefix('/')?;
        Some(Self {
            mount_source: Some(name.to_owned()),
            pull_token: Arc::default(),
            push_token: Arc::default(),
            ..self.clone()
        })
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

    /// Reads `url`, also where the registry redirects to. Credentials go to the registry alone.
    pub(crate) async fn read(
        &self,
        method: Method,
        mut url: Url,
        accept: HeaderValue,
    ) -> Result<Response, RequestError> {
        for _ in 0..=MAX_REDIRECTS {
            let request = Request::read(method.clone(), url.clone()).header(ACCEPT, accept.clone());
            let response = self.send(Access::Pull, request).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            url = redirect_target(&url, response.headers())?;
        }
        Err(RequestError::Redirects { max: MAX_REDIRECTS })
    }

    /// Sends a request with the token that `access` needs. A refused token is renewed and the request sent
    /// again; a streamed body can't be sent again, which is [`RequestError::TokenExpired`].
    pub(crate) async fn send(&self, access: Access, mut request: Request) -> Result<Response, RequestError> {
        let http = self.transport.http_client(&request).await?;
        let is_registry = self.transport.endpoint().is_same_origin(&request.url);
        let (mut authorization, mut is_new) = self.authorization(access, None).await?;
        let mut renewals_left = MAX_RENEWALS;
        loop {
            let attempt = request.build(http);
            // Another host, another port, and plain http after https get no credentials.
            let attempt = if is_registry { authorize(attempt, &authorization) } else { attempt };
            let response = attempt.send().await.map_err(transport_error)?;
            // A token that was issued for this very request lacks the right. One that another request
            // renewed may have expired too.
            let may_have_expired = !is_new && is_registry && self.is_refusal(response.status());
            if !may_have_expired || renewals_left == 0 {
                return Ok(response);
            }
            renewals_left -= 1;
            let renewed = self.authorization(access, Some(&authorization)).await?;
            if renewed.0 == authorization {
                return Ok(response);
            }
            (authorization, is_new) = renewed;
            if !request.is_ready() {
                // The next attempt has the new token.
                return Err(RequestError::TokenExpired { status: response.status() });
            }
        }
    }

    /// The authorization that reads carry.
    pub(crate) async fn pull_authorization(&self) -> Result<PullAuthorization, RequestError> {
        self.authorization(Access::Pull, None).await?;
        let token = self.pull_token.lock().await;
        let (authorization, expires_at) = match &*token {
            Some(token) => (token.authorization.clone(), token.expires_at),
            None => (Authorization::Anonymous, Instant::now()),
        };
        let endpoint = self.transport.endpoint();
        Ok(PullAuthorization {
            host: endpoint.authority()?,
            is_plain_http: endpoint.is_plain_http(),
            authorization,
            expires_at: expires_at.into_std(),
        })
    }

    /// The authorization for `access`; another one than the `refused` one. One request at a time logs in;
    /// concurrent ones wait and share the result. The flag says whether it was issued just now; a cached one
    /// may have been revoked meanwhile.
    async fn authorization(
        &self,
        access: Access,
        refused: Option<&Authorization>,
    ) -> Result<(Authorization, bool), RequestError> {
        let token = match access {
            Access::Pull => &self.pull_token,
            Access::Push => &self.push_token,
        };
        let mut token = token.lock().await;
        if let Some(CachedToken { expires_at, authorization }) = &*token
            && Instant::now() < *expires_at
            && refused != Some(authorization)
        {
            return Ok((authorization.clone(), false));
        }
        let started = Instant::now();
        let login = Login {
            transport: &self.transport,
            repository: &self.repository,
            mount_source: self.mount_source.as_deref(),
            credentials: &self.credentials,
        };
        let Grant { authorization, ttl, is_new } = login.log_in(access, refused).await?;
        *token = Some(CachedToken { expires_at: started + ttl, authorization: authorization.clone() });
        Ok((authorization, is_new))
    }

    /// Whether a status may refuse the token. (ECR Public answers an expired one with 400.)
    fn is_refusal(&self, status: StatusCode) -> bool {
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || status == StatusCode::BAD_REQUEST && self.ecr().is_some_and(Ecr::is_public)
    }
}

fn authorize(request: RequestBuilder, authorization: &Authorization) -> RequestBuilder {
    match authorization {
        Authorization::Anonymous => request,
        Authorization::Basic(Password { username, password }) => request.basic_auth(username, Some(password)),
        Authorization::Bearer(token) => request.bearer_auth(token.as_str()),
    }
}

#[cfg(test)]
impl Client {
    /// An anonymous client. The registry `plain` is reached over http.
    fn for_tests(registry: &str, plain: &str) -> Self {
        Self::new(Transport::for_tests(registry, plain), "app", Credentials::Anonymous, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::auth::BearerToken;

    /// A registry whose token server issues another token each time, with the given member for its life.
    struct TokenServer {
        host: String,
        issued: Arc<AtomicUsize>,
    }

    impl TokenServer {
        async fn start(life: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let issued = Arc::new(AtomicUsize::new(0));
            let (own, count) = (host.clone(), Arc::clone(&issued));
            // The task ends with the test's runtime.
            tokio::spawn(async move {
                while let Ok((mut connection, _)) = listener.accept().await {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        connection.read_buf(&mut head).await.unwrap();
                    }
                    let (status, body) = if head.starts_with(b"GET /token?") {
                        let number = count.fetch_add(1, Ordering::Relaxed);
                        ("200 OK".to_owned(), format!("{{\"token\": \"number {number}\"{life}}}"))
                    } else {
                        let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{own}/token\"");
                        (format!("401 Unauthorized\r\n{challenge}"), String::new())
                    };
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close");
                    connection.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
                }
            });
            Self { host, issued }
        }

        fn issued(&self) -> usize {
            self.issued.load(Ordering::Relaxed)
        }
    }

    fn bearer(number: usize) -> Authorization {
        Authorization::Bearer(BearerToken::new(format!("number {number}")))
    }

    /// Advances the clock.
    async fn advance(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn token_is_shared_and_renewed_after_three_quarters_of_its_ttl() {
        // A token without a TTL, or with a shorter one, lives for a minute: the specification asks for that.
        for (life, used_for) in [
            (", \"expires_in\": 400", 300),
            ("", 45),
            (", \"expires_in\": 1", 45),
            (", \"expires_in\": 86400", 45 * 60),
        ] {
            let server = TokenServer::start(life).await;
            let client = Client::for_tests(&server.host, &server.host);
            let authorization = async || client.authorization(Access::Pull, None).await.unwrap();
            let first = authorization().await;
            assert!(first == (bearer(0), true), "{life}");
            advance(Duration::from_secs(used_for - 5)).await;
            assert!(authorization().await == (first.0, false), "{life}");
            assert_eq!(server.issued(), 1, "{life}");
            advance(Duration::from_secs(5)).await;
            assert!(authorization().await == (bearer(1), true), "{life}");
            assert_eq!(server.issued(), 2, "{life}");
            // Writing needs another token.
            client.authorization(Access::Push, None).await.unwrap();
            assert_eq!(server.issued(), 3, "{life}");
        }
    }
}
