//! One repository as a user: where it is, and the right to read or write it.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;
use zstart_core::Reference;

use super::ecr::Ecr;
use super::limits::Limits;
use super::login::{self, Granted};
use super::network::{Direction, Network, Reach};
use super::{RegistryOptions, answer};
use crate::credentials::{Credentials, Password};
use crate::{Access, RepositoryError, Trouble};

/// Where Docker Hub's registry is; its images are named by `docker.io`.
const DOCKER_HUB: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// How many tokens a request tries after the first one: what others hold, and one of its own.
const RENEWALS_MAX: usize = 2;

/// Shared by all requests to one repository.
#[derive(Clone)]
pub(super) struct Session {
    network: Network,
    options: Arc<RegistryOptions>,
    reference: Reference,
    credentials: Credentials,
    ecr: Option<Arc<Ecr>>,
    /// Where the registry may send its readers.
    reach: Arc<OnceCell<Reach>>,
    /// Another repository of the registry that may be read with the same right.
    also_reads: Option<String>,
    may_read: Arc<Mutex<Option<Proof>>>,
    may_write: Arc<Mutex<Option<Proof>>>,
}

/// An authorization, and until when it is used.
struct Proof {
    until: Instant,
    authorization: Authorization,
}

/// The proof that goes with requests.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Authorization {
    None,
    Basic(Password),
    Bearer(String),
}

impl Session {
    pub(super) fn new(
        network: Network,
        options: Arc<RegistryOptions>,
        reference: &Reference,
        credentials: Credentials,
        ecr: Option<Arc<Ecr>>,
    ) -> Self {
        Self {
            network,
            options,
            reference: reference.clone(),
            credentials,
            ecr,
            reach: Arc::default(),
            also_reads: None,
            may_read: Arc::default(),
            may_write: Arc::default(),
        }
    }

    /// The same with the right to read another repository (`REGISTRY/NAME`) too, and the name of that
    /// one. `None` where it is in another registry.
    pub(super) fn beside(&self, other: &str) -> Option<(Self, String)> {
        let name = other.strip_prefix(self.reference.registry())?.strip_prefix('/')?.to_owned();
        let session = Self {
            also_reads: Some(name.clone()),
            may_read: Arc::default(),
            may_write: Arc::default(),
            ..self.clone()
        };
        Some((session, name))
    }

    pub(super) fn also_reads(&self) -> Option<&str> {
        self.also_reads.as_deref()
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The registry, where it is one of Amazon ECR.
    pub(super) fn ecr(&self) -> Option<&Ecr> {
        self.ecr.as_deref()
    }

    /// The repository's name for messages.
    pub(super) fn location(&self) -> String {
        self.reference.name()
    }

    /// Whether an address is on the registry's own host.
    pub(super) fn is_own_host(&self, url: &Url) -> bool {
        Url::parse(&self.base()).is_ok_and(|base| base.host_str() == url.host_str())
    }

    /// An error about this repository.
    pub(super) fn error(
        &self,
        access: Access,
        operation: impl Into<String>,
        trouble: Trouble,
        message: impl Into<String>,
    ) -> RepositoryError {
        RepositoryError {
            operation: operation.into(),
            location: self.location(),
            message: message.into(),
            access,
            trouble,
        }
    }

    /// The right to read or write; another one than the one that was `refused`. One request at a time
    /// asks for it; the others wait and share it. `false`: it was there already, and may have been taken
    /// away meanwhile.
    async fn allow(
        &self,
        access: Access,
        refused: Option<&Authorization>,
    ) -> Result<(Authorization, bool), RepositoryError> {
        let mut proof = self.proof(access).lock().await;
        if let Some(Proof { until, authorization }) = &*proof
            && Instant::now() < *until
            && refused != Some(authorization)
        {
            return Ok((authorization.clone(), false));
        }
        let started = Instant::now();
        let Granted { authorization, life, is_new } = login::log_in(self, access, refused).await?;
        *proof = Some(Proof { until: started + life, authorization: authorization.clone() });
        Ok((authorization, is_new))
    }

    fn proof(&self, access: Access) -> &Mutex<Option<Proof>> {
        match access {
            Access::Pull => &self.may_read,
            Access::Push => &self.may_write,
        }
    }

    /// Sends a request with the proof that it needs. A token that is refused is renewed, and the request
    /// sent again; one that can't be sent again is [`Trouble::Unavailable`].
    pub(super) async fn send(
        &self,
        access: Access,
        operation: &str,
        url: &Url,
        mut request: RequestBuilder,
    ) -> Result<Response, RepositoryError> {
        let (mut authorization, mut is_new) = self.allow(access, None).await?;
        let mut renewals_left = RENEWALS_MAX;
        loop {
            let again = request.try_clone();
            let response = self.authorize(request, url, &authorization).send().await;
            let response = response.map_err(|error| answer::from_request(self, access, operation, error))?;
            // Where the token was made for this very request, it has no right. One that others renewed may
            // have ended too.
            let may_have_ended = !is_new && self.is_own(url) && self.is_refusal(response.status());
            if !may_have_ended || renewals_left == 0 {
                return Ok(response);
            }
            renewals_left -= 1;
            let renewed = self.allow(access, Some(&authorization)).await?;
            if renewed.0 == authorization {
                return Ok(response);
            }
            (authorization, is_new) = renewed;
            let Some(again) = again else {
                // What was to be sent is gone; there is a new right for the next attempt.
                let message = format!("HTTP {}: the login ended in the middle", response.status());
                return Err(self.error(access, operation, Trouble::Unavailable, message));
            };
            request = again;
        }
    }

    /// The registry's host name.
    pub(super) fn host(&self) -> String {
        let base = Url::parse(&self.base()).ok();
        base.and_then(|base| base.host_str().map(ToOwned::to_owned)).unwrap_or_default()
    }

    /// Whether the registry is one that is reached over plain http.
    pub(super) fn is_plain_http(&self) -> bool {
        self.options.plain_http.iter().any(|host| host == self.reference.registry())
    }

    /// Whether any registry may send its logins to this host.
    pub(super) fn is_token_server(&self, host: &str) -> bool {
        self.options.token_servers.iter().any(|listed| listed.eq_ignore_ascii_case(host))
    }

    /// How long the registry may take.
    pub(super) fn limits(&self) -> Limits {
        self.options.limits
    }

    /// A request to an address that may be asked: the registry's own, or one where it may send its
    /// readers.
    pub(super) async fn request(
        &self,
        access: Access,
        operation: &str,
        direction: Direction,
        method: Method,
        url: &Url,
    ) -> Result<RequestBuilder, RepositoryError> {
        let reach = if self.is_own(url) {
            Reach::Networks
        } else {
            let own = self.base_url(access)?;
            *self.reach.get_or_init(|| async { self.network.reach_of(&own).await }).await
        };
        let client = self.network.client(direction, reach, url);
        let client =
            client.map_err(|error| self.error(access, operation, Trouble::Other, error.to_string()))?;
        Ok(client.request(method, url.clone()))
    }

    /// The repository's name inside the registry.
    pub(super) fn repository(&self) -> &str {
        self.reference.repository()
    }

    /// The registry's address.
    fn base(&self) -> String {
        let scheme = if self.is_plain_http() { "http" } else { "https" };
        let (hub, host) = DOCKER_HUB;
        let registry = self.reference.registry();
        format!("{scheme}://{}", if registry == hub { host } else { registry })
    }

    /// The address under which a registry says what it is.
    pub(super) fn base_url(&self, access: Access) -> Result<Url, RepositoryError> {
        self.parse(access, &format!("{}/v2/", self.base()))
    }

    /// The address of something in this repository.
    pub(super) fn url(&self, access: Access, path: &str) -> Result<Url, RepositoryError> {
        self.parse(access, &format!("{}/v2/{}/{path}", self.base(), self.repository()))
    }

    fn parse(&self, access: Access, text: &str) -> Result<Url, RepositoryError> {
        Url::parse(text).map_err(|error| {
            self.error(access, format!("form the address {text}"), Trouble::Other, error.to_string())
        })
    }

    /// Whether an address is the registry's own: scheme, host and port.
    fn is_own(&self, url: &Url) -> bool {
        Url::parse(&self.base()).is_ok_and(|base| base.origin() == url.origin())
    }

    /// Whether it may be the authorization that is refused. (ECR Public answers an expired one with 400.)
    fn is_refusal(&self, status: StatusCode) -> bool {
        matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || status == StatusCode::BAD_REQUEST && self.ecr().is_some_and(Ecr::is_public)
    }

    /// Adds the proof to a request, unless it goes to somebody else: another host, another port, or
    /// from https back to http.
    fn authorize(&self, request: RequestBuilder, url: &Url, authorization: &Authorization) -> RequestBuilder {
        let own = self.is_own(url);
        match authorization {
            Authorization::Basic(Password { username, password }) if own => {
                request.basic_auth(username, Some(password))
            }
            Authorization::Bearer(token) if own => request.bearer_auth(token),
            Authorization::Basic(_) | Authorization::Bearer(_) | Authorization::None => request,
        }
    }
}

#[cfg(test)]
impl Session {
    /// One of nobody in particular. The registry of `plain` is reached over http.
    pub(super) fn of_tests(reference: &str, plain: &str) -> Self {
        let options = RegistryOptions { plain_http: vec![plain.to_owned()], ..RegistryOptions::default() };
        let network = Network::of_tests(options.limits);
        let reference = reference.parse().expect("a reference");
        Self::new(network, Arc::new(options), &reference, Credentials::Anonymous, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A registry that gives a new token each time, with the given member for its life.
    struct TokenServer {
        host: String,
        given: Arc<AtomicUsize>,
    }

    impl TokenServer {
        async fn start(life: &'static str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let given = Arc::new(AtomicUsize::new(0));
            let (own, count) = (host.clone(), Arc::clone(&given));
            // It ends with the test's runtime.
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
            Self { host, given }
        }

        fn given(&self) -> usize {
            self.given.load(Ordering::Relaxed)
        }
    }

    /// Nobody waits for it.
    async fn pass(time: Duration) {
        tokio::time::pause();
        tokio::time::advance(time).await;
        tokio::time::resume();
    }

    #[tokio::test]
    async fn a_token_is_renewed_when_three_quarters_of_its_life_are_over_and_shared_until_then() {
        // What says nothing lives for a minute, and so does what says less: the specification asks for it.
        for (life, used_for) in [
            (", \"expires_in\": 400", 300),
            ("", 45),
            (", \"expires_in\": 1", 45),
            (", \"expires_in\": 86400", 45 * 60),
        ] {
            let server = TokenServer::start(life).await;
            let session = Session::of_tests(&format!("{}/app:v1", server.host), &server.host);
            let allowed = async || session.allow(Access::Pull, None).await.unwrap();
            let first = allowed().await;
            assert!(first == (Authorization::Bearer("number 0".to_owned()), true), "{life}");
            pass(Duration::from_secs(used_for - 5)).await;
            assert!(allowed().await == (first.0, false), "{life}");
            assert_eq!(server.given(), 1, "{life}");
            pass(Duration::from_secs(5)).await;
            assert!(allowed().await == (Authorization::Bearer("number 1".to_owned()), true), "{life}");
            assert_eq!(server.given(), 2, "{life}");
            // The right to write is another one.
            session.allow(Access::Push, None).await.unwrap();
            assert_eq!(server.given(), 3, "{life}");
        }
    }
}
