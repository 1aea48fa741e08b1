//! What a user may choose about a conversion.

use std::num::NonZero;

use thiserror::Error;
use zstart_core::Platform;

/// A zstd level from 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i32);

impl Level {
    /// The highest level that zstd has.
    pub const MAX: i32 = 22;

    /// The level from whose figures those of levels up to 9 follow, where they are estimated.
    pub(crate) const FAST_BASE: Self = Self(3);
    /// The same for slower ones.
    pub(crate) const SLOW_BASE: Self = Self(9);

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

/// How many bytes a layer may unpack to. Conversion takes no more memory for more of them, but time:
/// 10 MB of gzip can hold 10 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// The most that any layer may, in bytes.
    pub most: u64,
    /// Up to so many bytes nobody asks about the ratio.
    pub free: u64,
    /// How many bytes may come of each compressed one. (gzip gives 1032 at most, for zeros; programs
    /// and text give 2 to 10.)
    pub ratio: u64,
}

impl UnpackLimits {
    /// The limit for a layer of so many compressed bytes.
    pub fn of(self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.ratio).max(self.free).min(self.most)
    }
}

impl Default for UnpackLimits {
    /// 1 TiB, and above 16 GiB at most 200 bytes for each.
    fn default() -> Self {
        Self { most: 1 << 40, free: 16 << 30, ratio: 200 }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_layers_are_believed_by_their_ratio_and_small_ones_up_to_a_size() {
        let limits = UnpackLimits { most: 1000, free: 50, ratio: 10 };
        assert_eq!(
            [0, 4, 6, 99, 100, 101, u64::MAX].map(|size| limits.of(size)),
            [50, 50, 60, 990, 1000, 1000, 1000]
        );
    }
}
