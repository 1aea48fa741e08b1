//! Layers of earlier variants in the same repository, found by the annotations that name what they were
//! made of.
//!
//! Whoever may push to a repository can write such annotations, so they are a hint of what to read, no
//! more: see [`reuse`](super::reuse).

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use zstart_core::{Digest, Tag, keys, variant};

use super::layers::Written;
use crate::error::Error;
use zstart_oci::{Document, ImageManifest, RawManifest};
use zstart_registry::{ManifestKey, Repository};

/// Layers that would take less time to convert than to look for, in bytes: reading a list of tags and a
/// few manifests takes some tenths of a second, in which one core converts as much.
const WORTH_LOOKING: u64 = 4 << 20;
/// How many tags are read at most. Who has more has its neighbours among the first, or none.
const TAGS_MAX: usize = 20_000;
/// How many manifests and indexes are read at most.
const DOCUMENTS_MAX: usize = 16;

/// What earlier variants in `target` were made of which layers are made of these, each with the layer
/// that stands for it. `wanted` are digests and sizes of source layers. Trouble is no error: then there
/// are fewer hints.
pub(super) async fn layers(
    target: &dyn Repository,
    own: &Tag,
    settings: &str,
    wanted: &[(Digest, u64)],
) -> HashMap<Digest, Written> {
    let mut search = Search {
        target,
        settings,
        missing: wanted.iter().cloned().collect(),
        found: HashMap::new(),
        documents_left: DOCUMENTS_MAX,
    };
    if search.is_worth_it()
        && let Err(error) = search.run(own).await
    {
        tracing::debug!(error = error.chain(), "could not look for layers of earlier variants");
    }
    search.found
}

struct Search<'a> {
    target: &'a dyn Repository,
    settings: &'a str,
    /// Source layers for which there is nothing yet, and their sizes.
    missing: HashMap<Digest, u64>,
    found: HashMap<Digest, Written>,
    documents_left: usize,
}

impl Search<'_> {
    fn is_worth_it(&self) -> bool {
        self.documents_left > 0 && self.missing.values().sum::<u64>() >= WORTH_LOOKING
    }

    async fn run(&mut self, own: &Tag) -> Result<(), Error> {
        for tag in nearest(self.target.tags(TAGS_MAX).await?, own) {
            if !self.is_worth_it() {
                return Ok(());
            }
            self.look_at(ManifestKey::Tag(&tag)).await?;
        }
        Ok(())
    }

    /// Takes what it can use of a variant.
    async fn look_at(&mut self, key: ManifestKey<'_>) -> Result<(), Error> {
        match self.read(key).await? {
            Some(Document::Manifest(manifest)) => self.take(&manifest),
            Some(Document::Index(index)) => {
                for entry in &index.entries {
                    let made_of = entry.descriptor.annotations().unwrap_or_default();
                    if !self.is_worth_it() || !made_of.contains_key(keys::SOURCE_DIGEST) {
                        continue;
                    }
                    let key = ManifestKey::Digest(entry.descriptor.digest());
                    if let Some(Document::Manifest(manifest)) = self.read(key).await? {
                        self.take(&manifest);
                    }
                }
            }
            None => {}
        }
        Ok(())
    }

    async fn read(&mut self, key: ManifestKey<'_>) -> Result<Option<Document>, Error> {
        if self.documents_left == 0 {
            return Ok(None);
        }
        self.documents_left -= 1;
        let found: Option<RawManifest> = self.target.manifest_if_there(key).await?;
        // What can't be read was made by somebody else.
        Ok(found.and_then(|raw| raw.read().ok()))
    }

    fn take(&mut self, manifest: &ImageManifest) {
        let annotations = manifest.annotations().unwrap_or_default();
        // Other settings give other bytes, and a conversion is to give the same ones each time.
        if annotations.get(keys::SETTINGS).map(String::as_str) != Some(self.settings) {
            return;
        }
        for layer in &manifest.layers {
            let made_of = layer.annotations().unwrap_or_default().remove(keys::LAYER_SOURCE_DIGEST);
            let Some(source) = made_of.and_then(|digest| digest.parse::<Digest>().ok()) else { continue };
            if self.missing.remove(&source).is_some() {
                self.found.insert(source, Written { digest: layer.digest().clone(), size: layer.size() });
            }
        }
    }
}

/// The tags of variants, those first that are likely to share the most layers with `own`: itself, then
/// its neighbours in the order of versions, of which the earlier ones are more often of the same line.
fn nearest(tags: Vec<Tag>, own: &Tag) -> Vec<Tag> {
    let mut variants: Vec<Tag> = tags.into_iter().filter(variant::is_variant_tag).collect();
    variants.sort_by(|one, other| in_order(one.as_str(), other.as_str()));
    let mut seen = HashSet::new();
    variants.retain(|tag| seen.insert(tag.clone()));
    let after = variants.partition_point(|tag| in_order(tag.as_str(), own.as_str()) == Ordering::Less);
    let later = variants.split_off(after);
    let (mut before, mut after) = (variants.into_iter().rev(), later.into_iter().peekable());
    let mut nearest: Vec<Tag> = after.next_if(|tag| tag == own).into_iter().collect();
    loop {
        let next: Vec<Tag> = before.by_ref().take(2).chain(after.next()).collect();
        if next.is_empty() {
            return nearest;
        }
        nearest.extend(next);
    }
}

/// The order of versions: runs of digits count as numbers, so that v1.9 comes before v1.10.
fn in_order(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one, other);
    loop {
        let (left, right) = (part(&mut one), part(&mut other));
        let numbers = left.starts_with(is_digit) && right.starts_with(is_digit);
        let (left_digits, right_digits) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
        let by_number = left_digits.len().cmp(&right_digits.len()).then(left_digits.cmp(right_digits));
        // Where only leading zeros differ, their number decides.
        let order = if numbers { by_number.then(left.len().cmp(&right.len())) } else { left.cmp(right) };
        if order != Ordering::Equal || left.is_empty() {
            return order;
        }
    }
}

/// Takes a run of digits, or of anything else, off the front.
fn part<'a>(text: &mut &'a str) -> &'a str {
    let digits = text.starts_with(is_digit);
    let end = text.find(|character| is_digit(character) != digits).unwrap_or(text.len());
    let (part, rest) = text.split_at(end);
    *text = rest;
    part
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
    fn neighbours_in_the_order_of_versions_come_first_and_what_is_no_variant_never() {
        let there = tags(&[
            "v1.2-zstd-aaaaaaaaaaaa",
            "v1.11-zstd-aaaaaaaaaaaa",
            "v1.9-zstd-aaaaaaaaaaaa",
            "v1.10-zstd-bbbbbbbbbbbb",
            "v1.10",
            "latest",
            "v2.0-zstd-aaaaaaaaaaaa",
            "v1.10-zstd-aaaaaaaaaaaa",
        ]);
        let own = "v1.10-zstd-bbbbbbbbbbbb".parse().unwrap();
        let nearest: Vec<String> = nearest(there, &own).iter().map(ToString::to_string).collect();
        assert_eq!(
            nearest,
            [
                "v1.10-zstd-bbbbbbbbbbbb",
                "v1.10-zstd-aaaaaaaaaaaa",
                "v1.9-zstd-aaaaaaaaaaaa",
                "v1.11-zstd-aaaaaaaaaaaa",
                "v1.2-zstd-aaaaaaaaaaaa",
                "v2.0-zstd-aaaaaaaaaaaa",
            ]
        );
    }

    #[test]
    fn digits_count_as_numbers_and_the_order_is_total() {
        let ordered =
            ["", "1", "01", "2", "10", "010", "99999999999999999999999", "a", "a1", "a1b", "a2", "b"];
        for (index, one) in ordered.iter().enumerate() {
            for (other_index, other) in ordered.iter().enumerate() {
                let expected = index.cmp(&other_index);
                assert_eq!(in_order(one, other), expected, "{one:?} {other:?}");
            }
        }
    }
}
