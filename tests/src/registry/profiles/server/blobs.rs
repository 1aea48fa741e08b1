//! Blobs, and the storage that holds them.

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::header::LOCATION;
use http::{Method, StatusCode};

use super::super::behaviour::{GetBlob, HeadBlob, SignedFor};
use super::{ServerState, without_authorization};
use crate::registry::reverse_proxy::refuse_credentials;

impl ServerState {
    /// Answers GET or HEAD of a blob.
    pub(super) async fn read_blob(&self, mut request: Request) -> Response {
        let blobs = &self.behaviour.blobs;
        let is_head = *request.method() == Method::HEAD;
        let redirects = !is_head || blobs.head == HeadBlob::Redirected;
        without_authorization(request.headers_mut());
        let path = request.uri().path().to_owned();
        let GetBlob::Redirected { status, signature, .. } = blobs.get else {
            return self.upstream.forward(request, &self.origins.registry).await;
        };
        if !redirects {
            return self.upstream.forward(request, &self.origins.registry).await;
        }
        // Only a blob that exists is redirected.
        *request.method_mut() = Method::HEAD;
        let found = self.upstream.forward(request, &self.origins.registry).await;
        if found.status() != StatusCode::OK {
            return self.error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry");
        }
        let signed = format!("{}{path}?{signature}", self.origins.storage);
        (status, [(LOCATION, signed)]).into_response()
    }

    /// Answers a request to the storage.
    pub(super) async fn serve_from_storage(&self, request: Request) -> Response {
        let GetBlob::Redirected { signature, head, .. } = self.behaviour.blobs.get else {
            self.violation("the storage got a request, but the product never redirects");
            return StatusCode::NOT_FOUND.into_response();
        };
        if let Some(refused) = refuse_credentials(&request) {
            self.violation("the storage got credentials");
            return refused;
        }
        if request.uri().query() != Some(signature) {
            self.violation("the storage got an address without its signature");
            return StatusCode::FORBIDDEN.into_response();
        }
        if *request.method() != Method::GET && head == SignedFor::Get {
            return StatusCode::FORBIDDEN.into_response();
        }
        self.upstream.forward(request, &self.origins.storage).await
    }
}
