//! Tags that can't move, by the settings of their repository.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aws_sdk_ecr::types::{
    ImageTagMutability, ImageTagMutabilityExclusionFilter, ImageTagMutabilityExclusionFilterType, Repository,
};
use tokio::sync::Mutex as AsyncMutex;
use zstart_core::Glob;
use zstart_core::sync::lock;
use zstart_registry::ErrorKind;
use zstart_registry::auth::ProviderError;

/// Time for which an answer is believed. A refusal is believed for as long.
const ANSWER_TTL: Duration = Duration::from_hours(1);

/// Setting of a repository: whether a push can move its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TagMutability {
    is_immutable: bool,
    /// Tags to which the opposite applies.
    exceptions: Vec<Glob>,
}

impl TagMutability {
    /// Every tag can move.
    pub(crate) const MUTABLE: Self = Self { is_immutable: false, exceptions: Vec::new() };

    /// The setting in an answer of `DescribeRepositories`. An unknown setting counts as mutable.
    pub(crate) fn of(repository: &Repository) -> Self {
        let filters = repository.image_tag_mutability_exclusion_filters();
        match repository.image_tag_mutability() {
            Some(ImageTagMutability::Immutable) => Self { is_immutable: true, exceptions: Vec::new() },
            // An exception that isn't understood could be about any tag.
            Some(ImageTagMutability::ImmutableWithExclusion) => filters
                .iter()
                .map(glob_of)
                .collect::<Option<Vec<_>>>()
                .map_or(Self::MUTABLE, |exceptions| Self { is_immutable: true, exceptions }),
            Some(ImageTagMutability::MutableWithExclusion) => {
                Self { is_immutable: false, exceptions: filters.iter().filter_map(glob_of).collect() }
            }
            _ => Self::MUTABLE,
        }
    }

    /// Returns whether no push can move the tag.
    pub(crate) fn is_immutable(&self, tag: &str) -> bool {
        self.is_immutable != self.exceptions.iter().any(|exception| exception.matches(tag))
    }
}

/// Pattern of a filter. ECR's only wildcard is a star for any number of characters.
fn glob_of(filter: &ImageTagMutabilityExclusionFilter) -> Option<Glob> {
    match filter.filter_type() {
        ImageTagMutabilityExclusionFilterType::Wildcard => filter.filter().parse().ok(),
        _ => None,
    }
}

/// Answers about repositories, by registry and repository.
#[derive(Default)]
pub(crate) struct MutabilityCache(Mutex<HashMap<(String, String), SharedAnswer>>);

/// Answer that callers wait for; `None` until the first one.
type SharedAnswer = Arc<AsyncMutex<Option<Answer>>>;

struct Answer {
    mutability: TagMutability,
    asked_at: Instant,
}

impl MutabilityCache {
    /// The setting of a repository, by `request` if no answer of the last hour is known. One request at a time
    /// asks for a repository; concurrent callers wait and share the answer. A request that fails is logged,
    /// and gives [`TagMutability::MUTABLE`].
    pub(crate) async fn get(
        &self,
        registry: &str,
        repository: &str,
        request: impl Future<Output = Result<TagMutability, ProviderError>>,
    ) -> TagMutability {
        let key = (registry.to_owned(), repository.to_owned());
        let answer = Arc::clone(lock(&self.0).entry(key).or_default());
        let mut answer = answer.lock().await;
        if let Some(known) = answer.as_ref().filter(|known| known.asked_at.elapsed() < ANSWER_TTL) {
            return known.mutability.clone();
        }
        let asked_at = Instant::now();
        let mutability = request.await.unwrap_or_else(|error| {
            log(registry, repository, &error, answer.is_none());
            TagMutability::MUTABLE
        });
        *answer = Some(Answer { mutability: mutability.clone(), asked_at });
        mutability
    }
}

/// Logs a failed request; one that is denied only once for a repository.
fn log(registry: &str, repository: &str, error: &ProviderError, is_first: bool) {
    if is_first || error.kind != ErrorKind::Denied {
        let error = &error.message;
        tracing::debug!(
            registry,
            repository,
            error,
            "failed to ask whether tags can move; assuming they can"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn repository(mutability: &str, filters: &[&str]) -> Repository {
        let filters = filters.iter().map(|filter| {
            ImageTagMutabilityExclusionFilter::builder()
                .filter_type(ImageTagMutabilityExclusionFilterType::Wildcard)
                .filter(*filter)
                .build()
                .unwrap()
        });
        Repository::builder()
            .image_tag_mutability(mutability.into())
            .set_image_tag_mutability_exclusion_filters(Some(filters.collect()))
            .build()
    }

    #[test]
    fn exclusion_filters_turn_the_setting_around() {
        for (mutability, filters, tag, is_immutable) in [
            ("IMMUTABLE", &[][..], "v1", true),
            ("MUTABLE", &[], "v1", false),
            ("IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"], "v1", true),
            ("IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"], "latest", false),
            ("IMMUTABLE_WITH_EXCLUSION", &["latest", "dev-*"], "dev-7", false),
            ("MUTABLE_WITH_EXCLUSION", &["v*"], "v1", true),
            ("MUTABLE_WITH_EXCLUSION", &["v*"], "latest", false),
            ("IMMUTABLE_SINCE_2030", &[], "v1", false),
        ] {
            let found = TagMutability::of(&repository(mutability, filters)).is_immutable(tag);
            assert_eq!(found, is_immutable, "{mutability} {filters:?} {tag}");
        }
    }

    #[test]
    fn unknown_exclusion_filter_makes_every_tag_mutable() {
        let filter = ImageTagMutabilityExclusionFilter::builder().filter_type("REGEX".into()).filter("v.*");
        let repository = Repository::builder()
            .image_tag_mutability(ImageTagMutability::ImmutableWithExclusion)
            .image_tag_mutability_exclusion_filters(filter.build().unwrap());
        assert_eq!(TagMutability::of(&repository.build()), TagMutability::MUTABLE);
    }

    #[tokio::test]
    async fn repository_is_asked_for_once_an_hour() {
        let (cache, requests) = (MutabilityCache::default(), AtomicUsize::new(0));
        let ask = async |repository: &str, is_denied: bool| {
            let request = async {
                requests.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                if is_denied {
                    return Err(ProviderError { message: "denied".to_owned(), kind: ErrorKind::Denied });
                }
                Ok(TagMutability { is_immutable: true, exceptions: Vec::new() })
            };
            cache.get("registry", repository, request).await.is_immutable("v1")
        };
        let answers = futures::future::join_all((0..5).map(|_| ask("app", false))).await;
        assert_eq!(answers, [true; 5]);
        for _ in 0..2 {
            assert!(!ask("other", true).await);
        }
        assert_eq!(requests.load(Ordering::Relaxed), 2);
    }
}
