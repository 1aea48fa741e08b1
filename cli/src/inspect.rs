//! `zstart inspect`.

use zstart_core::{Digest, keys};
use zstart_oci::{Document, ImageManifest, RawManifest, media_type};
use zstart_registry::{ManifestKey, Store};

use self::report::{ImageReport, LayerReport, ManifestReport, VariantOf};
use crate::args::InspectArguments;
use crate::error::CliError;
use crate::image_ref::SourceImage;
use crate::registries::Registries;

mod report;

/// Reads an image's manifests and prints a report.
pub(crate) async fn run(arguments: InspectArguments) -> Result<(), CliError> {
    let registries = Registries::new(&arguments.registry);
    let SourceImage { store: repository, selector } = arguments.image.open_source(&registries).await?;
    let resolved = zstart_convert::resolve(&*repository, selector.key()).await?;
    let report = inspect_image(&*repository, arguments.image.to_string(), resolved.manifest()).await?;
    arguments.output.format().print(&report, || {
        let lines = report.lines().into_iter();
        // The image's author chose some of the words, so control characters must not reach the terminal.
        lines.map(|line| line.replace(char::is_control, "\u{fffd}")).collect()
    })
}

async fn inspect_image(
    repository: &dyn Store,
    reference: String,
    top: &RawManifest,
) -> Result<ImageReport, CliError> {
    let mut manifests = Vec::new();
    let (media_type, annotations) = match top.read().map_err(zstart_convert::Error::from)? {
        Document::Manifest(manifest) => {
            let platform = zstart_convert::platform_of(repository, &manifest).await?;
            let platform = platform.map_or_else(|| "unknown".to_owned(), |platform| platform.to_string());
            manifests.push(inspect_manifest(repository, platform, &top.digest, &manifest).await?);
            (top.media_type(), manifest.annotations())
        }
        Document::Index(index) => {
            for entry in &index.entries {
                let platform =
                    entry.platform.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
                let digest = entry.descriptor.digest();
                let Some(raw) = repository.find_manifest(ManifestKey::Digest(digest)).await? else {
                    let note = "not in this repository";
                    manifests.push(ManifestReport::other(platform, digest.clone(), note));
                    continue;
                };
                match raw.read() {
                    Ok(Document::Manifest(manifest)) => {
                        manifests.push(inspect_manifest(repository, platform, &raw.digest, &manifest).await?);
                    }
                    Ok(Document::Index(_)) => {
                        manifests.push(ManifestReport::other(platform, raw.digest, "index"));
                    }
                    Err(error) => {
                        manifests.push(ManifestReport::other(platform, raw.digest, &error.to_string()));
                    }
                }
            }
            (top.media_type(), index.annotations())
        }
    };
    let annotations = annotations.unwrap_or_default();
    Ok(ImageReport {
        reference,
        digest: top.digest.clone(),
        media_type: media_type.map_err(zstart_convert::Error::from)?,
        variant_of: annotations.get(keys::SOURCE_DIGEST).and_then(|digest| digest.parse().ok()),
        settings: annotations.get(keys::SETTINGS).cloned(),
        manifests,
    })
}

async fn inspect_manifest(
    repository: &dyn Store,
    platform: String,
    digest: &Digest,
    manifest: &ImageManifest,
) -> Result<ManifestReport, CliError> {
    let layers = manifest.layers.iter().map(|layer| LayerReport {
        digest: layer.digest().clone(),
        compression: compression(layer.media_type()),
        bytes: layer.size(),
        made_of: layer
            .annotations()
            .ok()
            .and_then(|annotations| annotations.get(keys::LAYER_SOURCE_DIGEST)?.parse().ok()),
    });
    let layers: Vec<LayerReport> = layers.collect();
    let annotations = manifest.annotations().unwrap_or_default();
    let source: Option<Digest> = annotations.get(keys::SOURCE_DIGEST).and_then(|digest| digest.parse().ok());
    let variant_of = match source {
        Some(digest) => {
            let bytes = source_size(repository, &digest).await?;
            Some(VariantOf { digest, bytes })
        }
        None => None,
    };
    Ok(ManifestReport {
        platform,
        digest: digest.clone(),
        bytes: layers.iter().map(|layer| layer.bytes).sum(),
        layers,
        variant_of,
        note: manifest.artifact_member().map(|member| format!("artifact (has {member:?})")),
    })
}

/// Returns the compressed size of a variant's source; `None` if the repository no longer holds the source.
async fn source_size(repository: &dyn Store, digest: &Digest) -> Result<Option<u64>, CliError> {
    let Some(raw) = repository.find_manifest(ManifestKey::Digest(digest)).await? else { return Ok(None) };
    Ok(match raw.read() {
        Ok(Document::Manifest(source)) => Some(source.layers.iter().map(zstart_oci::Descriptor::size).sum()),
        Ok(Document::Index(_)) | Err(_) => None,
    })
}

fn compression(layer: &str) -> String {
    use media_type::LayerKind;
    match media_type::layer_kind(layer) {
        LayerKind::Tar => "none".to_owned(),
        LayerKind::Gzip => "gzip".to_owned(),
        LayerKind::Zstd => "zstd".to_owned(),
        LayerKind::Foreign | LayerKind::Encrypted | LayerKind::Unknown => layer.to_owned(),
    }
}
