//! What `zstart convert` did, for people and for programs.

use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;
use zstart_convert::plan::{EntryPlan, KeepReason, Shape};
use zstart_convert::{Plan, VariantImage};
use zstart_core::{Digest, Platform, Tag, units};

use crate::error::CliError;
use crate::image_ref::ImageRef;

/// What was done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    /// The variant was made.
    Converted {
        took: Duration,
        /// Layers that an earlier variant had.
        layers_made_before: usize,
    },
    /// It stood there already.
    Reused,
    /// It would be made.
    WouldConvert,
    /// The source is zstd already.
    Nothing,
}

/// The result, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConvertReport {
    action: &'static str,
    source: String,
    source_digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variant_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settings: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u128>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers_made_before: Option<usize>,
    platforms: Vec<PlatformReport>,
    unchanged: Vec<UnchangedEntry>,
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

/// An entry of the index that isn't converted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnchangedEntry {
    digest: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<Platform>,
    reason: String,
}

impl ConvertReport {
    pub(super) fn new(
        source: &ImageRef,
        target: &str,
        tag: &Tag,
        plan: &Plan,
        action: Action,
        image: Option<VariantImage>,
    ) -> Self {
        let (action, made, named) = match action {
            Action::Converted { took, layers_made_before } => {
                ("converted", Some((took, layers_made_before)), true)
            }
            Action::Reused => ("reused", None, true),
            Action::WouldConvert => ("wouldConvert", None, true),
            Action::Nothing => ("alreadyZstd", None, false),
        };
        let reports = image.as_ref().map(|image| &image.platforms[..]).unwrap_or_default();
        let platforms = plan.conversions().enumerate().map(|(index, planned)| PlatformReport {
            platform: planned.platform.clone(),
            layers: planned.manifest.layers.len(),
            layers_to_convert: planned.layers_to_convert(),
            source_bytes: planned.source_bytes(),
            variant_bytes: reports.get(index).map(|report| report.variant_bytes),
        });
        Self {
            action,
            source: source.to_string(),
            source_digest: plan.source.digest.clone(),
            variant: named.then(|| format!("{target}:{tag}")),
            platforms: platforms.collect(),
            unchanged: unchanged_entries(&plan.shape),
            variant_digest: image.as_ref().map(|image| image.digest.clone()),
            settings: image.map(|image| image.settings),
            milliseconds: made.map(|(took, _)| took.as_millis()),
            layers_made_before: made.map(|(_, layers)| layers),
        }
    }

    pub(super) fn print(&self, json: bool) -> Result<(), CliError> {
        let text = if json {
            let text = serde_json::to_string_pretty(self);
            text.map_err(|error| CliError::Serialize { what: "the result", message: error.to_string() })?
        } else {
            self.lines().join("\n")
        };
        writeln!(std::io::stdout(), "{text}").map_err(|source| CliError::Print { source })
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for platform in &self.platforms {
            let front = format!("{:<16} {:>3} layers  ", platform.platform.to_string(), platform.layers);
            let size = units::size(platform.source_bytes);
            lines.push(match platform.variant_bytes {
                Some(bytes) => format!(
                    "{front}{size} → {}  ({} smaller)",
                    units::size(bytes),
                    units::saving(platform.source_bytes, bytes)
                ),
                None => format!("{front}{size}, {} to convert", platform.layers_to_convert),
            });
        }
        for unchanged in &self.unchanged {
            let name =
                unchanged.platform.as_ref().map_or_else(|| "no platform".to_owned(), ToString::to_string);
            lines.push(format!("{name:<16} unchanged: {}", unchanged.reason));
        }
        let took = self.milliseconds.and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
        lines.push(match (self.action, &self.variant, &self.variant_digest) {
            ("converted", Some(variant), Some(digest)) => {
                let took = took.map(units::duration).unwrap_or_default();
                let before = match self.layers_made_before {
                    None | Some(0) => String::new(),
                    Some(1) => ", with one layer that was made before".to_owned(),
                    Some(layers) => format!(", with {layers} layers that were made before"),
                };
                format!("converted and verified in {took}{before}: {variant}@{digest}")
            }
            ("reused", Some(variant), Some(digest)) => format!("exists already: {variant}@{digest}"),
            (_, Some(variant), None) => format!("would make {variant}"),
            _ => format!("{}: all layers are zstd already, there is nothing to do", self.source),
        });
        lines
    }
}

fn unchanged_entries(shape: &Shape) -> Vec<UnchangedEntry> {
    let Shape::Index { index, entries } = shape else { return Vec::new() };
    let described = index.entries.iter().zip(entries).filter_map(|(entry, plan)| {
        let reason = match plan {
            EntryPlan::Convert(_) => return None,
            EntryPlan::Drop => "dropped, it attests an image that is converted".to_owned(),
            EntryPlan::Keep(KeepReason::NotSelected) => "this platform was not asked for".to_owned(),
            EntryPlan::Keep(KeepReason::NoPlatform) => "it is not for a platform".to_owned(),
            EntryPlan::Keep(KeepReason::Refused(refusal)) => refusal.to_string(),
        };
        Some(UnchangedEntry {
            digest: entry.descriptor.digest().clone(),
            platform: entry.platform.clone(),
            reason,
        })
    });
    described.collect()
}
