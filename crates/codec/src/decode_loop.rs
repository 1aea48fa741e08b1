//! Reading a layer: its first bytes, which tell what it is, and a decoder to its end.

use std::io::{self, BufRead, Cursor, Read};

use super::LayerError;

/// How much is decoded at a time. Larger gains nothing (measured 64 KiB to 1 MiB: within 2 %).
pub(super) const BUFFER_BYTES: usize = 128 * 1024;

/// Hands on what `reader` gives, in order; `failed` says what a failure of it means.
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

/// Up to four bytes from the front: fewer only where the layer is shorter.
pub(super) fn read_magic(source: &mut dyn BufRead) -> Result<Cursor<Vec<u8>>, LayerError> {
    let mut magic = Vec::with_capacity(4);
    source.take(4).read_to_end(&mut magic).map_err(|source| LayerError::Read { source })?;
    Ok(Cursor::new(magic))
}
