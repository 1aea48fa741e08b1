//! Referrers of a manifest, from the API or from the tag that clients write.
//!
//! The list answers a question about speed: whether an image has a SOCI index, which a variant lacks. A registry
//! that fails to answer must not stop a conversion, so a failure is logged as a warning, and the image counts as
//! one without referrers. A registry that asks for a pause answers later, so that stays an error.

use reqwest::StatusCode;
use thiserror::Error;
use zstart_core::Digest;
use zstart_oci::Descriptor;

use super::{LIST_TIMEOUT, MAX_PAGES, RegistryRepository};
use crate::api::NextPage;
use crate::api::referrers::{self, ListKind};
use crate::error::RequestError;
use crate::error_kind::ErrorKind;
use crate::observed::ReferrersApi;

/// Highest number of referrers that are read.
const MAX_REFERRERS: usize = 1000;

/// A list, as far as it could be read.
#[derive(Default)]
struct PartialList {
    /// Referrers of the artifact type; `None` if there is no list.
    matching: Option<Vec<Descriptor>>,
    /// Reason for which the list ends early.
    failure: Option<Failure>,
}

/// Reason for which a list is not read to its end.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("registry failed to list the referrers of another image")]
    FailedBefore,
    #[error("list goes on at another address")]
    Elsewhere,
    #[error("list has more than {MAX_PAGES} pages or {MAX_REFERRERS} referrers of this type")]
    TooLong,
}

impl Failure {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(error) => error.kind(),
            Self::FailedBefore | Self::Elsewhere | Self::TooLong => ErrorKind::Other,
        }
    }
}

impl RegistryRepository {
    /// All referrers of one artifact type, as far as the registry lists them.
    pub(super) async fn list_referrers(
        &self,
        digest: &Digest,
        artifact_type: &str,
    ) -> Result<Vec<Descriptor>, RequestError> {
        for list in ListKind::ALL {
            let is_api = matches!(list, ListKind::Api);
            if is_api && self.observed.get().referrers_api == ReferrersApi::Fails {
                self.warn(digest, &Failure::FailedBefore);
                continue;
            }
            let read = tokio::time::timeout(LIST_TIMEOUT, self.referrers_in(list, digest, artifact_type));
            let PartialList { matching, failure } = read.await.unwrap_or_else(|_| PartialList {
                failure: Some(RequestError::ResponseTimeout { limit: LIST_TIMEOUT }.into()),
                ..PartialList::default()
            });
            let is_complete = failure.is_none();
            match matching {
                // A list that broke off counts if it names a referrer.
                Some(found) if is_complete || !found.is_empty() => return Ok(found),
                Some(_) | None => {}
            }
            match failure {
                Some(Failure::Request(error)) if matches!(error.kind(), ErrorKind::RateLimited { .. }) => {
                    return Err(error);
                }
                Some(failure) => {
                    self.warn(digest, &failure);
                    if is_api && failure.kind() == ErrorKind::Unavailable {
                        self.observed.update(|observed| observed.referrers_api = ReferrersApi::Fails);
                    }
                }
                None => {}
            }
        }
        Ok(Vec::new())
    }

    fn warn(&self, digest: &Digest, failure: &Failure) {
        tracing::warn!(
            repository = self.location,
            manifest = %digest,
            error = zstart_core::chain(failure),
            "failed to list the referrers of an image; a SOCI index of it would go unnoticed"
        );
    }

    async fn referrers_in(&self, list: ListKind, digest: &Digest, artifact_type: &str) -> PartialList {
        let client = self.reader();
        let mut read = PartialList::default();
        let mut next = match list.first_page(&client, digest) {
            Ok(page) => page,
            Err(error) => return PartialList { failure: Some(error.into()), ..read },
        };
        for _ in 0..MAX_PAGES {
            let page = match self.retried(|| referrers::page(&client, list, &next)).await {
                Ok(page) => page,
                Err(error) if read.matching.is_none() && means_no_list(&error) => return read,
                Err(error) => return PartialList { failure: Some(error.into()), ..read },
            };
            let matching = page
                .referrers
                .into_iter()
                .filter(|one| one.artifact_type().as_deref() == Some(artifact_type));
            let found = read.matching.get_or_insert_with(Vec::new);
            found.extend(matching);
            match page.next {
                NextPage::At(page) if found.len() < MAX_REFERRERS => next = page,
                NextPage::At(_) => break,
                NextPage::End => return read,
                NextPage::Elsewhere => return PartialList { failure: Some(Failure::Elsewhere), ..read },
            }
        }
        PartialList { failure: Some(Failure::TooLong), ..read }
    }
}

/// Returns whether an answer means that the registry has no such list. Some registries deny what they don't know, and
/// refuse requests that they don't support.
fn means_no_list(error: &RequestError) -> bool {
    error.kind() == ErrorKind::NotFound
        || error.is_refusal()
        || error.status() == Some(StatusCode::NOT_IMPLEMENTED)
}
