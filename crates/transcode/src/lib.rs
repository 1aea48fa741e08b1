//! Converts gzip to zstd without searching again.
//!
//! A gzip stream holds the result of a search: deflate's matches. The transcoder inflates the stream, keeps the
//! matches as zstd's sequences, adds matches farther away than deflate's 32 KiB, and lets libzstd do the entropy
//! coding.

mod assumed;
mod bytes;
mod encoder;
mod error;
mod far;
mod frame;
mod huffman;
mod inflate;
mod inflate_loop;
mod input;
mod member;
#[cfg(test)]
mod sabotage;
mod segment;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;
mod transcoder;
mod verify;
mod window;

pub use error::{Damage, Fault, TranscodeError};
pub use settings::{Settings, Verify};
pub use transcoder::{Sink, Summary, Transcoder, transcode};
