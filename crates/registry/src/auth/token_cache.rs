//! The current authorization of a repository, which its requests share.

use reqwest::StatusCode;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::authorization::Authorization;
use super::login::{Discovery, Grant, Login, LoginPlan};
use crate::error::LoginError;

/// The current authorization for one kind of access.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<Option<Active>>);

/// An authorization in use.
#[derive(Clone)]
pub(crate) struct Active {
    pub(crate) authorization: Authorization,
    /// The login that led to it, and leads to the next one.
    pub(crate) plan: LoginPlan,
    pub(crate) expires_at: Instant,
    /// Whether it was issued for this very request: then a refusal means that it lacks the right. A cached one
    /// may have been revoked.
    pub(crate) is_new: bool,
}

/// A refused request.
pub(crate) struct Refusal<'a> {
    pub(crate) authorization: &'a Authorization,
    /// The login that the refusal's challenge asks for.
    pub(crate) plan: Option<LoginPlan>,
    pub(crate) status: StatusCode,
}

impl TokenCache {
    /// The current authorization; after a refusal, another one than the refused one. One request at a time
    /// logs in; concurrent ones wait and share the result.
    pub(crate) async fn authorization(
        &self,
        login: &Login<'_>,
        refusal: Option<Refusal<'_>>,
    ) -> Result<Active, LoginError> {
        let mut current = self.0.lock().await;
        // A login that fails leaves nothing behind: the next one asks the registry again.
        let known = current.take();
        if let Some(active) = &known
            && Instant::now() < active.expires_at
            && refusal.as_ref().is_none_or(|refusal| *refusal.authorization != active.authorization)
        {
            current.clone_from(&known);
            return Ok(Active { is_new: false, ..active.clone() });
        }
        let started = Instant::now();
        let (mut refused, plan, status) = match refusal {
            Some(Refusal { authorization, plan, status }) => (Some(authorization), plan, Some(status)),
            None => {
                (None, known.map(|expired| expired.plan).filter(|plan| *plan != LoginPlan::Unknown), None)
            }
        };
        let plan = match plan {
            Some(plan) => plan,
            None => match login.discover().await? {
                Discovery::Plan(plan) => plan,
                // A 404 says by itself that the object is missing, as on a registry whose `/v2/` always fails.
                Discovery::Unknown(error) if status.is_some_and(|status| status != StatusCode::NOT_FOUND) => {
                    return Err(error);
                }
                Discovery::Unknown(error) => {
                    refused = None;
                    tracing::debug!(error = zstart_core::chain(&error), "registry names no login");
                    LoginPlan::Unknown
                }
            },
        };
        let Grant { authorization, ttl, is_new } = login.log_in(&plan, refused).await?;
        let active = Active { authorization, plan, expires_at: started + ttl, is_new };
        *current = Some(active.clone());
        Ok(active)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::auth::{BearerToken, Credentials};
    use crate::operation::Access;
    use crate::transport::Transport;

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
            let transport = Transport::for_tests(&server.host, &server.host);
            let cache = TokenCache::default();
            let authorization = async || {
                let login = Login {
                    transport: &transport,
                    repository: "app",
                    mount_source: None,
                    credentials: &Credentials::Anonymous,
                    access: Access::Pull,
                };
                let active = cache.authorization(&login, None).await.unwrap();
                (active.authorization, active.is_new)
            };
            assert!(authorization().await == (bearer(0), true), "{life}");
            advance(Duration::from_secs(used_for - 5)).await;
            assert!(authorization().await == (bearer(0), false), "{life}");
            assert_eq!(server.issued(), 1, "{life}");
            advance(Duration::from_secs(5)).await;
            assert!(authorization().await == (bearer(1), true), "{life}");
            assert_eq!(server.issued(), 2, "{life}");
        }
    }
}
