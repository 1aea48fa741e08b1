//! Lists of tags, and of referrers.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, LINK};
use serde_json::{Value, json};
use zstart_oci::media_type;

use super::super::behaviour::{ExtraTags, Referrers};
use super::ServerState;

/// Largest list that the lab's registry sends, in bytes.
const LIST_MAX: usize = 1 << 20;

impl ServerState {
    /// Answers a request for a page of tags.
    pub(super) async fn list_tags(&self, repository: &str, pairs: &[(String, String)]) -> Response {
        let rules = &self.behaviour.tags;
        let last = pairs.iter().find(|(key, _)| key == "last").map(|(_, value)| value.as_str());
        let Ok(mut tags) = self.all_tags(repository).await else {
            return self.error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "the repository is not known");
        };
        tags.sort();
        tags.retain(|tag| last.is_none_or(|last| tag.as_str() > last));
        let has_more = tags.len() > rules.page;
        tags.truncate(rules.page);
        let next = tags.last().cloned().unwrap_or_default();
        let mut entries: Vec<Value> = tags.into_iter().map(Value::String).collect();
        match rules.extra {
            ExtraTags::None => {}
            ExtraTags::Null => entries.push(Value::Null),
            ExtraTags::Digest => entries.push(json!(format!("sha256:{}", "0".repeat(64)))),
        }
        let mut response = axum::Json(json!({"name": repository, "tags": entries})).into_response();
        if has_more {
            let query = format!("n={}&last={next}", rules.page);
            let last_component = repository.rsplit('/').next().unwrap_or_default();
            let address = self.origins.fill(rules.link).replace("{name}", repository);
            let address = address.replace("{last}", last_component).replace("{query}", &query);
            if let Ok(link) = format!("<{address}>; rel=\"next\"").parse() {
                response.headers_mut().insert(LINK, link);
            }
        }
        response
    }

    async fn all_tags(&self, repository: &str) -> anyhow::Result<Vec<String>> {
        let request = Request::get(format!("/v2/{repository}/tags/list")).body(Body::empty())?;
        let response = self.upstream.forward(request, &self.origins.registry).await;
        anyhow::ensure!(response.status() == StatusCode::OK, "{}", response.status());
        let list: Value = serde_json::from_slice(&to_bytes(response.into_body(), LIST_MAX).await?)?;
        Ok(serde_json::from_value(list["tags"].clone())?)
    }

    /// Answers a request for referrers. The suite's images have none.
    pub(super) fn referrers(&self) -> Response {
        match self.behaviour.referrers {
            Referrers::Index => {
                let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": []});
                ([(CONTENT_TYPE, media_type::OCI_INDEX)], index.to_string()).into_response()
            }
            Referrers::NotFound => self.not_found(),
        }
    }
}
