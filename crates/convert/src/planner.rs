//! Phase *plan*: reads the manifests and configs that the decisions of [`crate::plan`] need.

use futures::TryStreamExt as _;
use zstart_codec::LayerError;
use zstart_core::{Digest, Platform};
use zstart_oci::{
    CONFIG_MAX, ConfigError, Descriptor, Document, ImageConfig, ImageIndex, ImageManifest, IndexEntry,
    ManifestError, RawManifest, soci,
};
use zstart_registry::{ManifestKey, RegistryError, Store};

use crate::error::{Error, ErrorClass};
use crate::plan::{
    EntryPlan, KeepReason, ManifestPlan, Plan, Refusal, Shape, drop_attestations, keep_entry, require_image,
    require_index,
};
use crate::resolve::Resolved;
use crate::settings::Settings;

/// A manifest without a plan.
enum Unplanned {
    /// zstart leaves the image alone.
    Refused(Refusal),
    /// Reading failed.
    Failed(Error),
}

/// Reads the manifests and configs of an image, and decides what happens to each.
///
/// An image that zstart leaves alone is [`Error::Refused`], with the reason. Entries of an index that can't be
/// converted are kept; the index is refused only if no entry can be converted.
pub async fn plan(source: &dyn Store, resolved: &Resolved, settings: &Settings) -> Result<Plan, Error> {
    let raw = resolved.manifest().clone();
    let planned = match raw.read()? {
        Document::Manifest(manifest) => plan_single(source, &raw, manifest, settings).await,
        Document::Index(index) => plan_index(source, index, settings).await,
    };
    match planned {
        Ok(shape) => Ok(Plan { source: raw, shape }),
        Err(Unplanned::Failed(error)) => Err(error),
        Err(Unplanned::Refused(refusal)) => {
            Err(Error::Refused { reference: format!("{}@{}", source.location(), raw.digest), refusal })
        }
    }
}

async fn plan_single(
    source: &dyn Store,
    raw: &RawManifest,
    manifest: ImageManifest,
    settings: &Settings,
) -> Result<Shape, Unplanned> {
    let planned = plan_manifest(source, raw.clone(), manifest, None).await?;
    if !settings.platforms.contains(&planned.platform) {
        return Err(Refusal::NoSuchPlatform { found: vec![planned.platform] }.into());
    }
    require_no_soci(source, &raw.digest).await?;
    Ok(Shape::Single(Box::new(planned)))
}

async fn plan_index(source: &dyn Store, index: ImageIndex, settings: &Settings) -> Result<Shape, Unplanned> {
    require_index(&index)?;
    let mut entries = Vec::with_capacity(index.entries.len());
    for entry in &index.entries {
        entries.push(match keep_entry(entry, &settings.platforms) {
            Some(reason) => EntryPlan::Keep(reason),
            None => plan_entry(source, entry, settings).await?,
        });
    }
    drop_attestations(&index, &mut entries);
    if entries.iter().any(|entry| matches!(entry, EntryPlan::Convert(_))) {
        Ok(Shape::Index { index, entries })
    } else {
        Err(refusal_of(&index, &entries).into())
    }
}

/// The plan for one entry. An entry that is refused or missing is kept: others of the index may be convertible.
async fn plan_entry(source: &dyn Store, entry: &IndexEntry, settings: &Settings) -> Result<EntryPlan, Error> {
    Ok(match plan_entry_manifest(source, entry).await {
        Ok(planned) if settings.platforms.contains(&planned.platform) => {
            EntryPlan::Convert(Box::new(planned))
        }
        Ok(_) => EntryPlan::Keep(KeepReason::NotSelected),
        Err(Unplanned::Refused(refusal)) => EntryPlan::Keep(KeepReason::Refused(refusal)),
        Err(Unplanned::Failed(error)) => match error.class() {
            ErrorClass::Refused | ErrorClass::NotFound => {
                EntryPlan::Keep(KeepReason::Refused(Refusal::Unreadable { reason: error.chain() }))
            }
            _ => return Err(error),
        },
    })
}

async fn plan_entry_manifest(source: &dyn Store, entry: &IndexEntry) -> Result<ManifestPlan, Unplanned> {
    let raw = source.manifest(ManifestKey::Digest(entry.descriptor.digest())).await?;
    let Document::Manifest(manifest) = raw.read()? else { return Err(Refusal::NestedIndex.into()) };
    let digest = raw.digest.clone();
    let planned = plan_manifest(source, raw, manifest, entry.platform.as_ref()).await?;
    require_no_soci(source, &digest).await?;
    Ok(planned)
}

/// The plan for one manifest, which takes its config. `listed` is the platform that an index names.
async fn plan_manifest(
    source: &dyn Store,
    raw: RawManifest,
    manifest: ImageManifest,
    listed: Option<&Platform>,
) -> Result<ManifestPlan, Unplanned> {
    require_image(&manifest)?;
    let config = read_config(source, &manifest.config).await?;
    Ok(ManifestPlan::new(raw, manifest, &config, listed)?)
}

/// Refuses an image with a SOCI index that names the image as its subject. (An index that the manifest names
/// is known without a request.)
async fn require_no_soci(source: &dyn Store, digest: &Digest) -> Result<(), Unplanned> {
    let found = source.referrers(digest, soci::ARTIFACT_TYPE_V1).await?;
    match found.first() {
        Some(index) => Err(Refusal::Soci { index: index.digest().to_string() }.into()),
        None => Ok(()),
    }
}

/// The platform that an image's config names.
pub async fn platform_of(source: &dyn Store, manifest: &ImageManifest) -> Result<Option<Platform>, Error> {
    if require_image(manifest).is_err_and(|refusal| refusal != Refusal::IsVariant) {
        return Ok(None);
    }
    Ok(read_config(source, &manifest.config).await?.platform)
}

/// Reads a config and compares it with its digest.
async fn read_config(source: &dyn Store, descriptor: &Descriptor) -> Result<ImageConfig, Error> {
    let digest = descriptor.digest();
    let unusable = |source| Error::Config { digest: digest.clone(), source };
    if descriptor.size() > CONFIG_MAX {
        return Err(unusable(ConfigError::TooLarge { size: descriptor.size() }));
    }
    let mut content = source.blob(digest).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = content.try_next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > descriptor.size() {
            break;
        }
    }
    if !digest.matches(&bytes) {
        let (found_size, expected_size) = (bytes.len() as u64, descriptor.size());
        let found = Digest::sha256_of(&bytes);
        let source = LayerError::Digest { found, found_size, expected_size };
        return Err(Error::Blob { digest: digest.clone(), source });
    }
    ImageConfig::parse(&bytes).map_err(unusable)
}

/// The refusal of an index without a convertible entry: the first one of an entry, or that no platform was
/// selected.
fn refusal_of(index: &ImageIndex, entries: &[EntryPlan]) -> Refusal {
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

impl From<Refusal> for Unplanned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Unplanned {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<RegistryError> for Unplanned {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ManifestError> for Unplanned {
    fn from(error: ManifestError) -> Self {
        Self::Failed(error.into())
    }
}
