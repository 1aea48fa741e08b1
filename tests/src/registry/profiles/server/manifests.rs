//! Manifests.

use std::collections::{BTreeSet, HashMap};

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode};

use super::{ServerState, drained, without_authorization};

/// Manifests pushed through the server.
#[derive(Default)]
pub(super) struct Pushed {
    pub(super) tags_are_immutable: bool,
    /// Repository and tag.
    tags: BTreeSet<(String, String)>,
    /// Reads left before a manifest is visible, by repository and reference.
    invisible: HashMap<(String, String), usize>,
}

impl ServerState {
    /// Answers GET or HEAD of a manifest.
    pub(super) async fn read_manifest(
        &self,
        repository: &str,
        reference: &str,
        mut request: Request,
    ) -> Response {
        let key = (repository.to_owned(), reference.to_owned());
        let is_invisible = match self.manifests().invisible.get_mut(&key) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            Some(_) | None => false,
        };
        let missing = self.behaviour.manifests.missing;
        if is_invisible {
            return self.error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown");
        }
        without_authorization(request.headers_mut());
        let mut response = self.upstream.forward(request, &self.origins.registry).await;
        if response.status() == StatusCode::NOT_FOUND {
            return self.error(missing.status, missing.code, "the manifest is not known");
        }
        for (name, value) in self.behaviour.manifests.headers {
            let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
            response.headers_mut().insert(name, value);
        }
        response
    }

    /// Answers PUT of a manifest.
    pub(super) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        mut request: Request,
    ) -> Response {
        let key = (repository.to_owned(), reference.to_owned());
        if let Some(refusal) = self.behaviour.manifests.immutable
            && self.refuses_tag(&key)
        {
            let message = "the tag exists, and tags are immutable";
            return drained(request, self.error(refusal.status, refusal.code, message)).await;
        }
        without_authorization(request.headers_mut());
        let response = self.upstream.forward(request, &self.origins.registry).await;
        if response.status().is_success() {
            let mut pushed = self.manifests();
            let invisible = self.behaviour.manifests.invisible_reads;
            pushed.invisible.insert(key.clone(), invisible);
            if !reference.contains(':') {
                pushed.tags.insert(key);
            }
        }
        response
    }

    fn refuses_tag(&self, key: &(String, String)) -> bool {
        let pushed = self.manifests();
        pushed.tags_are_immutable && pushed.tags.contains(key)
    }
}
