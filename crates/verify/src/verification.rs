//! Comparison of two images: manifests or indexes first, then each converted image.

use std::collections::HashMap;

use bytes::Bytes;

use crate::digest::Digest;
use crate::document::{Descriptor, Document};
use crate::error::VerifyError;
use crate::fault::ContentFault;
use crate::index::require_selected;
use crate::keys;
use crate::layer::{LayerReading, read_layer};
use crate::reader::{ImageReader, Side, read_config, read_top};
use crate::report::{Difference, DifferenceKind, Report};
use crate::retry::with_retries;

/// Two images to compare.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    /// The image that was converted.
    pub source: &'a dyn ImageReader,
    /// The result of the conversion.
    pub variant: &'a dyn ImageReader,
}

/// A comparison in progress.
pub(crate) struct Verification<'a> {
    images: Images<'a>,
    /// Layers that were read, so that a layer of several platforms is read once.
    layers: HashMap<(Side, Digest), LayerReading>,
    differences: Vec<Difference>,
}

/// Compares two images. `platforms` limits the comparison of layers to these platforms
/// (`os/architecture[/variant]`); empty means all.
pub async fn verify(images: Images<'_>, platforms: &[String]) -> Result<Report, VerifyError> {
    let verification = Verification { images, layers: HashMap::new(), differences: Vec::new() };
    verification.run(platforms).await
}

impl<'a> Verification<'a> {
    async fn run(mut self, platforms: &[String]) -> Result<Report, VerifyError> {
        let source_bytes = self.top(Side::Source).await?;
        let variant_bytes = self.top(Side::Variant).await?;
        let parse = |side, content: &Bytes| Document::parse(content).map_err(VerifyError::content(side));
        let source = parse(Side::Source, &source_bytes)?;
        let variant = parse(Side::Variant, &variant_bytes)?;
        require_image(Side::Source, &source)?;
        if source.members().annotation(keys::SOURCE_DIGEST).is_some() {
            let reason = "is a variant itself; name the image that was converted first, its variant second";
            return Err(VerifyError::Unsupported { side: Side::Source, reason: reason.to_owned() });
        }
        let mut report = Report {
            source_digest: Digest::sha256_of(&source_bytes),
            variant_digest: Digest::sha256_of(&variant_bytes),
            platforms: Vec::new(),
            entries: Vec::new(),
            differences: Vec::new(),
        };
        if self.is_made_from(&variant, &report.source_digest) {
            match (&source, &variant) {
                (Document::Manifest(source), Document::Manifest(variant)) => {
                    let (source_digest, variant_digest) =
                        (report.source_digest.clone(), report.variant_digest.clone());
                    let image =
                        self.compare_image(None, source, source_digest, variant, variant_digest).await?;
                    require_selected(platforms, &[&image.platform])?;
                    report.platforms.push(image);
                }
                (Document::Index(source), Document::Index(variant)) => {
                    self.compare_indexes(source, variant, platforms, &mut report).await?;
                }
                _ => {
                    let message = format!(
                        "the source is of kind {}, the variant of kind {}",
                        source.kind(),
                        variant.kind()
                    );
                    self.differ(DifferenceKind::Kind, None, message);
                }
            }
        }
        report.differences = self.differences;
        Ok(report)
    }

    async fn top(&self, side: Side) -> Result<Bytes, VerifyError> {
        let reader = self.reader(side);
        let content = with_retries(async || read_top(reader).await).await.map_err(VerifyError::read(side))?;
        content.map_err(VerifyError::content(side))
    }

    pub(crate) fn reader(&self, side: Side) -> &'a dyn ImageReader {
        match side {
            Side::Source => self.images.source,
            Side::Variant => self.images.variant,
        }
    }

    pub(crate) fn differ(
        &mut self,
        kind: DifferenceKind,
        platform: Option<&str>,
        message: impl Into<String>,
    ) {
        let platform = platform.map(str::to_owned);
        self.differences.push(Difference { kind, platform, layer: None, message: message.into() });
    }

    pub(crate) fn differ_in_layer(
        &mut self,
        kind: DifferenceKind,
        platform: &str,
        layer: usize,
        message: String,
    ) {
        let (platform, layer) = (Some(platform.to_owned()), Some(layer));
        self.differences.push(Difference { kind, platform, layer, message });
    }

    pub(crate) fn differences(&self) -> usize {
        self.differences.len()
    }

    /// Compares the source digest that the variant records. Another source's layers aren't worth reading.
    fn is_made_from(&mut self, variant: &Document, source: &Digest) -> bool {
        let message = match variant.members().annotation(keys::SOURCE_DIGEST) {
            Some(recorded) if recorded == source.as_str() => return true,
            Some(recorded) => format!(
                "the variant was made from {recorded}, but the source is {source}: the source's tag moved after \
                 the conversion, or the variant belongs to another image; convert the source again, or name the \
                 source by the recorded digest"
            ),
            None => {
                format!("the variant has no annotation {}, so zstart did not make it", keys::SOURCE_DIGEST)
            }
        };
        self.differ(DifferenceKind::SourceDigest, None, message);
        false
    }

    pub(crate) fn report_fault(&mut self, side: Side, platform: &str, object: &str, fault: &ContentFault) {
        let message = format!("the {}'s {object} is damaged: {fault}", side.name());
        self.differ(DifferenceKind::content(side), Some(platform), message);
    }

    /// Reads a config. `None` if it is damaged, which is reported.
    pub(crate) async fn config(
        &mut self,
        side: Side,
        platform: Option<&str>,
        descriptor: &Descriptor,
    ) -> Result<Option<Bytes>, VerifyError> {
        let reader = self.reader(side);
        let content =
            with_retries(async || read_config(reader, &descriptor.digest, descriptor.size).await).await;
        match content.map_err(VerifyError::read(side))? {
            Ok(content) => Ok(Some(content)),
            Err(fault) => {
                let message =
                    format!("the {}'s config {} is damaged: {fault}", side.name(), descriptor.digest);
                self.differ(DifferenceKind::content(side), platform, message);
                Ok(None)
            }
        }
    }

    /// Reads the same layer of both images at the same time. A layer of both is read once, from the variant's
    /// repository.
    pub(crate) async fn layer_pair(
        &mut self,
        source: &Descriptor,
        variant: &Descriptor,
    ) -> Result<(LayerReading, LayerReading), VerifyError> {
        if source.digest == variant.digest && source.size == variant.size {
            let reading = self.layer(Side::Variant, variant).await?;
            self.layers.insert((Side::Variant, variant.digest.clone()), reading.clone());
            return Ok((reading.clone(), reading));
        }
        let (source_reading, variant_reading) =
            tokio::try_join!(self.layer(Side::Source, source), self.layer(Side::Variant, variant))?;
        self.layers.insert((Side::Source, source.digest.clone()), source_reading.clone());
        self.layers.insert((Side::Variant, variant.digest.clone()), variant_reading.clone());
        Ok((source_reading, variant_reading))
    }

    async fn layer(&self, side: Side, layer: &Descriptor) -> Result<LayerReading, VerifyError> {
        // A fault may be one of the descriptor, so only content that fits is remembered for others.
        if let Some(reading @ LayerReading::Content(_)) = self.layers.get(&(side, layer.digest.clone())) {
            return Ok(reading.clone());
        }
        let reader = self.reader(side);
        let reading = with_retries(async || read_layer(reader, &layer.digest, layer.size).await).await;
        reading.map_err(VerifyError::read(side))
    }
}

/// Refuses what zstart doesn't convert: artifacts, and manifests without an image config.
pub(crate) fn require_image(side: Side, document: &Document) -> Result<(), VerifyError> {
    let unsupported = |reason: String| Err(VerifyError::Unsupported { side, reason });
    for member in ["artifactType", "subject"] {
        if document.members().has(member) {
            return unsupported(format!("is an artifact, not an image: it has {member}"));
        }
    }
    let Document::Manifest(manifest) = document else { return Ok(()) };
    let media_type = &manifest.config.media_type;
    if !keys::CONFIG_TYPES.contains(&&**media_type) {
        return unsupported(format!("is no container image: its config has media type {media_type:?}"));
    }
    if side == Side::Source {
        for layer in &manifest.layers {
            if !keys::LAYER_TYPES.contains(&&*layer.media_type) {
                let (digest, media_type) = (&layer.digest, &layer.media_type);
                return unsupported(format!(
                    "has layer {digest} of media type {media_type:?}, which zstart does not convert"
                ));
            }
        }
    }
    Ok(())
}
