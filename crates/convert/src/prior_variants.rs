//! Layers of earlier variants in the target, found by the annotations that name their source layers.
//!
//! Every client with push rights can write such annotations, so they are a hint and no more: see
//! [`reuse`](crate::reuse).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use zstart_codec::without_method;
use zstart_core::variant::VariantTag;
use zstart_core::{Digest, Tag, keys};

use crate::converted_layer::BlobInfo;
use crate::error::Error;
use crate::publish::VariantTagging;
use crate::search::TAGS_MAX;
use zstart_oci::{Document, ImageManifest, RawManifest};
use zstart_registry::{ErrorKind, ManifestKey, Store, TagListing};

/// Layers of fewer bytes than this in all are converted sooner than found: reading a list of tags and a few
/// manifests takes some tenths of a second, in which one core converts as much.
const MIN_SEARCH_BYTES: u64 = 4 << 20;
/// Highest number of manifests and indexes that are read.
pub(crate) const MANIFESTS_MAX: usize = 16;

/// Finds layers that earlier variants in `target` claim to have made of `sources` (digests and sizes) with
/// these settings. An error only means that fewer are found.
pub(crate) async fn find_reusable_layers(
    target: &dyn Store,
    tagging: VariantTagging<'_>,
    settings: &str,
    sources: &[(Digest, u64)],
) -> HashMap<Digest, BlobInfo> {
    let mut search = Search {
        target,
        settings,
        missing: sources.iter().cloned().collect(),
        found: HashMap::new(),
        manifests_left: MANIFESTS_MAX,
    };
    if search.is_worthwhile()
        && let Err(error) = search.run(tagging).await
    {
        tracing::debug!(error = error.chain(), "failed to search earlier variants for layers");
    }
    search.found
}

struct Search<'a> {
    target: &'a dyn Store,
    /// Settings of the conversion. Their method doesn't count.
    settings: &'a str,
    /// Source layers without a match so far, and their sizes.
    missing: HashMap<Digest, u64>,
    found: HashMap<Digest, BlobInfo>,
    manifests_left: usize,
}

impl Search<'_> {
    fn is_worthwhile(&self) -> bool {
        self.manifests_left > 0 && self.missing.values().sum::<u64>() >= MIN_SEARCH_BYTES
    }

    async fn run(&mut self, tagging: VariantTagging<'_>) -> Result<(), Error> {
        let tags = match tagging.listing() {
            Some(TagListing::Read(tags)) => tags.clone(),
            Some(TagListing::Refused(_)) => return Ok(()),
            None => self.target.tags(TAGS_MAX).await?,
        };
        for tag in rank_tags(tags, tagging.neighbourhood()) {
            if !self.is_worthwhile() {
                return Ok(());
            }
            self.search(ManifestKey::Tag(&tag)).await?;
        }
        Ok(())
    }

    /// Searches one variant.
    async fn search(&mut self, key: ManifestKey<'_>) -> Result<(), Error> {
        match self.read(key).await? {
            Some(Document::Manifest(manifest)) => self.collect(&manifest),
            Some(Document::Index(index)) => {
                for entry in &index.entries {
                    let annotations = entry.descriptor.annotations().unwrap_or_default();
                    if !self.is_worthwhile() || !annotations.contains_key(keys::SOURCE_DIGEST) {
                        continue;
                    }
                    let key = ManifestKey::Digest(entry.descriptor.digest());
                    if let Some(Document::Manifest(manifest)) = self.read(key).await? {
                        self.collect(&manifest);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn read(&mut self, key: ManifestKey<'_>) -> Result<Option<Document>, Error> {
        if self.manifests_left == 0 {
            return Ok(None);
        }
        self.manifests_left -= 1;
        let found: Option<RawManifest> = match self.target.find_manifest(key).await {
            Ok(found) => found,
            // Others may be readable.
            Err(error) if error.kind == ErrorKind::Denied => None,
            Err(error) => return Err(error.into()),
        };
        // An unreadable manifest is no variant of zstart's.
        Ok(found.and_then(|raw| raw.read().ok()))
    }

    fn collect(&mut self, manifest: &ImageManifest) {
        let annotations = manifest.annotations().unwrap_or_default();
        // Another level gives a layer of another size, which its user chose.
        let settings = annotations.get(keys::SETTINGS).map(String::as_str).map(without_method);
        if settings != Some(without_method(self.settings)) {
            return;
        }
        for layer in &manifest.layers {
            let made_of = layer.annotations().unwrap_or_default().remove(keys::LAYER_SOURCE_DIGEST);
            let Some(source) = made_of.and_then(|digest| digest.parse::<Digest>().ok()) else { continue };
            if self.missing.remove(&source).is_some() {
                self.found.insert(source, BlobInfo { digest: layer.digest().clone(), size: layer.size() });
            }
        }
    }
}

/// Sorts the tags of variants by how many layers they probably share with the variants of one source, of whose
/// tags `own` is the start: these first, then their neighbours in version order, two earlier ones for each later
/// one, since an earlier version is more often of the same line. Variants that are named by digest have no
/// version: they are last, unless `own` is one.
pub(crate) fn rank_tags(tags: Vec<Tag>, own: &Tag) -> Vec<Tag> {
    let has_version = |tag: &Tag| VariantTag::parse(tag).is_some_and(|parts| parts.stem.is_some());
    let is_own = |tag: &Tag| tag.as_str().starts_with(own.as_str());
    let mut seen = HashSet::new();
    let mut variants: Vec<Tag> = tags.into_iter().filter(|tag| VariantTag::parse(tag).is_some()).collect();
    variants.retain(|tag| seen.insert(tag.clone()));
    variants.sort_by(|one, other| compare_versions(one.as_str(), other.as_str()));
    let (mut ranked, others): (Vec<Tag>, Vec<Tag>) = variants.into_iter().partition(is_own);
    let (mut versions, digests): (Vec<Tag>, Vec<Tag>) =
        others.into_iter().partition(|tag| has_version(tag) == has_version(own));
    let after =
        versions.partition_point(|tag| compare_versions(tag.as_str(), own.as_str()) == Ordering::Less);
    let later = versions.split_off(after);
    let (mut before, mut after) = (versions.into_iter().rev(), later.into_iter());
    loop {
        let next: Vec<Tag> = before.by_ref().take(2).chain(after.next()).collect();
        if next.is_empty() {
            break;
        }
        ranked.extend(next);
    }
    ranked.extend(digests);
    ranked
}

/// Compares versions: runs of digits are numbers, so v1.9 is less than v1.10.
fn compare_versions(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let (left, right) = (next_run(&mut one), next_run(&mut other));
        let numbers = left.starts_with(is_digit) && right.starts_with(is_digit);
        let (left_digits, right_digits) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        let by_number = left_digits.len().cmp(&right_digits.len()).then(left_digits.cmp(right_digits));
        // If only leading zeros differ, their number decides.
        let order = if numbers { by_number.then(left.len().cmp(&right.len())) } else { left.cmp(right) };
        if order != Ordering::Equal || left.is_empty() {
            return order;
        }
    }
}

/// Splits a run of digits, or of other characters, off the front.
fn next_run<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(is_digit);
    let end = text.find(|character| is_digit(character) != digits).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(names: &[&str]) -> Vec<Tag> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn variants_are_ranked_by_distance_in_version_order() {
        let there = tags(&[
            "v1.2-zstd-aaaaaaaaaaaa",
            "sha256-aaaaaaaaaaaa-zstd-01234567",
            "v1.11-zstd-aaaaaaaaaaaa",
            "v1.9-zstd-aaaaaaaaaaaa",
            "v1.10-zstd-bbbbbbbbbbbb-01234567",
            "v1.10-zstd-bbbbbbbbbbbb",
            "v1.10",
            "latest",
            "v2.0-zstd-aaaaaaaaaaaa",
            "v1.10-zstd-aaaaaaaaaaaa",
        ]);
        let own = "v1.10-zstd-bbbbbbbbbbbb".parse().unwrap();
        let ranked: Vec<String> = rank_tags(there, &own).iter().map(ToString::to_string).collect();
        assert_eq!(
            ranked,
            [
                "v1.10-zstd-bbbbbbbbbbbb",
                "v1.10-zstd-bbbbbbbbbbbb-01234567",
                "v1.10-zstd-aaaaaaaaaaaa",
                "v1.9-zstd-aaaaaaaaaaaa",
                "v1.11-zstd-aaaaaaaaaaaa",
                "v1.2-zstd-aaaaaaaaaaaa",
                "v2.0-zstd-aaaaaaaaaaaa",
                "sha256-aaaaaaaaaaaa-zstd-01234567",
            ]
        );
    }

    #[test]
    fn version_order_is_total_and_numeric() {
        let ordered =
            ["", "1", "01", "2", "10", "010", "99999999999999999999999", "a", "a1", "a1b", "a2", "b"];
        for (index, one) in ordered.iter().enumerate() {
            for (other_index, other) in ordered.iter().enumerate() {
                let expected = index.cmp(&other_index);
                assert_eq!(compare_versions(one, other), expected, "{one:?} {other:?}");
            }
        }
    }
}
