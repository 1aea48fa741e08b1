//! Settings of a conversion.

use std::num::NonZero;

use serde::{Deserialize, Serialize};
use zstart_codec::{Level, Method, UnpackLimits, Verification, ZstdConverter};
use zstart_core::Platform;

/// Platforms of an index to convert. The variant's index lists the others unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlatformSelection {
    /// Every convertible platform.
    #[default]
    All,
    /// Platforms that one of these accepts.
    Only(Vec<Platform>),
}

impl PlatformSelection {
    /// Whether an image for `platform` is selected.
    pub fn contains(&self, platform: &Platform) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.iter().any(|wanted| wanted.accepts(platform)),
        }
    }
}

/// Tags for the converted manifests that a variant's index lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TagChildren {
    /// Tags where a clean-up of the registry may delete untagged manifests that an index lists: everywhere but
    /// in Amazon ECR and OCI layouts.
    #[default]
    Auto,
    /// Tags everywhere.
    Always,
    /// No tags.
    Never,
}

/// Settings of a conversion.
#[derive(Clone, Debug)]
pub struct Settings {
    /// zstd level of layers that are encoded.
    pub level: Level,
    /// Method for gzip layers.
    pub method: Method,
    /// Part of transcoded layers that is decoded again; default: samples.
    pub verification: Verification,
    /// Platforms to convert; default: all.
    pub platforms: PlatformSelection,
    /// Number of layers that are converted concurrently. A layer that is transcoded takes about 20 MiB. The memory of
    /// one that is encoded depends on the level: about 20 MiB up to level 6, 30 at 9, 60 at 12, 80 at 15, 95 at 19 and
    /// 140 at 22 (peak of a conversion from folder to folder of one layer of 207 MiB, less the 6 MiB of the program
    /// itself), and it keeps up to two cores busy. Up to level 3, a layer of 32 MiB or more that the
    /// method encodes from the start keeps three or four cores busy, takes 45 MiB, and counts for two if this number is
    /// at least two.
    pub layers_at_once: NonZero<usize>,
    /// Converts even if a variant exists, and also rewrites zstd layers; default: false.
    pub force: bool,
    /// Tags for the converted manifests that an index lists.
    pub tag_children: TagChildren,
    /// Limits of a layer's uncompressed size.
    pub unpack: UnpackLimits,
}

impl Settings {
    /// Default number of concurrent layers. It keeps the whole program within 64 MiB at the default level. On
    /// machines with many cores, a larger number takes less time.
    pub const LAYERS_AT_ONCE: NonZero<usize> = NonZero::new(2).unwrap();

    /// The converter for layers.
    pub(crate) fn converter(&self) -> ZstdConverter {
        let Self { level, method, verification, force, .. } = *self;
        let converter = ZstdConverter::new(level).with_method(method).with_verification(verification);
        if force { converter.reencode_zstd() } else { converter }
    }

    /// Returns these settings with all platforms selected.
    #[must_use]
    pub fn with_all_platforms(&self) -> Self {
        Self { platforms: PlatformSelection::All, ..self.clone() }
    }

    /// Returns these settings with more platforms selected.
    #[must_use]
    pub fn with_platforms(&self, more: &[Platform]) -> Self {
        let platforms = match &self.platforms {
            PlatformSelection::All => PlatformSelection::All,
            PlatformSelection::Only(some) => PlatformSelection::Only([some, more].concat()),
        };
        Self { platforms, ..self.clone() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            level: Level::default(),
            method: Method::default(),
            verification: Verification::default(),
            platforms: PlatformSelection::All,
            layers_at_once: Self::LAYERS_AT_ONCE,
            force: false,
            tag_children: TagChildren::default(),
            unpack: UnpackLimits::default(),
        }
    }
}
