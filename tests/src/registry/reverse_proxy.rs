//! Forwards a request to the real registry behind a gateway.

use anyhow::Result;
use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, StreamExt as _};
use http::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, LOCATION, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};

/// Client for a registry.
pub(super) struct ReverseProxy {
    /// `http://HOST:PORT`.
    upstream: String,
    http: reqwest::Client,
}

impl ReverseProxy {
    /// Proxy to the registry at `upstream` (`host:port`).
    pub(super) fn new(upstream: &str) -> Result<Self> {
        crate::control_plane::install_crypto();
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
        Ok(Self { upstream: format!("http://{upstream}"), http })
    }

    /// Forwards a request and returns the registry's response. Its Location header is rewritten to `origin`
    /// (`SCHEME://HOST`).
    pub(super) async fn forward(&self, request: Request, origin: &str) -> Response {
        self.forward_changed(request, origin, reqwest::Body::wrap_stream).await
    }

    /// Forwards a request with a body that `change` creates from the original one. Removes the Content-Length
    /// header, which no longer applies.
    pub(super) async fn forward_with(
        &self,
        mut request: Request,
        origin: &str,
        change: impl FnOnce(BodyDataStream) -> reqwest::Body,
    ) -> Response {
        request.headers_mut().remove(CONTENT_LENGTH);
        self.forward_changed(request, origin, change).await
    }

    /// Opens an upload and finishes it with the body of a request that has the blob's digest in its query.
    pub(super) async fn accept_single_post(&self, request: Request, origin: &str) -> Response {
        let query = request.uri().query().map(ToOwned::to_owned).unwrap_or_default();
        let path = request.uri().path().to_owned();
        let content = request.into_body();
        let to = |method, uri: &str, body| Request::builder().method(method).uri(uri).body(body);
        let Ok(open) = to(Method::POST, &path, Body::empty()) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let opened = self.forward(open, "").await;
        let location = opened.headers().get(LOCATION).and_then(|location| location.to_str().ok());
        let Some(location) = location else { return opened };
        let Ok(finish) = to(Method::PUT, &format!("{location}&{query}"), content) else { return opened };
        self.forward(finish, origin).await
    }

    async fn forward_changed(
        &self,
        request: Request,
        origin: &str,
        change: impl FnOnce(BodyDataStream) -> reqwest::Body,
    ) -> Response {
        match self.send(request, origin, change).await {
            Ok(response) => response,
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }

    async fn send(
        &self,
        request: Request,
        origin: &str,
        change: impl FnOnce(BodyDataStream) -> reqwest::Body,
    ) -> Result<Response, reqwest::Error> {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        headers.remove(HOST);
        let body = change(body.into_data_stream());
        let url = format!("{}{path}", self.upstream);
        let upstream_response =
            self.http.request(parts.method, url).headers(headers).body(body).send().await?;

        let mut response = Response::builder().status(upstream_response.status());
        if let Some(headers) = response.headers_mut() {
            for (name, value) in upstream_response.headers() {
                if name != TRANSFER_ENCODING {
                    headers.append(name, value.clone());
                }
            }
            // The registry's Location names the registry; the client would bypass the gateway.
            if let Some(location) = headers.get(LOCATION).and_then(|location| location.to_str().ok())
                && let Ok(own) = HeaderValue::from_str(&location.replace(&self.upstream, origin))
            {
                headers.insert(LOCATION, own);
            }
        }
        let response = response.body(Body::from_stream(upstream_response.bytes_stream()));
        Ok(response.unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response()))
    }
}

/// Removes the credentials, which the gateway has checked already.
pub(super) fn without_credentials(mut request: Request) -> Request {
    request.headers_mut().remove(AUTHORIZATION);
    request
}

/// S3's response to a signed address with additional credentials; `None` if there are none.
pub(super) fn refuse_credentials(request: &Request) -> Option<Response> {
    if !request.headers().contains_key(AUTHORIZATION) {
        return None;
    }
    let message = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query \
                   string parameter or the Authorization header should be specified";
    Some((StatusCode::BAD_REQUEST, message).into_response())
}

/// Passes the first `limit` bytes of a stream on, then fails, which cuts the connection.
pub(super) fn truncate<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    stream: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    limit: usize,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let front = stream.scan(limit, |left, chunk| {
        let next = match chunk {
            Err(error) => Some(Err(std::io::Error::other(error))),
            Ok(_) if *left == 0 => None,
            Ok(chunk) => {
                let count = chunk.len().min(*left);
                *left -= count;
                Some(Ok(chunk.slice(..count)))
            }
        };
        futures::future::ready(next)
    });
    // A body that ended here by itself is cut as well: it must not look complete.
    front.chain(futures::stream::once(async { Err(std::io::Error::other("cut by the gateway")) }))
}
