//! A request before it has credentials, so that it can be sent again with others.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Body, Client, Method, RequestBuilder, Url};

use crate::http::Direction;

/// Media type of a blob in an upload.
const OCTET_STREAM: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) direction: Direction,
    /// Another origin than the registry's chose the address, which the registry's credentials must not
    /// follow (CVE-2024-45336 of Go).
    pub(crate) is_steered: bool,
    headers: HeaderMap,
    timeout: Option<Duration>,
    body: Content,
}

enum Content {
    Empty,
    Bytes(Bytes),
    Stream(Body),
    /// A stream that was sent: it can't be sent again.
    Sent,
}

impl Request {
    /// A request that reads; the client's read timeout applies.
    pub(crate) fn read(method: Method, url: Url) -> Self {
        Self::new(method, url, Direction::Read)
    }

    /// A request that writes; it has no timeout unless [`timeout`](Self::timeout) sets one.
    pub(crate) fn write(method: Method, url: Url) -> Self {
        Self::new(method, url, Direction::Write)
    }

    fn new(method: Method, url: Url, direction: Direction) -> Self {
        let headers = HeaderMap::new();
        Self { method, url, direction, is_steered: false, headers, timeout: None, body: Content::Empty }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Limits the whole exchange.
    pub(crate) fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    /// Adds a body.
    pub(crate) fn body(self, bytes: Bytes) -> Self {
        Self { body: Content::Bytes(bytes), ..self }
    }

    /// Adds a blob's bytes as the body. An empty blob gets `Content-Length: 0`.
    pub(crate) fn blob(self, bytes: Bytes) -> Self {
        if bytes.is_empty() {
            self.header(CONTENT_LENGTH, HeaderValue::from_static("0"))
        } else {
            self.header(CONTENT_TYPE, OCTET_STREAM).body(bytes)
        }
    }

    /// Adds a blob's bytes as a body that is streamed.
    pub(crate) fn blob_stream(self, body: Body) -> Self {
        Self { body: Content::Stream(body), ..self.header(CONTENT_TYPE, OCTET_STREAM) }
    }

    /// Whether the request can be sent (again).
    pub(crate) fn is_ready(&self) -> bool {
        !matches!(self.body, Content::Sent)
    }

    /// Builds the HTTP request. A streamed body goes with the first one.
    pub(crate) fn build(&mut self, http: &Client) -> RequestBuilder {
        let mut builder = http.request(self.method.clone(), self.url.clone()).headers(self.headers.clone());
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        match &self.body {
            Content::Empty | Content::Sent => builder,
            Content::Bytes(bytes) => builder.body(bytes.clone()),
            Content::Stream(_) => match std::mem::replace(&mut self.body, Content::Sent) {
                Content::Stream(body) => builder.body(body),
                Content::Empty | Content::Bytes(_) | Content::Sent => builder,
            },
        }
    }
}
