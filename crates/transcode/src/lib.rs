//! Converts gzip to zstd without searching again.
//!
//! A gzip stream holds the result of a search: deflate's matches. [`Transcoder`] inflates the stream, keeps the
//! matches as zstd's sequences, adds matches farther away than deflate's 32 KiB, and lets libzstd do the entropy
//! coding. Compared with decoding and encoding at level 3 with the same window, it needs less CPU time and writes
//! fewer bytes (`cargo bench -p zstart-transcode` measures both).
//!
//! - **Streaming.** The gzip stream arrives in pieces of any size. The uncompressed bytes and one zstd frame with a
//!   window of 8 MiB and a checksum leave in pieces, through a [`Sink`]. The memory of a stream doesn't depend on its
//!   length.
//! - **Never wrong bytes.** Safe code compares every sequence with the uncompressed bytes before zstd gets it: the
//!   match is inside window and stream, its bytes equal those at its source, and the lengths add up to the block.
//!   libzstd decodes a part of the frame again ([`Verify`]), and the result is compared. A difference is an error
//!   for which [`TranscodeError::is_internal`] holds: the caller discards the frame and encodes the stream in the
//!   ordinary way.
//! - **Strict.** Every member is decoded to its end, and its checksum and length are compared. Damage, truncation
//!   and trailing garbage are errors with an offset. Zeros may follow a member.
//! - **One or two threads.** [`transcode_in_two_threads`] reads gzip on the calling thread and writes zstd on another
//!   one.
//! - **Deterministic.** The same stream gives the same frame, however it is cut into pieces and with either number of
//!   threads. Another version of this
//!   crate or of libzstd may write another frame.
//!
//! ```
//! use std::io::{self, Write as _};
//!
//! use zstart_transcode::{Settings, Sink, transcode};
//!
//! /// Counts the uncompressed bytes and keeps the frame.
//! #[derive(Default)]
//! struct Layer {
//!     plain_bytes: usize,
//!     frame: Vec<u8>,
//! }
//!
//! impl Sink for Layer {
//!     fn plain(&mut self, bytes: &[u8]) -> io::Result<()> {
//!         self.plain_bytes += bytes.len();
//!         Ok(())
//!     }
//!
//!     fn frame(&mut self, bytes: &[u8]) -> io::Result<()> {
//!         self.frame.write_all(bytes)
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
//! gzip.write_all(b"files")?;
//! let gzip = gzip.finish()?;
//!
//! let mut layer = Layer::default();
//! transcode(&mut &gzip[..], Settings::default(), &mut layer)?;
//! assert_eq!(layer.plain_bytes, 5);
//! assert_eq!(zstd::decode_all(&layer.frame[..])?, b"files");
//! # Ok(())
//! # }
//! ```
//!
//! Two stages share no state. `front` reads gzip: `input` and `member` (gzip's container), `huffman`, `inflate` and
//! `inflate_loop` (deflate), `output` (plain bytes), `tokens` (deflate's matches). `back` writes zstd: `window` and
//! `block` (plain bytes), `far` (matches farther away), `assumed` and `segment` (blocks for zstd, checked), `encoder`
//! (libzstd), `frame`, `verify`. `transcoder` runs both in one thread, `two_threads` each in its own.

mod anchors;
mod assumed;
mod back;
mod block;
mod bytes;
mod encoder;
mod error;
mod far;
mod frame;
mod front;
mod hints;
mod huffman;
mod inflate;
mod inflate_loop;
mod input;
mod limits;
mod member;
mod output;
#[cfg(test)]
mod sabotage;
mod segment;
mod sequence;
mod settings;
#[cfg(test)]
mod tests;
mod tokens;
mod transcoder;
mod two_threads;
mod verify;
mod window;

pub use error::{Damage, Fault, TranscodeError};
pub use hints::Hints;
pub use settings::{Settings, Verify};
pub use transcoder::{Sink, Summary, Transcoder, transcode};
pub use two_threads::transcode_in_two_threads;
