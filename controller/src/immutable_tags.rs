//! Tags that can't move, so that a look at them finds nothing new.

use zstart_core::{Glob, Reference};

use crate::credentials::OwnCredentials;

/// Knowledge about tags that can't move.
#[derive(Debug)]
pub(crate) struct ImmutableTags {
    /// The setting `immutableTags`: patterns of `registry/repository:tag`.
    patterns: Vec<Glob>,
}

impl ImmutableTags {
    pub(crate) fn new(patterns: Vec<Glob>) -> Self {
        Self { patterns }
    }

    /// Returns whether `source` is a tag that can't move: a pattern matches, or Amazon ECR says so. Only the
    /// controller's own identity asks ECR, for the registries that an administrator listed.
    pub(crate) async fn contains(&self, source: &Reference, own: &OwnCredentials) -> bool {
        let (Some(tag), None) = (source.tag(), source.digest()) else { return false };
        let text = source.to_string();
        if self.patterns.iter().any(|pattern| pattern.matches(&text)) {
            return true;
        }
        match own.ecr_identity(source.registry()) {
            Some(identity) => {
                identity.is_immutable(source.registry(), source.repository(), tag.as_str()).await
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn patterns_match_tags_and_no_digests() {
        let tags = ImmutableTags::new(vec!["docker.io/library/*:?.*".parse().unwrap()]);
        let digest = zstart_core::Digest::sha256_of(b"");
        for (source, is_immutable) in [
            ("nginx:1.27", true),
            ("nginx:latest", false),
            ("team/app:1.27", false),
            (&*format!("nginx@{digest}"), false),
        ] {
            let source: Reference = source.parse().unwrap();
            let found = tags.contains(&source, &OwnCredentials::default()).await;
            assert_eq!(found, is_immutable, "{source}");
        }
    }
}
