//! Doors for the fuzz targets to what is private. There only where `cfg(fuzzing)` is set.

pub use crate::repository::registry::challenge_of as challenge;
