//! Token cache of one service: one token request at a time, shared by all callers.

use std::fmt;
use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use aws_smithy_http_client::pool;
use tokio::sync::Mutex;
use zstart_registry::auth::{CredentialProvider, ExpiringCredentials, Password, ProviderError};

use crate::service::{Service, Token};

/// Time for which a missing identity is cached before the AWS chain is queried again.
const ANONYMOUS_TTL: Duration = Duration::from_mins(1);

/// Provider of one service's tokens.
pub(crate) struct TokenProvider {
    service: Service,
    http: pool::Client,
    cache: TokenCache,
}

impl TokenProvider {
    pub(crate) fn new(service: Service, http: pool::Client) -> Self {
        Self { service, http, cache: TokenCache::default() }
    }
}

impl fmt::Debug for TokenProvider {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("TokenProvider").field("service", &self.service).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for TokenProvider {
    async fn credentials(
        &self,
        refused: Option<&Password>,
    ) -> Result<Option<ExpiringCredentials>, ProviderError> {
        self.cache.password(refused, Box::pin(self.service.token(&self.http))).await
    }
}

/// Last response of the service.
#[derive(Default)]
struct TokenCache(Mutex<CacheState>);

#[derive(Default)]
struct CacheState {
    cached: Option<CachedToken>,
    /// Last failure, and the time when the request failed.
    last_error: Option<(Instant, ProviderError)>,
}

struct CachedToken {
    /// `None` caches that the identity is missing.
    password: Option<Password>,
    expires_at: Instant,
}

impl TokenCache {
    /// Returns the cached password, or requests a new one.
    ///
    /// Callers that wait for a running request share its result, also a failure: a request that AWS doesn't
    /// answer takes half a minute, and no caller should wait that long twice.
    async fn password(
        &self,
        refused: Option<&Password>,
        request: impl Future<Output = Result<Option<Token>, ProviderError>> + Send,
    ) -> Result<Option<ExpiringCredentials>, ProviderError> {
        let arrived = Instant::now();
        let mut state = self.0.lock().await;
        if let Some(CachedToken { password, expires_at }) = &state.cached
            && Instant::now() < *expires_at
            && (refused.is_none() || refused != password.as_ref())
        {
            let issued = |password| ExpiringCredentials { password, expires_at: *expires_at, is_new: false };
            return Ok(password.clone().map(issued));
        }
        if let Some((when, error)) = &state.last_error
            && arrived < *when
        {
            return Err(error.clone());
        }
        let requested = Instant::now();
        let token = match request.await {
            Ok(token) => token,
            Err(error) => {
                state.last_error = Some((Instant::now(), error.clone()));
                return Err(error);
            }
        };
        let Some(Token { password, ttl }) = token else {
            state.cached = Some(CachedToken { password: None, expires_at: requested + ANONYMOUS_TTL });
            return Ok(None);
        };
        // A quarter of the lifetime is left for requests that are running when the token is replaced.
        let expires_at = requested + ttl / 4 * 3;
        state.cached = Some(CachedToken { password: Some(password.clone()), expires_at });
        Ok(Some(ExpiringCredentials { password, expires_at, is_new: true }))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use zstart_registry::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_one_failure() {
        let (cache, requests) = (TokenCache::default(), AtomicUsize::new(0));
        let ask = async || {
            let silent = async {
                requests.fetch_add(1, Ordering::Relaxed);
                // Lets the other callers reach the lock.
                tokio::task::yield_now().await;
                Err(ProviderError { message: "no answer".to_owned(), kind: ErrorKind::Unavailable })
            };
            cache.password(None, silent).await.unwrap_err().message
        };
        let answers = futures::future::join_all((0..5).map(|_| ask())).await;
        assert_eq!(answers, ["no answer"; 5]);
        assert_eq!(requests.load(Ordering::Relaxed), 1);
        ask().await;
        assert_eq!(requests.load(Ordering::Relaxed), 2, "a later caller sends its own request");
    }

    #[tokio::test]
    async fn refused_token_is_replaced() {
        let token = async |name: &str| {
            let password = Password { username: "AWS".to_owned(), password: name.to_owned() };
            Ok(Some(Token { password, ttl: Duration::from_hours(12) }))
        };
        let cache = TokenCache::default();
        let first = cache.password(None, token("first")).await.unwrap().unwrap();
        let cached = cache.password(None, token("unused")).await.unwrap().unwrap();
        assert_eq!((first.is_new, cached.is_new, cached.password == first.password), (true, false, true));
        let second = cache.password(Some(&first.password), token("second")).await.unwrap().unwrap();
        assert!(second.is_new && second.password != first.password);
    }
}
