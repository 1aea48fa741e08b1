//! Uploads.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use http::{Method, StatusCode, Uri};
use zstart_core::sync::lock;

use super::super::behaviour::{Chunks, Mount, SinglePost};
use super::{ServerState, drained, query_pairs, without_authorization};

/// An upload session.
pub(super) struct Session {
    repository: String,
    /// Path and query at the registry behind the server.
    upstream: String,
    /// Part of the address that changes with each response.
    state: String,
    patches: usize,
}

impl ServerState {
    /// Repository of an upload session.
    pub(super) fn session_repository(&self, id: &str) -> Option<String> {
        lock(&self.sessions).get(id).map(|session| session.repository.clone())
    }

    /// Answers a POST that opens an upload, mounts a blob, or brings a whole one.
    pub(super) async fn start_upload(&self, repository: &str, mut request: Request) -> Response {
        if *request.method() != Method::POST {
            let message = "blob upload unknown to registry";
            return drained(request, self.error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message)).await;
        }
        let uploads = &self.behaviour.uploads;
        let pairs = query_pairs(request.uri().query().unwrap_or_default());
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        if value("mount").is_some() && value("from").is_none() {
            self.violation("a mount without the repository to mount from");
        }
        without_authorization(request.headers_mut());
        lock(&self.repositories).insert(repository.to_owned());
        if value("digest").is_some() && uploads.single_post == SinglePost::Stored {
            let octets = HeaderValue::from_static("application/octet-stream");
            if request.headers().get(CONTENT_TYPE) != Some(&octets) {
                self.violation("a blob of another type than application/octet-stream");
                return drained(request, StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response()).await;
            }
            return self.upstream.accept_single_post(request, &self.origins.registry).await;
        }
        let mounts = value("mount").is_some() && uploads.mount == Mount::Linked;
        if !mounts {
            // The session gets neither query nor content.
            let path = request.uri().path().to_owned();
            *request.uri_mut() = Uri::try_from(path).unwrap_or_default();
            crate::registry::gateway::drain(request).await;
            request = Request::post(format!("/v2/{repository}/blobs/uploads/"))
                .body(Body::empty())
                .unwrap_or_default();
        }
        let response = self.upstream.forward(request, "").await;
        if response.status() != StatusCode::ACCEPTED {
            return response;
        }
        let Some(upstream) = location(&response) else { return self.not_found() };
        let id = format!("session-{}", lock(&self.sessions).len());
        let state = "state-0".to_owned();
        let session = Session { repository: repository.to_owned(), upstream, state, patches: 0 };
        let own = self.session_address(uploads.session, &id, &session);
        lock(&self.sessions).insert(id, session);
        answer(StatusCode::ACCEPTED, &own, "0-0")
    }

    /// Answers a request to an upload session.
    pub(super) async fn continue_upload(&self, id: &str, mut request: Request) -> Response {
        without_authorization(request.headers_mut());
        let unknown = || self.error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown");
        let current = {
            let sessions = lock(&self.sessions);
            sessions.get(id).map(|session| {
                let uploads = &self.behaviour.uploads;
                let template = if session.patches == 0 { uploads.session } else { uploads.after_patch };
                let address = self.session_address(template, id, session);
                (address, session.upstream.clone(), session.patches)
            })
        };
        let Some((address, upstream, patches)) = current else { return drained(request, unknown()).await };
        if !self.is_at(&address, request.uri()) {
            self.violation("an upload went on at another address than the last Location");
            return drained(request, unknown()).await;
        }
        let query = request.uri().query().unwrap_or_default();
        let digest = query_pairs(query).into_iter().find(|(key, _)| key == "digest").map(|(_, value)| value);
        match *request.method() {
            Method::PATCH if patches > 0 && self.behaviour.uploads.chunks == Chunks::One => {
                self.violation("another chunk, which the product refuses");
                drained(request, StatusCode::METHOD_NOT_ALLOWED.into_response()).await
            }
            Method::PATCH => {
                *request.uri_mut() = Uri::try_from(upstream).unwrap_or_default();
                let response = self.upstream.forward(request, "").await;
                self.patched(id, &response).unwrap_or(response)
            }
            Method::PUT => {
                let Some(digest) = digest else {
                    self.violation("an upload finished without a digest");
                    return drained(request, unknown()).await;
                };
                let separator = if upstream.contains('?') { '&' } else { '?' };
                let finish = format!("{upstream}{separator}digest={digest}");
                *request.uri_mut() = Uri::try_from(finish).unwrap_or_default();
                self.upstream.forward(request, &self.origins.registry).await
            }
            _ => {
                *request.uri_mut() = Uri::try_from(upstream).unwrap_or_default();
                self.upstream.forward(request, &self.origins.registry).await
            }
        }
    }

    /// The product's response to PATCH.
    fn patched(&self, id: &str, response: &Response) -> Option<Response> {
        let next = location(response).filter(|_| response.status().is_success())?;
        let mut sessions = lock(&self.sessions);
        let session = sessions.get_mut(id)?;
        session.upstream = next;
        session.patches += 1;
        session.state = format!("state-{}", session.patches);
        let uploads = &self.behaviour.uploads;
        let own = self.session_address(uploads.after_patch, id, session);
        let range = response.headers().get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or("0-0");
        Some(answer(uploads.patch, &own, range))
    }

    fn session_address(&self, template: &str, id: &str, session: &Session) -> String {
        let address = self.origins.fill(template).replace("{name}", &session.repository);
        address.replace("{id}", id).replace("{state}", &session.state)
    }

    /// Whether a request has the path of `address`, and all of its query.
    fn is_at(&self, address: &str, uri: &Uri) -> bool {
        let address = address.strip_prefix(&self.origins.registry).unwrap_or(address);
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let given = query_pairs(uri.query().unwrap_or_default());
        uri.path() == path && query_pairs(query).iter().all(|pair| given.contains(pair))
    }
}

fn location(response: &Response) -> Option<String> {
    Some(response.headers().get(LOCATION)?.to_str().ok()?.to_owned())
}

fn answer(status: StatusCode, location: &str, range: &str) -> Response {
    let headers: [(HeaderName, &str); 3] = [(LOCATION, location), (RANGE, range), (CONTENT_LENGTH, "0")];
    (status, headers).into_response()
}
