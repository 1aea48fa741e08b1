//! What a user may choose about a conversion.

use thiserror::Error;
use zstart_core::Platform;

/// A zstd level from 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i32);

impl Level {
    /// The highest level that zstd has.
    pub const MAX: i32 = 22;

    /// The number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl Default for Level {
    /// 3, as zstd itself: the level that AWS measured its gains with.
    fn default() -> Self {
        Self(3)
    }
}

impl TryFrom<i32> for Level {
    type Error = SettingsError;

    fn try_from(level: i32) -> Result<Self, SettingsError> {
        if (1..=Self::MAX).contains(&level) { Ok(Self(level)) } else { Err(SettingsError::Level { level }) }
    }
}

/// Why settings can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SettingsError {
    /// Outside zstd's range. (Negative levels exist; what they write is larger than gzip.)
    #[error("zstd level {level} is out of range: choose 1 (fastest) to 22 (smallest)")]
    Level {
        /// What was asked for.
        level: i32,
    },
}

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
    /// How many layers are converted at the same time; each keeps up to two cores busy, and takes
    /// memory by level: about 10 MiB up to level 6, 20 at 9, 50 at 12, 75 at 15, 95 at 19 and 140 at 22 (peak of a
    /// conversion from folder to folder of one layer of 207 MiB, less the 6 MiB of the program itself).
    pub layers_at_once: usize,
    /// Convert even where a variant exists, and replace it.
    pub force: bool,
}

impl Settings {
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
            layers_at_once: std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
            force: false,
        }
    }
}
