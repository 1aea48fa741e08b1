//! The source of a pulled image.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zstart_core::variant::{VariantTag, is_written_variant, require_source};
use zstart_core::{Reference, is_variant_of};

use super::PullKind;
use crate::demand::{Demand, Source};

/// Time for which the result of a search is believed.
const MAX_AGE: Duration = Duration::from_mins(1);
/// Largest number of remembered searches.
const MAX_FOUND: usize = 4_096;

/// A pulled image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PulledSource {
    pub(super) source: Source,
    pub(super) kind: PullKind,
    /// First twelve digits of the source digest, as a variant's tag has them.
    pub(super) variant_of: Option<Box<str>>,
}

/// Identity of an image that may become a source; `None` for a variant.
pub(super) fn possible_source(image: &str) -> Option<Reference> {
    let image: Reference = image.parse().ok()?;
    require_source(&image).ok().map(Reference::identity)
}

/// Finds sources. Remembers searches, because a search visits every source.
#[derive(Debug, Default)]
pub(super) struct Sources {
    found: HashMap<Reference, Option<Source>>,
    since: Option<Instant>,
}

impl Sources {
    /// Identifies an image by its name alone. Returns `None` unless a workload in an opted-in namespace runs the
    /// source.
    pub(super) fn identify(&mut self, image: &str, demand: &Demand, now: Instant) -> Option<PulledSource> {
        let image: Reference = image.parse().ok()?;
        if is_written_variant(&image) {
            let VariantTag { stem, source, .. } = VariantTag::parse(image.tag()?)?;
            let variant_of = Some(source.into());
            let named = stem.and_then(|stem| stem.parse().ok()).map(|tag| image.with_tag(tag));
            let named = named.filter(|named| is_variant_of(&image, named) && demand.is_in_demand(named));
            let source = named.map(Arc::new).or_else(|| self.search(image, demand, now))?;
            return Some(PulledSource { source, kind: PullKind::Variant, variant_of });
        }
        let source = require_source(&image).ok()?.identity();
        let source = demand.is_in_demand(&source).then(|| Arc::new(source))?;
        Some(PulledSource { source, kind: PullKind::Original, variant_of: None })
    }

    /// Searches the source of a variant whose tag doesn't spell the source out: one that was named by digest, or by
    /// a very long tag.
    fn search(&mut self, variant: Reference, demand: &Demand, now: Instant) -> Option<Source> {
        let is_old = self.since.is_none_or(|since| now.saturating_duration_since(since) >= MAX_AGE);
        if is_old || self.found.len() >= MAX_FOUND {
            self.found.clear();
            self.since = Some(now);
        }
        if let Some(found) = self.found.get(&variant) {
            return found.clone();
        }
        let found = demand.find_source(|source| is_variant_of(&variant, source));
        self.found.insert(variant, found.clone());
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use k8s_openapi::api::core::v1::Pod;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use zstart_core::variant::{ContentHash, VariantNames};
    use zstart_core::{Digest, keys};

    use super::*;
    use crate::demand::LookTime;

    fn demand(images: &[&str]) -> Demand {
        let (mut demand, now) = (Demand::default(), Instant::now());
        let time = LookTime { instant: now, clock: Timestamp::UNIX_EPOCH };
        for (name, label) in [("on", keys::ENABLED), ("off", keys::DISABLED)] {
            let namespace = json!({"metadata": {"name": name, "labels": {keys::REWRITE: label}}});
            let event = Event::Apply(serde_json::from_value(namespace).unwrap());
            let _ = demand.apply_namespace(event, &BTreeSet::new(), now);
        }
        let containers: Vec<_> = images.iter().map(|image| json!({"name": "app", "image": image})).collect();
        for (namespace, containers) in
            [("on", json!(containers)), ("off", json!([{"name": "a", "image": "r.example/off:v1"}]))]
        {
            let metadata = json!({"name": "web", "namespace": namespace});
            let pod = json!({"metadata": metadata, "spec": {"containers": containers}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let _ = demand.apply_workload(Event::Apply(pod), &BTreeSet::new(), time);
        }
        demand
    }

    fn variant_of(source: &str, digest: &Digest) -> String {
        let (source, image): (Reference, _) = (source.parse().unwrap(), Digest::sha256_of(b"variant"));
        let tag = VariantNames::of(&source, digest).tag(&ContentHash::of([&image], "zstart/3"));
        source.with_tag_and_digest(tag, image).to_string()
    }

    #[test]
    fn originals_and_variants_lead_to_sources_in_demand() {
        let digest = Digest::sha256_of(b"source");
        let (by_digest, long) =
            (format!("r.example/app@{digest}"), format!("r.example/app:{}", "v".repeat(120)));
        let demand = demand(&["r.example/app:v1", "nginx", &by_digest, &long]);
        let mut sources = Sources::default();
        let mut identify = |image: &str| {
            let pulled = sources.identify(image, &demand, Instant::now())?;
            Some((pulled.source.to_string(), pulled.kind, pulled.variant_of))
        };
        let (pinned, pin) = (format!("r.example/app:v1@{digest}"), Some(digest.short().into()));
        for (image, source) in [
            ("r.example/app:v1", "r.example/app:v1"),
            ("docker.io/library/nginx:latest", "docker.io/library/nginx:latest"),
            (&*pinned, &*by_digest),
            (&*long, &*long),
        ] {
            assert_eq!(identify(image), Some((source.to_owned(), PullKind::Original, None)), "{image}");
            let variant = variant_of(source, &digest);
            let expected = Some((source.to_owned(), PullKind::Variant, pin.clone()));
            for _ in 0..2 {
                assert_eq!(identify(&variant), expected, "{variant}");
            }
        }
        let other = Digest::sha256_of(b"other");
        for image in [
            "r.example/app:v2",
            "r.example/off:v1",
            "not an image",
            &variant_of("r.example/app:v2", &digest),
            &variant_of("r.example/off:v1", &digest),
            &variant_of(&format!("r.example/app@{other}"), &other),
        ] {
            assert_eq!(identify(image), None, "{image}");
        }
    }

    #[test]
    fn failed_search_is_repeated_after_a_minute() {
        let digest = Digest::sha256_of(b"source");
        let source = format!("r.example/app@{digest}");
        let (variant, now) = (variant_of(&source, &digest), Instant::now());
        let (before, after) = (demand(&[]), demand(&[&source]));
        let mut sources = Sources::default();
        assert_eq!(sources.identify(&variant, &before, now), None);
        assert_eq!(sources.identify(&variant, &after, now), None, "remembered");
        assert!(sources.identify(&variant, &after, now + MAX_AGE).is_some());
    }
}
