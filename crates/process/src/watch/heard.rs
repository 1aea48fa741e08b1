//! Signs of life of the API server: a watch that is silent for long may have lost its connection, and its
//! objects may be old.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use kube::client::Body;
use tokio::time::Instant;
use tower::{Layer, Service};
use zstart_core::sync::lock;

/// Times of the last signs of life, by path. A layer of an API client: the head of a successful response and
/// each part of its body are signs. An API server sends a bookmark to each watch about once a minute.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<Mutex<HashMap<String, Instant>>>);

impl Heard {
    /// Time since the last sign of life at `path`; `None` if there was none yet.
    pub fn silence(&self, path: &str) -> Option<Duration> {
        lock(&self.0).get(path).map(Instant::elapsed)
    }

    fn note(&self, path: &str) {
        let mut times = lock(&self.0);
        match times.get_mut(path) {
            Some(time) => *time = Instant::now(),
            None => drop(times.insert(path.to_owned(), Instant::now())),
        }
    }
}

impl<S> Layer<S> for Heard {
    type Service = HeardService<S>;

    fn layer(&self, inner: S) -> HeardService<S> {
        HeardService { inner, heard: self.clone() }
    }
}

/// Client that notes signs of life.
#[derive(Clone, Debug)]
pub struct HeardService<S> {
    inner: S,
    heard: Heard,
}

impl<S, B> Service<Request<Body>> for HeardService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
{
    type Response = Response<UnsyncBoxBody<B::Data, B::Error>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (heard, path) = (self.heard.clone(), request.uri().path().to_owned());
        let response = self.inner.call(request);
        Box::pin(async move {
            let response = response.await?;
            let is_success = response.status().is_success();
            if is_success {
                heard.note(&path);
            }
            Ok(response.map(|body| {
                body.map_frame(move |frame| {
                    if is_success {
                        heard.note(&path);
                    }
                    frame
                })
                .boxed_unsync()
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use futures::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn head_and_each_part_of_a_response_are_signs_of_life() {
        let heard = Heard::default();
        let minute = Duration::from_mins(1);
        let server = service_fn(move |request: Request<Body>| async move {
            let parts = stream::iter(["a", "b"]).then(move |part| async move {
                tokio::time::sleep(minute).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(part.as_bytes())))
            });
            let status = if request.uri().path() == "/watch" { 200 } else { 503 };
            let body = StreamBody::new(parts);
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        let mut client = heard.layer(server);
        let request = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
        assert_eq!(heard.silence("/watch"), None);

        let mut body = client.call(request("/watch")).await.unwrap().into_body();
        tokio::time::sleep(minute / 2).await;
        assert_eq!(heard.silence("/watch"), Some(minute / 2));
        body.frame().await;
        assert_eq!(heard.silence("/watch"), Some(Duration::ZERO));
        tokio::time::sleep(minute / 4).await;
        assert_eq!(heard.silence("/watch"), Some(minute / 4));

        client.call(request("/down")).await.unwrap().into_body().frame().await;
        assert_eq!(heard.silence("/down"), None);
    }
}
