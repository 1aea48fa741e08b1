//! Estimates for each zstd level: the size of an image, and the time in which a node pulls and unpacks the
//! image. [`tune`] measures them on the image's own bytes, with the encoder that a conversion uses, and writes
//! to no repository.
//!
//! The image is read once. Levels up to 3 encode the whole image, so their sizes are exact. Levels from 4 on
//! encode a sample: pieces of 4 MiB, spread evenly over all layers. Each piece is encoded after as many bytes
//! as the level's window reaches back. Levels from [`FIRST_SLOW_LEVEL`] on encode a quarter of these pieces.
//! An image that isn't larger than the sample is encoded whole.
//!
//! [`tune`] is the only entry point. The modules, in the order of the data:
//!
//! 1. `scan` reads, unpacks and times each layer, and encodes it at the levels up to 3.
//! 2. `sample` keeps the pieces.
//! 3. `benchmark` encodes and decodes the pieces at one level.
//! 4. `estimates` scales the exact sizes by ratios on the pieces; `jackknife` gives the 95 % confidence
//!    intervals; `node` has the speed of a node's decoders; `pull` models a node's pull.

mod benchmark;
mod estimates;
mod jackknife;
mod node;
mod pull;
mod run;
mod sample;
mod scan;
mod stopwatch;
#[cfg(test)]
mod tests;
mod types;

pub use node::Node;
pub use run::tune;
pub use types::{Baseline, Estimate, LevelEstimate, PullEstimate, Rank, TuneOptions, TuneReport};

/// Levels from this one on get a quarter of the sample: the slowest encode 2 to 4 MB per second.
pub const FIRST_SLOW_LEVEL: i32 = 10;
/// Divisor of the sample for slow levels.
const SLOW_SAMPLE_DIVISOR: u64 = 4;
/// Smallest sample, in bytes: two pieces with their warm-up pieces for the slow levels.
pub const MIN_SAMPLE_BYTES: u64 =
    SLOW_SAMPLE_DIVISOR * 2 * (1 + sample::WARMUP_PIECES as u64) * sample::PIECE_BYTES as u64;
