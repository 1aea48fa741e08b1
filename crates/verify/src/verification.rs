//! Comparison of two images: manifests or indexes first, then each converted image.

use std::collections::HashMap;

use bytes::Bytes;

use crate::digest::Digest;
use crate::document::{Descriptor, Document, Index, Manifest};
use crate::error::VerifyError;
use crate::fault::ContentFault;
use crate::keys;
use crate::layer::{LayerReading, read_layer};
use crate::reader::{ImageReader, ReadErrorKind, Side, read_config, read_manifest, read_top};
use crate::report::{Difference, DifferenceKind, EntryOutcome, EntryReport, Report};
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

/// A source's entry and the variant's entry made from it.
struct ConvertedEntry<'a> {
    source: &'a Descriptor,
    variant: &'a Descriptor,
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

    async fn compare_indexes(
        &mut self,
        source: &Index,
        variant: &Index,
        platforms: &[String],
        report: &mut Report,
    ) -> Result<(), VerifyError> {
        self.compare_document(None, &source.members, &variant.members, keys::OCI_INDEX, &["manifests"]);
        let converted = self.match_entries(source, variant, &mut report.entries);
        let names: Vec<String> = converted.iter().map(|entry| name_of(entry.source)).collect();
        require_selected(platforms, &names.iter().map(String::as_str).collect::<Vec<_>>())?;
        for (ConvertedEntry { source, variant }, name) in converted.iter().zip(&names) {
            if !is_selected(platforms, name) {
                let (platform, digest) = (source.platform(), source.digest.clone());
                report.entries.push(EntryReport { platform, digest, outcome: EntryOutcome::NotSelected });
                continue;
            }
            self.compare_entries(name, source, variant);
            let Some(source_manifest) = self.entry_manifest(Side::Source, name, source).await? else {
                continue;
            };
            let Some(variant_manifest) = self.entry_manifest(Side::Variant, name, variant).await? else {
                continue;
            };
            let image = self.compare_image(
                Some(name),
                &source_manifest,
                source.digest.clone(),
                &variant_manifest,
                variant.digest.clone(),
            );
            report.platforms.push(image.await?);
        }
        for entry in report.entries.iter().filter(|entry| entry.outcome == EntryOutcome::Unchanged) {
            let unchanged = source.entries.iter().find(|source| source.digest == entry.digest);
            if let Some(descriptor) = unchanged {
                self.require_unchanged_entry(descriptor).await?;
            }
        }
        Ok(())
    }

    /// Finds each source entry in the variant's index: unchanged, converted, or dropped.
    fn match_entries<'i>(
        &mut self,
        source: &'i Index,
        variant: &'i Index,
        reports: &mut Vec<EntryReport>,
    ) -> Vec<ConvertedEntry<'i>> {
        let mut unmatched: Vec<(usize, &Descriptor)> = variant.entries.iter().enumerate().collect();
        let mut order = Vec::new();
        let mut take = |matches: &dyn Fn(&Descriptor) -> bool| {
            let index = unmatched.iter().position(|(_, entry)| matches(entry))?;
            let (position, entry) = unmatched.remove(index);
            order.push(position);
            Some(entry)
        };
        let mut converted = Vec::new();
        let mut missing = Vec::new();
        for entry in &source.entries {
            let made_from = |other: &Descriptor| {
                other.members.annotation(keys::SOURCE_DIGEST) == Some(entry.digest.as_str())
            };
            if take(&|other| other == entry).is_some() {
                let (platform, digest) = (entry.platform(), entry.digest.clone());
                reports.push(EntryReport { platform, digest, outcome: EntryOutcome::Unchanged });
            } else if let Some(variant) = take(&made_from) {
                converted.push(ConvertedEntry { source: entry, variant });
            } else {
                missing.push(entry);
            }
        }
        let is_ordered = order.is_sorted();
        let attests_converted = |entry: &Descriptor| {
            let attested = entry.attested_digest();
            converted.iter().any(|converted| Some(converted.source.digest.as_str()) == attested)
        };
        for entry in missing {
            let is_dropped = attests_converted(entry);
            let outcome = if is_dropped { EntryOutcome::Dropped } else { EntryOutcome::Missing };
            reports.push(EntryReport { platform: entry.platform(), digest: entry.digest.clone(), outcome });
            if !is_dropped {
                let message = format!("the variant's index has no entry for the source's {}", entry.digest);
                self.differ(DifferenceKind::Entries, Some(&name_of(entry)), message);
            }
        }
        for (_, entry) in unmatched {
            let message = format!("the variant's index has entry {}, which the source lacks", entry.digest);
            self.differ(DifferenceKind::Entries, Some(&name_of(entry)), message);
        }
        for entry in source.entries.iter().filter(|entry| attests_converted(entry)) {
            if variant.entries.contains(entry) {
                let message =
                    format!("the variant's index has attestation {} of a converted image", entry.digest);
                self.differ(DifferenceKind::Entries, None, message);
            }
        }
        if !is_ordered {
            let message = "the variant's index has the source's entries in another order";
            self.differ(DifferenceKind::Entries, None, message);
        }
        converted
    }

    /// Compares the descriptors of a converted entry: all but digest, size and type is carried over.
    fn compare_entries(&mut self, platform: &str, source: &Descriptor, variant: &Descriptor) {
        if variant.media_type != keys::OCI_MANIFEST {
            let message = format!("the variant's entry has media type {:?}", variant.media_type);
            self.differ(DifferenceKind::MediaType, Some(platform), message);
        }
        let except = ["mediaType", "digest", "size", "data", "urls"];
        if let Some(name) = source.members.first_difference(&variant.members, &except) {
            let message = format!("member {name} of the index entry differs");
            self.differ(DifferenceKind::Member, Some(platform), message);
        }
        let (mut ours, theirs) = (variant.members.annotations(), source.members.annotations());
        ours.remove(keys::SOURCE_DIGEST);
        if ours != theirs {
            self.differ(DifferenceKind::Member, Some(platform), "annotations of the index entry differ");
        }
    }

    /// Reads the manifest of an entry. `None` if it is damaged, which is reported.
    async fn entry_manifest(
        &mut self,
        side: Side,
        platform: &str,
        entry: &Descriptor,
    ) -> Result<Option<Manifest>, VerifyError> {
        if entry.is_index() {
            let reason =
                format!("has index {} inside its index, which zstart does not convert", entry.digest);
            return Err(VerifyError::Unsupported { side, reason });
        }
        let reader = self.reader(side);
        let content = with_retries(async || read_manifest(reader, &entry.digest, entry.size).await).await;
        let content = content.map_err(VerifyError::read(side))?;
        match content.and_then(|content| Document::parse(&content)) {
            Ok(document) => {
                require_image(side, &document)?;
                match document {
                    Document::Manifest(manifest) => Ok(Some(manifest)),
                    Document::Index(_) => {
                        let reason = format!("has index {} under the media type of a manifest", entry.digest);
                        Err(VerifyError::Unsupported { side, reason })
                    }
                }
            }
            Err(fault) => {
                self.report_fault(side, platform, &format!("manifest {}", entry.digest), &fault);
                Ok(None)
            }
        }
    }

    /// Checks that an unchanged entry's manifest is in the variant's repository, if the source's has it.
    async fn require_unchanged_entry(&mut self, entry: &Descriptor) -> Result<(), VerifyError> {
        let platform = name_of(entry);
        let read = async |side: Side| {
            let reader = self.reader(side);
            with_retries(async || read_manifest(reader, &entry.digest, entry.size).await).await
        };
        match read(Side::Variant).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(fault)) => {
                self.report_fault(Side::Variant, &platform, &format!("manifest {}", entry.digest), &fault);
                Ok(())
            }
            Err(error) if error.kind == ReadErrorKind::NotFound => match read(Side::Source).await {
                Err(error) if error.kind == ReadErrorKind::NotFound => Ok(()),
                Err(source) => Err(VerifyError::Read { side: Side::Source, source }),
                Ok(_) => Err(VerifyError::Read { side: Side::Variant, source: error }),
            },
            Err(source) => Err(VerifyError::Read { side: Side::Variant, source }),
        }
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
fn require_image(side: Side, document: &Document) -> Result<(), VerifyError> {
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

fn name_of(entry: &Descriptor) -> String {
    entry.platform().unwrap_or_else(|| entry.digest.short().to_owned())
}

fn is_selected(platforms: &[String], name: &str) -> bool {
    let accepts = |selected: &String| {
        // A platform without a variant selects all variants, and the reverse.
        let is_prefix = |short: &str, long: &str| {
            long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        is_prefix(selected, name) || is_prefix(name, selected)
    };
    platforms.is_empty() || platforms.iter().any(accepts)
}

fn require_selected(platforms: &[String], available: &[&str]) -> Result<(), VerifyError> {
    if available.is_empty() || available.iter().any(|name| is_selected(platforms, name)) {
        return Ok(());
    }
    Err(VerifyError::NoPlatform { platforms: platforms.join(", "), available: available.join(", ") })
}
