//! Time limits for requests to the API server. Without them, a request on a connection that a firewall or a lost
//! node forgot waits for as long as TCP retransmits, about 15 minutes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response, Uri};
use http_body::{Frame, SizeHint};
use kube::client::Body;
use thiserror::Error;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower::{BoxError, Layer, Service};

/// Limits of a request for one object. A busy API server queues a request for up to 15 seconds, a quarter of
/// `--request-timeout` (API priority and fairness). Each idle connection that is dead costs one such request.
const REQUEST: Limits = Limits { head: Duration::from_secs(20), silence: Duration::from_secs(20) };
/// Limits of a list. The API server itself ends a request after 60 seconds (`--request-timeout`), so the limit ends
/// none that the API server works on.
const LIST: Limits = Limits { head: Duration::from_secs(75), silence: Duration::from_secs(30) };
/// Limits of a watch. The API server sends a bookmark about once a minute (`bookmarkFrequency` in
/// `apiserver/pkg/storage/cacher/cacher.go`). kube's watcher notices a silent watch after five minutes.
const WATCH: Limits = Limits { head: Duration::from_secs(75), silence: Duration::from_secs(150) };

/// Time limits of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Time to the head of the answer, retries of the client included.
    head: Duration,
    /// Time between two parts of the answer.
    silence: Duration,
}

impl Limits {
    fn of(uri: &Uri) -> Self {
        let has =
            |start: &str| uri.query().unwrap_or_default().split('&').any(|pair| pair.starts_with(start));
        if has("watch=true") {
            WATCH
        } else if has("limit=") || has("resourceVersionMatch=") {
            LIST
        } else {
            REQUEST
        }
    }
}

/// The API server sent nothing for too long.
#[derive(Clone, Copy, Debug, Error)]
#[error("the API server sent nothing for {} seconds", .0.as_secs())]
pub struct Silent(Duration);

/// Layer of an API client that ends requests without an answer. Their connections are closed, so the next request
/// gets a new one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deadlines;

impl<S> Layer<S> for Deadlines {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner }
    }
}

/// Client with time limits.
#[derive(Clone, Debug)]
pub struct DeadlineService<S> {
    inner: S,
}

impl<S, B> Service<Request<Body>> for DeadlineService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<TimedBody<B>>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Limits { head, silence } = Limits::of(request.uri());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = timeout(head, response).await.map_err(|_| Silent(head))?.map_err(Into::into)?;
            Ok(response.map(|body| TimedBody::new(body, silence)))
        })
    }
}

/// Body that fails after a silence.
#[derive(Debug)]
pub struct TimedBody<B> {
    inner: Pin<Box<B>>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
}

impl<B> TimedBody<B> {
    fn new(inner: B, limit: Duration) -> Self {
        Self { inner: Box::pin(inner), limit, timer: Box::pin(sleep(limit)) }
    }
}

impl<B: http_body::Body> http_body::Body for TimedBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let Self { inner, limit, timer } = self.get_mut();
        if let Poll::Ready(frame) = inner.as_mut().poll_frame(context) {
            timer.as_mut().reset(Instant::now() + *limit);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(Silent(*limit).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};
    use tower::service_fn;

    use super::*;

    #[test]
    fn lists_and_watches_have_limits_of_their_own() {
        let path = "/apis/zstart.dev/v1alpha1/imageconversions";
        for (query, limits) in [
            ("/app", REQUEST),
            ("/app/status?&force=true&fieldManager=watch=true", REQUEST),
            ("?&limit=500&resourceVersion=0&resourceVersionMatch=NotOlderThan", LIST),
            ("?&watch=true&timeoutSeconds=290&allowWatchBookmarks=true", WATCH),
        ] {
            assert_eq!(Limits::of(&format!("{path}{query}").parse().unwrap()), limits, "{query}");
        }
    }

    /// A server that sends its head after `head`, and a part of the body after each of `parts`.
    async fn ask(query: &str, head: Duration, parts: Vec<Duration>) -> Result<usize, BoxError> {
        let server = service_fn(move |_: Request<Body>| {
            let parts = parts.clone();
            async move {
                sleep(head).await;
                let parts = stream::iter(parts).then(|pause| async move {
                    sleep(pause).await;
                    Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"a")))
                });
                Ok::<_, Infallible>(Response::new(StreamBody::new(parts)))
            }
        });
        let request = Request::builder().uri(format!("/api{query}")).body(Body::empty()).unwrap();
        let body = Deadlines.layer(server).call(request).await?.into_body();
        // The stream isn't pinned to a place.
        let body = Box::pin(body).collect().await?;
        Ok(body.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn silent_answers_end_and_slow_ones_do_not() {
        let seconds = Duration::from_secs;
        for (query, head, parts, limit) in [
            ("", 19, vec![19; 9], None),
            ("", 21, vec![], Some(20)),
            ("", 1, vec![19, 21], Some(20)),
            ("?limit=500", 74, vec![29; 9], None),
            ("?limit=500", 76, vec![], Some(75)),
            ("?watch=true", 1, vec![60; 9], None),
            ("?watch=true", 1, vec![60, 151], Some(150)),
        ] {
            let result = ask(query, seconds(head), parts.iter().map(|part| seconds(*part)).collect()).await;
            match (result, limit) {
                (Ok(length), None) => assert_eq!(length, parts.len(), "{query}"),
                (Err(error), Some(limit)) => {
                    assert!(error.to_string().contains(&format!("{limit} seconds")), "{query}: {error}");
                }
                (result, limit) => panic!("{query}: {result:?}, but expected a limit of {limit:?}"),
            }
        }
    }
}
