//! Referrers of a manifest, from the API or from the tag that clients write.
//!
//! The list answers a question about speed: whether an image has a SOCI index, which a variant lacks. A registry
//! that fails to answer must not stop a conversion, so a failure is logged as a warning, and the image counts as
//! one without referrers.

use std::time::Duration;

use zstart_core::Digest;
use zstart_oci::Descriptor;

use super::{MAX_PAGES, RegistryRepository};
use crate::api::referrers::{self, ListKind};
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::observed::ReferrersApi;

/// Highest number of referrers that are read.
const MAX_REFERRERS: usize = 1000;
/// Longest time for one list with all its pages and attempts. A list that takes longer isn't worth it.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// A list, as far as it could be read.
#[derive(Default)]
struct PartialList {
    /// Referrers of the artifact type; `None` if there is no list.
    matching: Option<Vec<Descriptor>>,
    /// Reason for which the list ends early.
    failure: Option<RequestError>,
}

impl RegistryRepository {
    /// All referrers of one artifact type, as far as the registry lists them.
    pub(super) async fn list_referrers(&self, digest: &Digest, artifact_type: &str) -> Vec<Descriptor> {
        for list in ListKind::ALL {
            let is_api = matches!(list, ListKind::Api);
            if is_api && self.observed.get().referrers_api == ReferrersApi::Fails {
                continue;
            }
            let read = tokio::time::timeout(LIST_TIMEOUT, self.referrers_in(list, digest, artifact_type));
            let PartialList { matching, failure } = read.await.unwrap_or_else(|_| PartialList {
                failure: Some(RequestError::ResponseTimeout { limit: LIST_TIMEOUT }),
                ..PartialList::default()
            });
            if let Some(error) = &failure {
                tracing::warn!(
                    repository = self.location,
                    manifest = %digest,
                    error = zstart_core::chain(error),
                    "failed to list the referrers of an image; a SOCI index of it would go unnoticed"
                );
                if is_api {
                    self.observed.update(|observed| observed.referrers_api = ReferrersApi::Fails);
                }
            }
            match matching {
                // A list that broke off counts if it names a referrer.
                Some(found) if failure.is_none() || !found.is_empty() => return found,
                Some(_) | None => {}
            }
        }
        Vec::new()
    }

    async fn referrers_in(&self, list: ListKind, digest: &Digest, artifact_type: &str) -> PartialList {
        let client = self.reader();
        let mut read = PartialList::default();
        let mut next = match list.first_page(&client, digest) {
            Ok(page) => page,
            Err(error) => return PartialList { failure: Some(error), ..read },
        };
        for _ in 0..MAX_PAGES {
            let page = match self.retried(|| referrers::page(&client, list, &next)).await {
                Ok(page) => page,
                Err(error) => match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::RateLimited { .. } => {
                        return PartialList { failure: Some(error), ..read };
                    }
                    // Denied too: some registries deny what they don't know.
                    ErrorKind::NotFound
                    | ErrorKind::Denied
                    | ErrorKind::TagImmutable
                    | ErrorKind::ContentMismatch
                    | ErrorKind::Other => None,
                },
            };
            let Some(page) = page else { break };
            let matching = page
                .referrers
                .into_iter()
                .filter(|one| one.artifact_type().as_deref() == Some(artifact_type));
            let found = read.matching.get_or_insert_with(Vec::new);
            found.extend(matching);
            match page.next {
                Some(page) if found.len() < MAX_REFERRERS => next = page,
                Some(_) | None => break,
            }
        }
        read
    }
}
