//! What a user may choose about a conversion.

use std::num::NonZero;

use zstart_codec::{Level, UnpackLimits};
use zstart_core::Platform;

/// Which platforms of an index are converted. The others stay listed as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlatformSelection {
    /// Every platform that can be.
    #[default]
    All,
    /// Those that one of these accepts.
    Only(Vec<Platform>),
}

impl PlatformSelection {
    /// Whether an image for `platform` is to be converted.
    pub fn contains(&self, platform: &Platform) -> bool {
        match self {
            Self::All => true,
            Self::Only(wanted) => wanted.iter().any(|wanted| wanted.accepts(platform)),
        }
    }
}

/// Everything that a conversion can be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How hard zstd tries.
    pub level: Level,
    /// What is converted.
    pub platforms: PlatformSelection,
    /// How many layers are worked on at the same time; each keeps up to two cores busy, and takes
    /// memory by level: about 20 MiB up to level 6, 30 at 9, 60 at 12, 80 at 15, 95 at 19 and 140 at 22 (peak of a
    /// conversion from folder to folder of one layer of 207 MiB, less the 6 MiB of the program itself).
    /// Up to level 3, layers of 32 MiB and more keep three or four cores busy, take 45 MiB, and count for
    /// two where there are two.
    pub layers_at_once: NonZero<usize>,
    /// Convert even where a variant exists, and replace it; layers that are zstd already too.
    pub force: bool,
    /// What a layer may unpack to.
    pub unpack: UnpackLimits,
}

impl Settings {
    /// What fits into 64 MiB with the program itself, at the default level. On machines with many cores more
    /// of them take less time.
    pub const LAYERS_AT_ONCE: NonZero<usize> = NonZero::new(2).unwrap();

    /// The same, and these platforms too.
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
            platforms: PlatformSelection::All,
            layers_at_once: Self::LAYERS_AT_ONCE,
            force: false,
            unpack: UnpackLimits::default(),
        }
    }
}
