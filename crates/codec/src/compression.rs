//! Detects a layer's compression and decodes the layer.

use std::io::{BufRead, Chain, Cursor, Read as _};

use super::decode_loop::{BUFFER_BYTES, for_each_chunk, read_magic};
use super::{LayerError, gzip, zstd_frames};

/// First bytes of a gzip member (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A layer's compression. The first bytes decide, not the media type: layers typed `tar` may be compressed,
/// and layers of a compressed type may be plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
    /// Anything else.
    Plain,
}

/// A reader of all of a layer's bytes, including the first bytes that [`detect`] has read.
pub type DetectedLayer<'a> = Chain<Cursor<Vec<u8>>, &'a mut dyn BufRead>;

/// Detects the compression from the first four bytes.
pub fn detect(source: &mut dyn BufRead) -> Result<(Compression, DetectedLayer<'_>), LayerError> {
    let magic = read_magic(source)?;
    let compression = match magic.get_ref() {
        magic if magic.starts_with(&GZIP_MAGIC) => Compression::Gzip,
        magic if zstd_frames::is_zstd(magic) => Compression::Zstd,
        _ => Compression::Plain,
    };
    Ok((compression, magic.chain(source)))
}

impl Compression {
    /// Decodes all of `source` and passes the uncompressed bytes to `sink`, in order.
    pub fn decode(
        self,
        source: &mut dyn BufRead,
        mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
    ) -> Result<(), LayerError> {
        match self {
            Self::Gzip => gzip::decode(source, sink),
            Self::Zstd => zstd_frames::decode(source, sink),
            Self::Plain => {
                let read_error = |_: &_, source| LayerError::Read { source };
                for_each_chunk(source, &mut vec![0; BUFFER_BYTES], &mut sink, read_error)
            }
        }
    }
}
