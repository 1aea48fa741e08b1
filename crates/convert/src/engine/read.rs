//! Phases *resolve* and *plan*: what the source is, and what is to be done with it.

use futures::TryStreamExt as _;
use zstart_core::{Digest, Platform};

use crate::error::{Error, ErrorClass};
use crate::plan::{
    EntryPlan, KeepReason, ManifestPlan, Plan, Refusal, Shape, drop_attestations, keep_entry, require_image,
    require_index,
};
use crate::settings::Settings;
use zstart_codec::LayerError;
use zstart_oci::CONFIG_MAX;
use zstart_oci::soci;
use zstart_oci::{
    ConfigError, Descriptor, Document, ImageConfig, ImageIndex, ImageManifest, IndexEntry, RawManifest,
};
use zstart_registry::{ManifestKey, Repository};

/// What a reference means now.
#[derive(Clone, Debug)]
pub struct Resolved {
    manifest: RawManifest,
}

impl Resolved {
    /// The digest of the manifest or index.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// The manifest or index itself.
    pub fn manifest(&self) -> &RawManifest {
        &self.manifest
    }
}

/// Looks up what a tag or reference means: one request.
pub async fn resolve<'a>(
    source: &dyn Repository,
    key: impl Into<ManifestKey<'a>>,
) -> Result<Resolved, Error> {
    Ok(Resolved { manifest: source.manifest(key.into()).await? })
}

/// Looks up which digest a tag or reference means, and no more.
pub async fn digest_of<'a>(
    source: &dyn Repository,
    key: impl Into<ManifestKey<'a>>,
) -> Result<Digest, Error> {
    match key.into() {
        ManifestKey::Tag(tag) => Ok(source.tag_digest(tag).await?),
        ManifestKey::Digest(digest) => Ok(source.manifest(ManifestKey::Digest(digest)).await?.digest),
    }
}

/// Reads the manifests and configs that are needed and decides what is done with each.
///
/// An image that zstart leaves alone is [`Error::Refused`], with the reason. Of an index, what can't
/// be converted is kept as it is; it is refused only where nothing is left.
pub async fn plan(source: &dyn Repository, resolved: &Resolved, settings: &Settings) -> Result<Plan, Error> {
    let raw = resolved.manifest.clone();
    let refused =
        |refusal| Error::Refused { reference: format!("{}@{}", source.location(), raw.digest), refusal };
    let shape = match raw.read()? {
        Document::Manifest(manifest) => {
            let planned = plan_manifest(source, raw.clone(), manifest).await?.map_err(refused)?;
            if !settings.platforms.contains(&planned.platform) {
                return Err(refused(Refusal::NoSuchPlatform { found: vec![planned.platform] }));
            }
            require_no_soci(source, &raw.digest).await?.map_err(refused)?;
            Shape::Single(Box::new(planned))
        }
        Document::Index(index) => {
            require_index(&index).map_err(refused)?;
            let entries = plan_entries(source, &index, settings).await?;
            if !entries.iter().any(|entry| matches!(entry, EntryPlan::Convert(_))) {
                return Err(refused(why_nothing_is_left(&index, &entries)));
            }
            Shape::Index { index, entries }
        }
    };
    Ok(Plan { source: raw, shape })
}

async fn plan_entries(
    source: &dyn Repository,
    index: &ImageIndex,
    settings: &Settings,
) -> Result<Vec<EntryPlan>, Error> {
    let mut entries = Vec::with_capacity(index.entries.len());
    for entry in &index.entries {
        if let Some(reason) = keep_entry(entry, &settings.platforms) {
            entries.push(EntryPlan::Keep(reason));
            continue;
        }
        let planned = match plan_entry(source, entry).await {
            Ok(planned) => planned,
            // Others of the same index may be in order.
            Err(error) if matches!(error.class(), ErrorClass::Refused | ErrorClass::NotFound) => {
                Err(Refusal::Unreadable { reason: error.chain() })
            }
            Err(error) => return Err(error),
        };
        entries.push(match planned {
            Ok(manifest) if !settings.platforms.contains(&manifest.platform) => {
                EntryPlan::Keep(KeepReason::NotSelected)
            }
            Ok(manifest) => EntryPlan::Convert(Box::new(manifest)),
            Err(refusal) => EntryPlan::Keep(KeepReason::Refused(refusal)),
        });
    }
    drop_attestations(index, &mut entries);
    Ok(entries)
}

async fn plan_entry(
    source: &dyn Repository,
    entry: &IndexEntry,
) -> Result<Result<ManifestPlan, Refusal>, Error> {
    let raw = source.manifest(ManifestKey::Digest(entry.descriptor.digest())).await?;
    let Document::Manifest(manifest) = raw.read()? else { return Ok(Err(Refusal::NestedIndex)) };
    let digest = raw.digest.clone();
    let mut planned = match plan_manifest(source, raw, manifest).await? {
        Ok(planned) => planned,
        Err(refusal) => return Ok(Err(refusal)),
    };
    // Container runtimes choose by what the index says, where it says something.
    if let Some(platform) = &entry.platform {
        planned.platform = platform.clone();
    }
    Ok(require_no_soci(source, &digest).await?.map(|()| planned))
}

/// Refuses an image whose SOCI index names it as its subject. One that its manifest names is known
/// without a request.
async fn require_no_soci(source: &dyn Repository, digest: &Digest) -> Result<Result<(), Refusal>, Error> {
    let found = source.referrers(digest, soci::ARTIFACT_V1).await?;
    Ok(match found.first() {
        Some(index) => Err(Refusal::Soci { index: index.digest().to_string() }),
        None => Ok(()),
    })
}

/// One manifest with its config; the inner error leaves it alone.
async fn plan_manifest(
    source: &dyn Repository,
    raw: RawManifest,
    manifest: ImageManifest,
) -> Result<Result<ManifestPlan, Refusal>, Error> {
    if let Err(refusal) = require_image(&manifest) {
        return Ok(Err(refusal));
    }
    let config = read_config(source, &manifest.config).await?;
    Ok(ManifestPlan::new(raw, manifest, &config))
}

/// The platform that an image's config names.
pub async fn platform_of(
    source: &dyn Repository,
    manifest: &ImageManifest,
) -> Result<Option<Platform>, Error> {
    if require_image(manifest).is_err_and(|refusal| refusal != Refusal::IsVariant) {
        return Ok(None);
    }
    Ok(read_config(source, &manifest.config).await?.platform)
}

/// A config, compared with its digest.
async fn read_config(source: &dyn Repository, descriptor: &Descriptor) -> Result<ImageConfig, Error> {
    let digest = descriptor.digest();
    let failed = |source| Error::Blob { digest: digest.clone(), source };
    let unusable = |source| Error::Config { digest: digest.clone(), source };
    if descriptor.size() > CONFIG_MAX {
        return Err(unusable(ConfigError::TooLarge { size: descriptor.size() }));
    }
    let mut content = source.blob(digest).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = content.try_next().await.map_err(|source| failed(LayerError::Read { source }))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > descriptor.size() {
            break;
        }
    }
    if !digest.matches(&bytes) {
        let (found_size, expected_size) = (bytes.len() as u64, descriptor.size());
        let found = Digest::sha256_of(&bytes);
        return Err(failed(LayerError::Digest { found, found_size, expected_size }));
    }
    ImageConfig::parse(&bytes).map_err(unusable)
}

/// The reason to name for an index of which nothing can be converted: the first that blames the
/// image, else that no platform was asked for.
fn why_nothing_is_left(index: &ImageIndex, entries: &[EntryPlan]) -> Refusal {
    let refusal = entries.iter().find_map(|entry| match entry {
        EntryPlan::Keep(KeepReason::Refused(refusal)) => Some(refusal.clone()),
        EntryPlan::Keep(KeepReason::NotSelected | KeepReason::NoPlatform)
        | EntryPlan::Convert(_)
        | EntryPlan::Drop => None,
    });
    refusal.unwrap_or_else(|| Refusal::NoSuchPlatform {
        found: index.entries.iter().filter_map(|entry| entry.platform.clone()).collect(),
    })
}
