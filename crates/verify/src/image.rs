//! Comparison of one converted image: manifest, config, layers.

use crate::compression::Compression;
use crate::digest::Digest;
use crate::document::{Config, Descriptor, Manifest, Members};
use crate::error::VerifyError;
use crate::keys;
use crate::layer::LayerReading;
use crate::reader::Side;
use crate::report::{DifferenceKind, LayerReport, LayerSide, PlatformReport};
use crate::verification::Verification;

impl Verification<'_> {
    /// Compares two manifests, their configs and all layers. `platform` is that of the index entry.
    pub(crate) async fn compare_image(
        &mut self,
        platform: Option<&str>,
        source: &Manifest,
        source_digest: Digest,
        variant: &Manifest,
        variant_digest: Digest,
    ) -> Result<PlatformReport, VerifyError> {
        let config = self.compare_configs(platform, &source.config, &variant.config).await?;
        let of_config = config.as_ref().and_then(|config| config.platform.clone());
        let name = platform.map(str::to_owned).or(of_config).unwrap_or_else(|| "unknown".to_owned());
        let documents = ["config", "layers"];
        self.compare_document(Some(&name), &source.members, &variant.members, keys::OCI_MANIFEST, &documents);
        let recorded = variant.members.annotation(keys::SOURCE_DIGEST);
        if recorded != Some(source_digest.as_str()) {
            let message = format!(
                "the variant's manifest was made from {}, but the source's manifest is {source_digest}",
                recorded.unwrap_or("no recorded digest")
            );
            self.differ(DifferenceKind::SourceDigest, Some(&name), message);
        }
        let diff_ids = config.map(|config| self.require_layer_counts(&name, source, variant, config));
        let mut layers = Vec::new();
        let pairs = source.layers.iter().zip(&variant.layers);
        for (index, (source, variant)) in pairs.enumerate() {
            let diff_id = diff_ids.as_ref().and_then(|diff_ids| diff_ids.get(index)).map(String::as_str);
            layers.push(self.compare_layers(&name, index + 1, source, variant, diff_id).await?);
        }
        let config_digest = source.config.digest.clone();
        Ok(PlatformReport { platform: name, source_digest, variant_digest, config_digest, layers })
    }

    /// Compares members and annotations of two manifests or indexes. `except` names members that are compared
    /// one by one.
    pub(crate) fn compare_document(
        &mut self,
        platform: Option<&str>,
        source: &Members,
        variant: &Members,
        media_type: &str,
        except: &[&str],
    ) {
        let stated = variant.text("mediaType");
        if stated != Some(media_type) {
            let message = format!("the variant states media type {stated:?} instead of {media_type:?}");
            self.differ(DifferenceKind::MediaType, platform, message);
        }
        let except: Vec<&str> = except.iter().copied().chain(["mediaType", "schemaVersion"]).collect();
        if let Some(name) = source.first_difference(variant, &except) {
            let message = format!("member {name} of the manifest differs");
            self.differ(DifferenceKind::Member, platform, message);
        }
        let (mut ours, theirs) = (variant.annotations(), source.annotations());
        for key in [keys::SOURCE_DIGEST, keys::SETTINGS] {
            ours.remove(key);
        }
        if ours != theirs {
            self.differ(DifferenceKind::Member, platform, "annotations of the manifest differ");
        }
    }

    /// Compares the configs byte by byte. `None` if the source's can't be read.
    async fn compare_configs(
        &mut self,
        platform: Option<&str>,
        source: &Descriptor,
        variant: &Descriptor,
    ) -> Result<Option<Config>, VerifyError> {
        if variant.media_type != keys::OCI_CONFIG {
            let message = format!("the variant's config has media type {:?}", variant.media_type);
            self.differ(DifferenceKind::MediaType, platform, message);
        }
        if source.digest != variant.digest {
            let message =
                format!("the variant's config is {}, the source's {}", variant.digest, source.digest);
            self.differ(DifferenceKind::Config, platform, message);
        }
        let except = ["mediaType", "digest"];
        if let Some(name) = source.members.first_difference(&variant.members, &except) {
            let message = format!("member {name} of the config's descriptor differs");
            self.differ(DifferenceKind::Member, platform, message);
        }
        let source_content = self.config(Side::Source, platform, source).await?;
        let variant_content = self.config(Side::Variant, platform, variant).await?;
        let Some(content) = source_content else { return Ok(None) };
        if source.digest == variant.digest && variant_content.is_some_and(|variant| variant != content) {
            self.differ(DifferenceKind::Config, platform, "configs of one digest have different bytes");
        }
        match Config::parse(&content) {
            Ok(config) => Ok(Some(config)),
            Err(fault) => {
                let message = format!("the source's config {} is damaged: {fault}", source.digest);
                self.differ(DifferenceKind::SourceContent, platform, message);
                Ok(None)
            }
        }
    }

    /// Compares the numbers of layers. Returns the config's `diff_ids`.
    fn require_layer_counts(
        &mut self,
        platform: &str,
        source: &Manifest,
        variant: &Manifest,
        config: Config,
    ) -> Vec<String> {
        let count = |count: usize| if count == 1 { "1 layer".to_owned() } else { format!("{count} layers") };
        let (sources, variants, diff_ids) =
            (source.layers.len(), variant.layers.len(), config.diff_ids.len());
        if sources != variants || sources != diff_ids {
            let message = format!(
                "the source has {}, the variant {}, the config names {}",
                count(sources),
                count(variants),
                count(diff_ids)
            );
            self.differ(DifferenceKind::LayerCount, Some(platform), message);
        }
        if let Some(history) = config.history_layers.filter(|history| *history != variants) {
            let message =
                format!("the config's history has {}, the variant {}", count(history), count(variants));
            self.differ(DifferenceKind::LayerCount, Some(platform), message);
        }
        config.diff_ids
    }

    async fn compare_layers(
        &mut self,
        platform: &str,
        number: usize,
        source: &Descriptor,
        variant: &Descriptor,
        diff_id: Option<&str>,
    ) -> Result<LayerReport, VerifyError> {
        let before = self.differences();
        self.compare_layer_descriptors(platform, number, source, variant);
        let (source_reading, variant_reading) = self.layer_pair(source, variant).await?;
        for (side, descriptor, reading) in
            [(Side::Source, source, &source_reading), (Side::Variant, variant, &variant_reading)]
        {
            match reading {
                LayerReading::Fault { fault, .. } => {
                    let message = format!("the {}'s {} is damaged: {fault}", side.name(), descriptor.digest);
                    self.differ_in_layer(DifferenceKind::content(side), platform, number, message);
                }
                LayerReading::Content(content) if diff_id != Some(content.plain_digest.as_str()) => {
                    let message = format!(
                        "the {}'s {} unpacks to {}, but the config's diff_id is {}",
                        side.name(),
                        descriptor.digest,
                        content.plain_digest,
                        diff_id.unwrap_or("absent")
                    );
                    self.differ_in_layer(DifferenceKind::PlainDigest, platform, number, message);
                }
                LayerReading::Content(_) => {}
            }
        }
        // The converter recognises a source's layer by its bytes, not by its media type. A variant's
        // media type must be true: nodes choose the decoder by it.
        if let Some(compression) = variant_reading.compression().filter(|found| *found != Compression::Zstd) {
            let message = format!("the variant's {} is {compression}, not zstd", variant.digest);
            self.differ_in_layer(DifferenceKind::MediaType, platform, number, message);
        }
        Ok(LayerReport {
            source: layer_side(source, &source_reading),
            variant: layer_side(variant, &variant_reading),
            diff_id: diff_id.unwrap_or_default().to_owned(),
            equal: self.differences() == before,
        })
    }

    fn compare_layer_descriptors(
        &mut self,
        platform: &str,
        number: usize,
        source: &Descriptor,
        variant: &Descriptor,
    ) {
        if variant.media_type != keys::OCI_TAR_ZSTD {
            let message = format!("the variant's {} has media type {:?}", variant.digest, variant.media_type);
            self.differ_in_layer(DifferenceKind::MediaType, platform, number, message);
        }
        let except = ["mediaType", "digest", "size", "data", "urls"];
        if let Some(name) = source.members.first_difference(&variant.members, &except) {
            let message = format!("member {name} of the layer's descriptor differs");
            self.differ_in_layer(DifferenceKind::Member, platform, number, message);
        }
        let (mut ours, mut theirs) = (variant.members.annotations(), source.members.annotations());
        if source.digest != variant.digest {
            let recorded = variant.members.annotation(keys::LAYER_SOURCE_DIGEST);
            if recorded != Some(source.digest.as_str()) {
                let message = format!(
                    "the variant's {} was made from {}, but the source's layer is {}",
                    variant.digest,
                    recorded.unwrap_or("no recorded digest"),
                    source.digest
                );
                self.differ_in_layer(DifferenceKind::SourceDigest, platform, number, message);
            }
            ours.remove(keys::LAYER_SOURCE_DIGEST);
            let describes_bytes =
                |key: &String| keys::COMPRESSED_BYTES.iter().any(|prefix| key.starts_with(prefix));
            theirs.retain(|key, _| !describes_bytes(key));
        }
        if ours != theirs {
            let message = "annotations of the layer's descriptor differ".to_owned();
            self.differ_in_layer(DifferenceKind::Member, platform, number, message);
        }
    }
}

fn layer_side(descriptor: &Descriptor, reading: &LayerReading) -> LayerSide {
    let content = match reading {
        LayerReading::Content(content) => Some(content),
        LayerReading::Fault { .. } => None,
    };
    LayerSide {
        digest: descriptor.digest.clone(),
        bytes: descriptor.size,
        compression: reading.compression(),
        plain_digest: content.map(|content| content.plain_digest.clone()),
        plain_bytes: content.map(|content| content.plain_bytes),
    }
}
