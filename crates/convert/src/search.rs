//! Search for variants of a source under the names that zstart derives.
//!
//! A name contains a hash of the variant's content, so a search that knows no name reads the repository's list
//! of tags. Registries that refuse the list lose reuse of whole variants, and no more: layers are converted
//! again, and a push of an equal variant to its own tag is no change.

use zstart_codec::{LayerConverter as _, without_method};
use zstart_core::{Platform, Reference, Tag, VariantNames, keys};
use zstart_oci::{Document, RawManifest};
use zstart_registry::{ErrorKind, ManifestKey, RegistryError, Store, TagListing};

use crate::error::Error;
use crate::plan::{EntryPlan, KeepReason, Plan, Shape};
use crate::prior_variants::{MANIFESTS_MAX, rank_tags};
use crate::settings::Settings;
use crate::variant::{ComparedVariant, Comparison, compare, converted_entry, find_defect};
use crate::variant_image::VariantImage;

/// Highest number of tags that are read. In a larger repository a variant may not be found.
pub(crate) const TAGS_MAX: usize = 20_000;
/// Highest number of variants of one source that are read: a dozen sets of platforms and levels. Every client
/// with push rights can write more tags of that form.
const CANDIDATES_MAX: usize = 16;

/// Inputs of a search.
#[derive(Clone, Copy)]
pub struct VariantSearch<'a> {
    /// Repository of the variant.
    pub target: &'a dyn Store,
    /// Names of the source's variants.
    pub names: &'a VariantNames,
    /// Tag and digest of a variant that is known already. If that tag suffices, no tags are listed.
    pub known: Option<&'a Reference>,
    /// Settings of the conversion.
    pub settings: &'a Settings,
    /// Variants that suffice.
    pub accepts: AcceptedSettings,
}

/// Settings of the variants that suffice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcceptedSettings {
    /// Any: a finished variant is worth more than a few percent of size.
    Any,
    /// Those of the conversion. Other variants are looked at, because a new one must have their platforms.
    Current,
}

/// Variants of a source.
#[derive(Debug)]
pub struct FoundVariants {
    /// The best whole variant that suffices: of those with the most platforms of the plan, one with the settings of
    /// the search.
    pub best: Option<NamedVariant>,
    /// The known tag names the known digest, and the variant is whole: everything that it names exists.
    pub known_is_whole: bool,
    /// Platforms outside the plan that variants of the source have. A new variant must have them too, so that
    /// it can take the place of each.
    pub other_platforms: Vec<Platform>,
    /// The repository's tags; `None` if the search didn't need them.
    pub listing: Option<TagListing>,
}

/// A whole variant and its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedVariant {
    /// Its tag.
    pub tag: Tag,
    /// The variant, with those of its platforms that the plan selects.
    pub image: VariantImage,
    /// The variant has every platform of the plan.
    pub is_complete: bool,
}

/// A variant that was read as far as its tag's manifest or index.
struct Candidate {
    tag: Tag,
    raw: RawManifest,
    rank: Rank,
    other_platforms: Vec<Platform>,
    checked: Checked,
}

/// Result of a candidate's check.
enum Checked {
    NotYet,
    /// The variant, if it is whole.
    As(Option<NamedVariant>),
}

/// Order of candidates, the best last. Tags differ, so the order is total.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// Platforms of the plan.
    wanted: usize,
    has_settings: bool,
    /// Platforms of the source.
    platforms: usize,
    /// Only tags with a content hash are never moved.
    is_final: bool,
    tag: String,
}

/// Searches the variants of a plan's source.
pub async fn find_variants(search: VariantSearch<'_>, plan: &Plan) -> Result<FoundVariants, Error> {
    let VariantSearch { target, names, known, settings, accepts } = search;
    let settings = settings.converter().settings();
    let settings = without_method(&settings);
    let mut candidates = Vec::new();
    let mut found =
        FoundVariants { best: None, known_is_whole: false, other_platforms: Vec::new(), listing: None };
    let suffices = |rank: &Rank| accepts == AcceptedSettings::Any || rank.has_settings;
    let known_tag = known.and_then(Reference::tag);
    if let Some(tag) = known_tag
        && let Some(candidate) = read(target, names, tag, plan, settings).await?
    {
        let checked = check(target, &candidate, plan).await?;
        let is_unmoved = known.and_then(Reference::digest) == Some(&candidate.raw.digest);
        found.known_is_whole = checked.is_some() && is_unmoved;
        if let Some(best) = &checked
            && best.is_complete
            && suffices(&candidate.rank)
        {
            found.best = checked;
            return Ok(found);
        }
        candidates.push(Candidate { checked: Checked::As(checked), ..candidate });
    }
    let listing = target.look_up_tags(TAGS_MAX).await?;
    let listed = match &listing {
        TagListing::Read(tags) => {
            let mut tags: Vec<&Tag> = tags.iter().filter(|tag| names.contains(tag)).collect();
            tags.sort();
            tags.dedup();
            tags
        }
        TagListing::Refused(_) => vec![names.first_form()],
    };
    for tag in listed.into_iter().filter(|tag| Some(*tag) != known_tag).take(CANDIDATES_MAX) {
        candidates.extend(read(target, names, tag, plan, settings).await?);
    }
    for platform in candidates.iter().flat_map(|candidate| &candidate.other_platforms) {
        if !found.other_platforms.contains(platform) {
            found.other_platforms.push(platform.clone());
        }
    }
    candidates.sort_by(|one, other| other.rank.cmp(&one.rank));
    let eligible = |candidate: &Candidate| candidate.rank.wanted > 0 && suffices(&candidate.rank);
    for candidate in candidates.into_iter().filter(eligible) {
        found.best = match candidate.checked {
            Checked::As(whole) => whole,
            Checked::NotYet => check(target, &candidate, plan).await?,
        };
        if found.best.is_some() {
            break;
        }
    }
    found.listing = Some(relevant(listing, names));
    Ok(found)
}

/// Keeps the tags that a conversion may need: those of the source, and the neighbours with layers to reuse. A
/// conversion may wait for hours, and a repository may have thousands of tags.
fn relevant(listing: TagListing, names: &VariantNames) -> TagListing {
    let TagListing::Read(tags) = listing else { return listing };
    let (mut own, others): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(|tag| names.contains(tag));
    own.extend(rank_tags(others, names.first_form()).into_iter().take(MANIFESTS_MAX));
    TagListing::Read(own)
}

/// Reads the manifest of a tag, and ranks it by what it claims. `None` if it is no variant of the plan's source,
/// or can't be read: then another variant may be readable, and a push never overwrites the tag.
async fn read(
    target: &dyn Store,
    names: &VariantNames,
    tag: &Tag,
    plan: &Plan,
    settings: &str,
) -> Result<Option<Candidate>, Error> {
    let raw = match target.find_manifest(ManifestKey::Tag(tag)).await {
        Ok(Some(raw)) => raw,
        Ok(None) => return Ok(None),
        Err(error) if is_refused(&error) || error.kind == ErrorKind::ContentMismatch => {
            tracing::debug!(%tag, error = error.chain(), "failed to look for a variant");
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    Ok(claims(&raw, plan).map(|claims| {
        let rank = Rank {
            wanted: claims.wanted,
            has_settings: claims.settings.as_deref().map(without_method) == Some(settings),
            platforms: claims.wanted + claims.other_platforms.len(),
            is_final: tag != names.first_form(),
            tag: tag.to_string(),
        };
        let other_platforms = claims.other_platforms;
        Candidate { tag: tag.clone(), raw, rank, other_platforms, checked: Checked::NotYet }
    }))
}

/// Returns whether the registry refuses to show a tag, with an answer of its own.
pub(crate) fn is_refused(error: &RegistryError) -> bool {
    match error.kind {
        ErrorKind::Denied => true,
        ErrorKind::Other => error.status.is_some_and(|status| (400..500).contains(&status)),
        ErrorKind::NotFound
        | ErrorKind::Unavailable
        | ErrorKind::RateLimited { .. }
        | ErrorKind::TagImmutable
        | ErrorKind::ContentMismatch => false,
    }
}

/// Claims of a manifest or index about its content.
struct Claims {
    /// Number of converted platforms of the plan.
    wanted: usize,
    /// Converted platforms that the plan doesn't select.
    other_platforms: Vec<Platform>,
    settings: Option<String>,
}

/// Claims of a manifest that says that it was made from the plan's source.
fn claims(raw: &RawManifest, plan: &Plan) -> Option<Claims> {
    let (mut annotations, wanted, other_platforms) = match (raw.read().ok()?, &plan.shape) {
        (Document::Manifest(manifest), Shape::Single(_)) => (manifest.annotations().ok()?, 1, Vec::new()),
        (Document::Index(index), Shape::Index { index: source, entries }) => {
            let (mut wanted, mut others) = (0, Vec::new());
            for (entry, plan) in source.entries.iter().zip(entries) {
                if converted_entry(&index, &entry.descriptor).is_none() {
                    continue;
                }
                match plan {
                    EntryPlan::Convert(_) => wanted += 1,
                    EntryPlan::Keep(KeepReason::NotSelected) => others.extend(entry.platform.clone()),
                    EntryPlan::Keep(_) | EntryPlan::Drop => {}
                }
            }
            (index.annotations().ok()?, wanted, others)
        }
        (Document::Manifest(_), Shape::Index { .. }) | (Document::Index(_), Shape::Single(_)) => return None,
    };
    let is_own =
        annotations.get(keys::SOURCE_DIGEST).map(String::as_str) == Some(plan.source.digest.as_str());
    is_own.then(|| Claims { wanted, other_platforms, settings: annotations.remove(keys::SETTINGS) })
}

/// Returns a candidate that is a variant of the plan's source, and is whole.
async fn check(
    target: &dyn Store,
    candidate: &Candidate,
    plan: &Plan,
) -> Result<Option<NamedVariant>, Error> {
    let tag = &candidate.tag;
    let incomplete = |found: String| {
        tracing::warn!(location = target.location(), %tag, found, "the existing variant is incomplete");
    };
    let ComparedVariant { image, is_complete, .. } = match compare(target, &candidate.raw, plan).await? {
        Comparison::Variant(variant) => match find_defect(target, &variant).await? {
            Some(defect) => {
                incomplete(defect);
                return Ok(None);
            }
            None => *variant,
        },
        Comparison::Other(found) => {
            tracing::warn!(location = target.location(), %tag, found, "a variant's tag names another image");
            return Ok(None);
        }
    };
    Ok(Some(NamedVariant { tag: tag.clone(), image, is_complete }))
}
