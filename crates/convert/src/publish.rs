//! Tags that zstart derives: written once, never moved.

use zstart_core::{Digest, Tag, VariantNames};
use zstart_oci::{RawManifest, media_type};
use zstart_registry::{ManifestKey, Store, TagListing};

use crate::error::Error;
use crate::execute::ensure_source_unchanged;
use crate::plan::Plan;
use crate::search::{NamedVariant, is_refused};
use crate::settings::TagChildren;
use crate::variant::{Comparison, compare, content_hash, find_listed};

/// Tag of a variant.
#[derive(Clone, Copy)]
pub enum VariantTagging<'a> {
    /// zstart derives the tag from the source and from what was made. The tag is never overwritten.
    Derived {
        /// Names of the source's variants.
        names: &'a VariantNames,
        /// The target's tags, if they were read before.
        listing: Option<&'a TagListing>,
    },
    /// A user chose the tag. The push overwrites it.
    Chosen(&'a Tag),
}

impl VariantTagging<'_> {
    /// The tag of this variant.
    pub(crate) fn tag(&self, variant: &RawManifest) -> Result<Tag, Error> {
        match self {
            Self::Derived { names, listing: _ } => Ok(names.tag(&content_hash(variant)?)),
            Self::Chosen(tag) => Ok((*tag).clone()),
        }
    }

    pub(crate) fn listing(&self) -> Option<&TagListing> {
        match self {
            Self::Derived { names: _, listing } => *listing,
            Self::Chosen(_) => None,
        }
    }

    /// A tag whose neighbours in version order are probably variants of neighbouring versions.
    pub(crate) fn neighbourhood(&self) -> &Tag {
        match self {
            Self::Derived { names, listing: _ } => names.first_form(),
            Self::Chosen(tag) => tag,
        }
    }

    /// Pushes a variant under its tag.
    pub(crate) async fn push(
        &self,
        target: &dyn Store,
        variant: &RawManifest,
        tag: &Tag,
    ) -> Result<(), Error> {
        let media_type = variant.media_type()?;
        match self {
            Self::Derived { names: _, listing } => {
                push_once(target, variant, &media_type, tag, *listing).await
            }
            Self::Chosen(_) => Ok(target.put_manifest(variant, &media_type, Some(tag)).await?),
        }
    }
}

/// Puts a variant of this plan that the repository already has under another name. Converts nothing. `None` if
/// `digest` is no such variant, or doesn't exist any more.
pub async fn adopt<'a>(
    repository: &dyn Store,
    key: impl Into<ManifestKey<'a>>,
    names: &VariantNames,
    plan: &Plan,
    digest: &Digest,
) -> Result<Option<NamedVariant>, Error> {
    let Some(manifest) = find_listed(repository, digest).await? else { return Ok(None) };
    let Comparison::Variant(found) = compare(repository, &manifest, plan).await? else { return Ok(None) };
    if !found.is_complete {
        return Ok(None);
    }
    let tag = names.tag(&content_hash(&manifest)?);
    ensure_source_unchanged(repository, key, &plan.source.digest).await?;
    push_once(repository, &manifest, &manifest.media_type()?, &tag, None).await?;
    Ok(Some(NamedVariant { tag, image: found.image, is_complete: true }))
}

/// Pushes a manifest under a tag that names nothing else. A tag that has the manifest already is left alone:
/// a repository with immutable tags refuses even an equal push.
async fn push_once(
    target: &dyn Store,
    manifest: &RawManifest,
    media_type: &str,
    tag: &Tag,
    listing: Option<&TagListing>,
) -> Result<(), Error> {
    match target.find_tag(tag).await {
        Ok(Some(found)) if found == manifest.digest => return Ok(()),
        Ok(Some(found)) => {
            let (location, digest) = (target.location().to_owned(), manifest.digest.clone());
            return Err(Error::TagTaken { location, tag: tag.clone(), digest, found });
        }
        Ok(None) => {}
        // Some registries refuse to show what doesn't exist. The tag's name says that it is the manifest's own,
        // but a tag in the list may hold another image.
        Err(error) if is_refused(&error) && !is_listed(listing, tag) => {
            tracing::debug!(%tag, error = error.chain(), "failed to look at a variant's tag");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(target.put_manifest(manifest, media_type, Some(tag)).await?)
}

fn is_listed(listing: Option<&TagListing>, tag: &Tag) -> bool {
    matches!(listing, Some(TagListing::Read(tags)) if tags.contains(tag))
}

/// Pushes a converted manifest that an index will list. With a tag of its own where the registry takes untagged
/// manifests for garbage: the tag that the manifest has as the variant of its own source, by digest.
///
/// distribution's `garbage-collect --delete-untagged` deletes the manifests of a tagged index
/// before version 3 (distribution/distribution#3178, mended by #4285).
pub(crate) async fn push_child(
    target: &dyn Store,
    manifest: &RawManifest,
    source: &Digest,
    tag_children: TagChildren,
) -> Result<(), Error> {
    let is_tagged = match tag_children {
        TagChildren::Auto => target.collects_untagged(),
        TagChildren::Always => true,
        TagChildren::Never => false,
    };
    if is_tagged {
        let tag = VariantNames::new(None, source).tag(&content_hash(manifest)?);
        match push_once(target, manifest, media_type::OCI_MANIFEST, &tag, None).await {
            Err(error @ Error::TagTaken { .. }) => {
                tracing::warn!(error = error.chain(), "pushing a manifest without a tag");
            }
            pushed => return pushed,
        }
    }
    Ok(target.put_manifest(manifest, media_type::OCI_MANIFEST, None).await?)
}
