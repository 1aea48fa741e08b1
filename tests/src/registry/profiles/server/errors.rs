//! Errors in a product's format.

use axum::response::{Html, IntoResponse as _, Response};
use http::StatusCode;
use serde_json::json;

use super::super::behaviour::ErrorFormat;

/// An error.
pub(super) fn error(format: ErrorFormat, status: StatusCode, code: &str, message: &str) -> Response {
    match format {
        ErrorFormat::Json => {
            let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
            (status, axum::Json(body)).into_response()
        }
        ErrorFormat::Html => {
            let reason = status.canonical_reason().unwrap_or_default();
            let page = format!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head><title>{} - Nexus Repository Manager</title></head>\n\
                 <body><h1>Error {}</h1><p>{reason}</p></body>\n</html>\n",
                status.as_u16(),
                status.as_u16()
            );
            (status, Html(page)).into_response()
        }
    }
}
