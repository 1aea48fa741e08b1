//! zstd's compression level.

use thiserror::Error;

/// A zstd level from 1 to 22.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(i32);

impl Level {
    /// zstd's highest level.
    pub const MAX: i32 = 22;

    /// Measured level from which the estimates of levels up to 9 are derived.
    pub const FAST_BASE: Self = Self(3);
    /// Measured level from which the estimates of levels above 9 are derived.
    pub const SLOW_BASE: Self = Self(9);

    /// The level as a number.
    pub fn get(self) -> i32 {
        self.0
    }
}

impl Default for Level {
    /// 3, zstd's own default, and the level of AWS's published measurements.
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

/// An unusable level.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LevelError {
    /// The level is outside the accepted range. zstd's negative levels are excluded, because their output is
    /// larger than gzip's.
    #[error("zstd level {level} is out of range: choose 1 (fastest) to 22 (smallest)")]
    OutOfRange {
        /// The requested level.
        level: i32,
    },
}
