//! How hard zstd tries.

use thiserror::Error;

/// A zstd level from 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i32);

impl Level {
    /// The highest level that zstd has.
    pub const MAX: i32 = 22;

    /// The level from whose figures those of levels up to 9 follow, where they are estimated.
    pub const FAST_BASE: Self = Self(3);
    /// The same for slower ones.
    pub const SLOW_BASE: Self = Self(9);

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
    type Error = LevelError;

    fn try_from(level: i32) -> Result<Self, LevelError> {
        if (1..=Self::MAX).contains(&level) { Ok(Self(level)) } else { Err(LevelError::OutOfRange { level }) }
    }
}

/// Why settings can't be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LevelError {
    /// Outside zstd's range. (Negative levels exist; what they write is larger than gzip.)
    #[error("zstd level {level} is out of range: choose 1 (fastest) to 22 (smallest)")]
    OutOfRange {
        /// What was asked for.
        level: i32,
    },
}
