//! Report of `zstart inspect`, for people and for programs.

use serde::Serialize;
use zstart_core::{Digest, units};

/// Image or index.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImageReport {
    pub(super) reference: String,
    pub(super) digest: Digest,
    pub(super) media_type: String,
    /// Digest of the source, if this image is a variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant_of: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) settings: Option<String>,
    pub(super) manifests: Vec<ManifestReport>,
}

/// Manifest of one platform, or another entry of an index.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestReport {
    pub(super) platform: String,
    pub(super) digest: Digest,
    pub(super) bytes: u64,
    pub(super) layers: Vec<LayerReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) variant_of: Option<VariantOf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// Source of a variant's manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct VariantOf {
    pub(super) digest: Digest,
    /// Compressed size of the source; `None` if the repository no longer holds the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<u64>,
}

/// Layer of a manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LayerReport {
    pub(super) digest: Digest,
    /// `gzip`, `zstd`, `none`, or the media type of any other layer.
    pub(super) compression: String,
    pub(super) bytes: u64,
    /// Source layer, if the layer was converted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) made_of: Option<Digest>,
}

impl ManifestReport {
    /// Report of an index entry whose layers can't be shown.
    pub(super) fn other(platform: String, digest: Digest, note: &str) -> Self {
        Self { platform, digest, bytes: 0, layers: Vec::new(), variant_of: None, note: Some(note.to_owned()) }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("  {:<16} {}", self.platform, self.digest)];
        if let Some(note) = &self.note {
            lines.push(format!("    {note}"));
        }
        for layer in &self.layers {
            let made_of = layer.made_of.as_ref().map(|digest| format!("  converted from {}", digest.short()));
            lines.push(format!(
                "    {}  {:<5} {:>9}{}",
                layer.digest.short(),
                layer.compression,
                units::size(layer.bytes),
                made_of.unwrap_or_default()
            ));
        }
        let variant = match &self.variant_of {
            Some(VariantOf { digest, bytes: Some(bytes) }) => format!(
                "; variant of {digest}, {} → {} ({} smaller)",
                units::size(*bytes),
                units::size(self.bytes),
                units::saving(*bytes, self.bytes)
            ),
            Some(VariantOf { digest, bytes: None }) => {
                format!("; variant of {digest}, which is not in this repository")
            }
            None => String::new(),
        };
        lines.push(format!(
            "    {}, {}{variant}",
            units::count(self.layers.len(), "layer"),
            units::size(self.bytes)
        ));
        lines
    }
}

impl ImageReport {
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.reference.clone(), format!("  digest           {}", self.digest)];
        lines.push(format!("  type             {}", self.media_type));
        lines.push(match (&self.variant_of, &self.settings) {
            (Some(digest), Some(settings)) => format!("  variant of       {digest} ({settings})"),
            (Some(digest), None) => format!("  variant of       {digest}"),
            (None, _) => "  variant          no".to_owned(),
        });
        lines.extend(self.manifests.iter().flat_map(ManifestReport::lines));
        lines
    }
}
