//! Report of `zstart convert`, for people and for programs.

use std::time::Duration;

use serde::Serialize;
use zstart_convert::plan::{EntryPlan, KeepReason, Shape};
use zstart_convert::{Plan, VariantImage};
use zstart_core::{Digest, Platform, Tag, units};

use crate::error::CliError;
use crate::image_ref::ImageRef;
use crate::output::OutputFormat;

/// Outcome of a conversion.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The variant was written.
    Converted {
        image: VariantImage,
        took: Duration,
        /// Number of layers that this process or an earlier variant had already converted.
        layers_reused: usize,
        /// Success of reading the variant back. False if the credentials may not read the target.
        is_verified: bool,
    },
    /// The variant exists already.
    Reused { image: VariantImage },
    /// Dry run: the variant would be written.
    Planned {
        /// Refusal of the registry to show the target's tag.
        is_lookup_refused: bool,
    },
    /// All layers of the source are zstd.
    AlreadyZstd,
}

/// Name of a variant, as far as it is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum VariantName<'a> {
    Tag(&'a Tag),
    /// Start of the tag: the rest follows from the converted layers.
    Prefix(&'a str),
}

/// A conversion and its outcome.
pub(super) struct ConvertReport<'a> {
    pub(super) source: &'a ImageRef,
    /// Location of the target repository.
    pub(super) target: &'a str,
    pub(super) name: VariantName<'a>,
    pub(super) plan: &'a Plan,
    pub(super) outcome: Outcome,
}

impl Outcome {
    fn image(&self) -> Option<&VariantImage> {
        match self {
            Self::Converted { image, .. } | Self::Reused { image } => Some(image),
            Self::Planned { .. } | Self::AlreadyZstd => None,
        }
    }
}

impl ConvertReport<'_> {
    pub(super) fn print(&self, format: OutputFormat) -> Result<(), CliError> {
        format.print(&self.json(), || self.lines())
    }

    fn variant(&self) -> String {
        match self.name {
            VariantName::Tag(tag) => format!("{}:{tag}", self.target),
            VariantName::Prefix(prefix) => format!("{}:{prefix}…", self.target),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let converted = self.outcome.image().map(|image| &image.platforms[..]).unwrap_or_default();
        for (index, planned) in self.plan.conversions().enumerate() {
            let platform = planned.platform.to_string();
            let layers = units::count(planned.manifest.layers.len(), "layer");
            let front = format!("{platform:<16} {layers:>10}  ");
            let source_bytes = planned.source_bytes();
            let size = units::size(source_bytes);
            lines.push(match converted.get(index) {
                Some(converted) => format!(
                    "{front}{size} → {}  ({} smaller)",
                    units::size(converted.variant_bytes),
                    units::saving(source_bytes, converted.variant_bytes)
                ),
                None => format!("{front}{size}, {} to convert", planned.layers_to_convert()),
            });
        }
        for entry in unchanged_entries(&self.plan.shape) {
            let name = entry.platform.as_ref().map_or_else(|| "no platform".to_owned(), ToString::to_string);
            let front = if entry.is_dropped { "" } else { "unchanged: " };
            lines.push(format!("{name:<16} {front}{}", entry.reason));
        }
        lines.push(match &self.outcome {
            Outcome::Converted { image, took, layers_reused, is_verified } => {
                let took = units::duration(*took);
                let reused = match layers_reused {
                    0 => String::new(),
                    count => format!(", {} reused", units::count(*count, "layer")),
                };
                let variant = format!("{}@{}", self.variant(), image.digest);
                if *is_verified {
                    format!("converted and verified in {took}{reused}: {variant}")
                } else {
                    format!(
                        "converted in {took}{reused}, not verified (the credentials may not pull): {variant}"
                    )
                }
            }
            Outcome::Reused { image } => format!("already exists: {}@{}", self.variant(), image.digest),
            Outcome::Planned { is_lookup_refused: false } => format!("would create {}", self.variant()),
            Outcome::Planned { is_lookup_refused: true } => {
                format!("would create {} (the registry refuses to show whether it exists)", self.variant())
            }
            Outcome::AlreadyZstd => {
                format!("{}: all layers are already zstd, nothing to convert", self.source)
            }
        });
        lines
    }

    fn json(&self) -> JsonConvertReport {
        let converted = self.outcome.image().map(|image| &image.platforms[..]).unwrap_or_default();
        let platforms = self.plan.conversions().enumerate().map(|(index, planned)| PlatformReport {
            platform: planned.platform.clone(),
            layers: planned.manifest.layers.len(),
            layers_to_convert: planned.layers_to_convert(),
            source_bytes: planned.source_bytes(),
            variant_bytes: converted.get(index).map(|converted| converted.variant_bytes),
        });
        let (action, milliseconds, layers_reused) = match &self.outcome {
            Outcome::Converted { image: _, took, layers_reused, is_verified: _ } => {
                (Action::Converted, Some(took.as_millis()), Some(*layers_reused))
            }
            Outcome::Reused { image: _ } => (Action::Reused, None, None),
            Outcome::Planned { .. } => (Action::WouldConvert, None, None),
            Outcome::AlreadyZstd => (Action::AlreadyZstd, None, None),
        };
        JsonConvertReport {
            action,
            source: self.source.to_string(),
            source_digest: self.plan.source.digest.clone(),
            variant: (action != Action::AlreadyZstd && matches!(self.name, VariantName::Tag(_)))
                .then(|| self.variant()),
            variant_prefix: match self.name {
                VariantName::Prefix(prefix) if action != Action::AlreadyZstd => {
                    Some(format!("{}:{prefix}", self.target))
                }
                VariantName::Prefix(_) | VariantName::Tag(_) => None,
            },
            variant_digest: self.outcome.image().map(|image| image.digest.clone()),
            settings: self.outcome.image().map(|image| image.settings.clone()),
            milliseconds,
            layers_reused,
            platforms: platforms.collect(),
            unchanged: unchanged_entries(&self.plan.shape),
        }
    }
}

/// The report, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonConvertReport {
    action: Action,
    source: String,
    source_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    /// Start of the variant's name, while the rest is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u128>,
    #[serde(rename = "layersMadeBefore", skip_serializing_if = "Option::is_none")]
    layers_reused: Option<usize>,
    platforms: Vec<PlatformReport>,
    unchanged: Vec<UnchangedEntry>,
}

/// Word for the outcome in the JSON report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Converted,
    Reused,
    WouldConvert,
    AlreadyZstd,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlatformReport {
    platform: Platform,
    layers: usize,
    layers_to_convert: usize,
    source_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_bytes: Option<u64>,
}

/// Index entry that isn't converted: the variant's index keeps or drops the entry.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnchangedEntry {
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    reason: String,
    #[serde(skip)]
    is_dropped: bool,
}

fn unchanged_entries(shape: &Shape) -> Vec<UnchangedEntry> {
    let Shape::Index { index, entries } = shape else { return Vec::new() };
    let described = index.entries.iter().zip(entries).filter_map(|(entry, plan)| {
        let reason = match plan {
            EntryPlan::Convert(_) => return None,
            EntryPlan::Drop => "dropped: attests an image that is converted".to_owned(),
            EntryPlan::Keep(KeepReason::NotSelected) => "platform not selected".to_owned(),
            EntryPlan::Keep(KeepReason::NoPlatform) => "not an image that a node runs".to_owned(),
            EntryPlan::Keep(KeepReason::Refused(refusal)) => refusal.to_string(),
        };
        Some(UnchangedEntry {
            digest: entry.descriptor.digest().clone(),
            platform: entry.platform.clone(),
            reason,
            is_dropped: matches!(plan, EntryPlan::Drop),
        })
    });
    described.collect()
}
