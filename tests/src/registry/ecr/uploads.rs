//! ECR's uploads.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::Request;
use axum::response::Response;
use futures::TryStreamExt as _;
use http::header::{CONTENT_RANGE, HeaderValue, RANGE};
use http::{Method, StatusCode, Uri};

use super::{EcrState, error_response, header_text};

/// Minimum size of every part except the last, in bytes (`UploadLayerPart`).
const MIN_PART_BYTES: u64 = 5 * 1024 * 1024;

/// Uploads in progress, by path: the sizes of their parts, in bytes.
#[derive(Default)]
pub(super) struct Uploads {
    parts: HashMap<String, Vec<u64>>,
    /// Number of uploads to forget.
    pub(super) forget_next: usize,
}

/// Answers a request about an upload.
pub(super) async fn upload(state: &EcrState, mut request: Request, origin: &str) -> Response {
    let session = request.uri().path().to_owned();
    match *request.method() {
        // Without the account's opt-in, a mount opens an ordinary upload.
        Method::POST => {
            *request.uri_mut() = Uri::try_from(&session).unwrap_or_default();
            state.registry.forward(request, origin).await
        }
        Method::GET => error_response(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "upload unknown"),
        Method::DELETE => error_response(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "not supported"),
        Method::PATCH => upload_part(state, &session, request, origin).await,
        Method::PUT => {
            let forgotten = {
                let mut uploads = state.uploads();
                let forgets = uploads.forget_next > 0;
                uploads.forget_next -= usize::from(forgets);
                forgets
            };
            if forgotten {
                return error_response(
                    StatusCode::BAD_REQUEST,
                    "BLOB_UPLOAD_INVALID",
                    "Invalid layer upload",
                );
            }
            state.registry.forward(request, origin).await
        }
        _ => state.registry.forward(request, origin).await,
    }
}

async fn upload_part(state: &EcrState, session: &str, request: Request, origin: &str) -> Response {
    let before = state.uploads().parts.get(session).cloned().unwrap_or_default();
    let starts_again =
        header_text(request.headers(), &CONTENT_RANGE).is_some_and(|range| range.starts_with("0-"));
    if starts_again && !before.is_empty() {
        return error_response(
            StatusCode::RANGE_NOT_SATISFIABLE,
            "BLOB_UPLOAD_INVALID",
            "start again from a new one",
        );
    }
    if before.iter().any(|part| *part < MIN_PART_BYTES) {
        let message = "Each part except the last must be at least 5 MiB";
        return error_response(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", message);
    }
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let mut response = state
        .registry
        .forward_with(request, origin, |body| {
            reqwest::Body::wrap_stream(body.inspect_ok(move |chunk| {
                counted.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }))
        })
        .await;
    if response.status() == StatusCode::ACCEPTED {
        *response.status_mut() = StatusCode::CREATED;
        // ECR keeps reporting the range of the first part.
        let all = [&before[..], &[count.load(Ordering::Relaxed)]].concat();
        let first = all.first().copied().unwrap_or_default().saturating_sub(1);
        if let Ok(range) = HeaderValue::from_str(&format!("0-{first}")) {
            response.headers_mut().insert(RANGE, range);
        }
        state.uploads().parts.insert(session.to_owned(), all);
    }
    response
}
