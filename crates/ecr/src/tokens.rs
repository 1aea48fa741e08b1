//! A service's tokens: one at a time, for all who ask.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_smithy_http_client::pool;
use tokio::sync::Mutex;
use zstart_registry::auth::{CredentialProvider, ExpiringCredentials, Password, ProviderError};

use crate::service::{Service, Token};

/// How long nobody is taken for nobody, before somebody is looked for again.
const NOBODY_FOR: Duration = Duration::from_mins(1);

/// The tokens of one service.
pub(crate) struct Tokens {
    service: Service,
    http: pool::Client,
    current: Current,
}

impl Tokens {
    pub(crate) fn new(service: Service, http: pool::Client) -> Self {
        Self { service, http, current: Current::default() }
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("service", &self.service).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Tokens {
    async fn credentials(
        &self,
        refused: Option<&Password>,
    ) -> Result<Option<ExpiringCredentials>, ProviderError> {
        self.current.password(refused, Box::pin(self.service.token(&self.http))).await
    }
}

/// What the service answered last.
#[derive(Default)]
struct Current(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    held: Option<Held>,
    /// The last failure, and when it came.
    failed: Option<(Instant, ProviderError)>,
}

struct Held {
    password: Option<Password>,
    until: Instant,
}

impl Current {
    /// The password of now, or a new one. Whoever waits for the first one's answer gets it too, also where
    /// that is a failure: while AWS is silent it takes half a minute, and nobody waits for that twice.
    async fn password(
        &self,
        refused: Option<&Password>,
        new: impl Future<Output = Result<Option<Token>, ProviderError>> + Send,
    ) -> Result<Option<ExpiringCredentials>, ProviderError> {
        let arrived = Instant::now();
        let mut answers = self.0.lock().await;
        if let Some(Held { password, until }) = &answers.held
            && Instant::now() < *until
            && (refused.is_none() || refused != password.as_ref())
        {
            let issued = |password| ExpiringCredentials { password, expires_at: *until, is_new: false };
            return Ok(password.clone().map(issued));
        }
        if let Some((when, error)) = &answers.failed
            && arrived < *when
        {
            return Err(error.clone());
        }
        let asked = Instant::now();
        let token = match new.await {
            Ok(token) => token,
            Err(error) => {
                answers.failed = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        let Some(Token { password, life }) = token else {
            answers.held = Some(Held { password: None, until: asked + NOBODY_FOR });
            return Ok(None);
        };
        // A quarter early: requests that are under way must still end.
        let until = asked + life / 4 * 3;
        answers.held = Some(Held { password: Some(password.clone()), until });
        Ok(Some(ExpiringCredentials { password, expires_at: until, is_new: true }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use zstart_registry::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_failure_is_had_once_by_all_who_wait_for_it_and_then_tried_again() {
        let (current, asked) = (Current::default(), AtomicUsize::new(0));
        let ask = async || {
            let silent = async {
                asked.fetch_add(1, Ordering::Relaxed);
                // The others come to wait.
                tokio::task::yield_now().await;
                Err(ProviderError { message: "no answer".to_owned(), kind: ErrorKind::Unavailable })
            };
            current.password(None, silent).await.unwrap_err().message
        };
        let answers = futures::future::join_all((0..5).map(|_| ask())).await;
        assert_eq!(answers, ["no answer"; 5]);
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        ask().await;
        assert_eq!(asked.load(Ordering::Relaxed), 2, "who comes later tries it himself");
    }

    #[tokio::test]
    async fn a_token_that_was_refused_is_not_given_again() {
        let token = async |name: &str| {
            let password = Password { username: "AWS".to_owned(), password: name.to_owned() };
            Ok(Some(Token { password, life: Duration::from_hours(12) }))
        };
        let current = Current::default();
        let first = current.password(None, token("first")).await.unwrap().unwrap();
        let held = current.password(None, token("unused")).await.unwrap().unwrap();
        assert_eq!((first.is_new, held.is_new, held.password == first.password), (true, false, true));
        let second = current.password(Some(&first.password), token("second")).await.unwrap().unwrap();
        assert!(second.is_new && second.password != first.password);
    }
}
