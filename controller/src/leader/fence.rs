//! A layer of the API client that refuses writes of a process that doesn't lead.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Method, Request};
use kube::client::Body;
use thiserror::Error;
use tower::{BoxError, Layer, Service};

use super::Leadership;

/// A write that didn't reach the API server, or whose answer wasn't awaited.
#[derive(Debug, Error)]
#[error("this replica of the controller doesn't lead, and only the leader writes")]
pub(crate) struct NotLeading;

impl<S> Layer<S> for Leadership {
    type Service = Fence<S>;

    fn layer(&self, inner: S) -> Fence<S> {
        Fence { inner, leadership: self.clone() }
    }
}

/// Client that writes only while this process leads. Reads and watches pass.
///
/// The layer must be the outermost one: a retry of an inner layer ends with the leadership too.
#[derive(Clone, Debug)]
pub(crate) struct Fence<S> {
    inner: S,
    leadership: Leadership,
}

impl<S> Service<Request<Body>> for Fence<S>
where
    S: Service<Request<Body>>,
    S::Error: Into<BoxError>,
    S::Response: Send,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            let response = self.inner.call(request);
            return Box::pin(async { response.await.map_err(Into::into) });
        }
        if !self.leadership.is_current() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let (leadership, response) = (self.leadership.clone(), self.inner.call(request));
        Box::pin(async move {
            tokio::select! {
                // First the clock, so that a process that continues after a pause sends nothing more.
                biased;
                () = leadership.ended() => Err(NotLeading.into()),
                response = response => response.map_err(Into::into),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;
    use tower::service_fn;

    use super::*;

    fn request(method: Method) -> Request<Body> {
        Request::builder().method(method).uri("/api/v1/secrets").body(Body::empty()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_leader_writes_and_each_replica_reads() {
        let served = Arc::new(AtomicUsize::new(0));
        let server = service_fn({
            let served = Arc::clone(&served);
            move |_: Request<Body>| {
                served.fetch_add(1, Ordering::Relaxed);
                async { Ok::<_, BoxError>(()) }
            }
        });
        let leadership = Leadership::default();
        let mut client = leadership.layer(server);
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        for is_leader in [false, true, false] {
            if is_leader {
                leadership.extend(Instant::now() + Duration::from_secs(10));
            }
            for write in &writes {
                assert_eq!(client.call(request(write.clone())).await.is_ok(), is_leader, "{write}");
            }
            client.call(request(Method::GET)).await.unwrap();
            tokio::time::advance(Duration::from_secs(10)).await;
        }
        assert_eq!(served.load(Ordering::Relaxed), writes.len() + 3);
    }

    #[tokio::test(start_paused = true)]
    async fn open_write_ends_with_the_leadership() {
        let server = service_fn(|_: Request<Body>| async {
            // A retry of an inner layer waits for the same time as the leadership.
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok::<_, BoxError>(())
        });
        let leadership = Leadership::default();
        let mut client = leadership.layer(server);
        leadership.extend(Instant::now() + Duration::from_secs(10));
        let error = client.call(request(Method::PATCH)).await.unwrap_err();
        assert!(error.is::<NotLeading>(), "{error}");
        // A read is finished.
        client.call(request(Method::GET)).await.unwrap();
    }
}
