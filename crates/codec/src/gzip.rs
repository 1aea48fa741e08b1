//! Decodes gzip as container tools write it: several members, followed by padding.
//!
//! `flate2::read::GzDecoder` stops after the first member without an error, while the decoders on nodes
//! continue. This module therefore decodes the members one by one.

use std::io::BufRead;

use flate2::bufread::GzDecoder;

use super::LayerError;
use super::counting::CountingReader;
use super::decode_loop::{BUFFER_BYTES, for_each_chunk};

/// Decodes every member and passes the uncompressed bytes to `sink`, in order.
pub(super) fn decode(
    source: &mut dyn BufRead,
    mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut source = CountingReader::new(source);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        // `flate2::bufread` verifies the checksum and length in the member's trailer, and leaves the source
        // positioned directly after the trailer.
        let mut member = GzDecoder::new(&mut source);
        for_each_chunk(&mut member, &mut buffer, &mut sink, |member, source| match member.get_ref() {
            compressed if compressed.failed() => LayerError::Read { source },
            compressed => LayerError::Gzip { offset: compressed.count(), source },
        })?;
        if !skip_to_next_member(&mut source)? {
            return Ok(());
        }
    }
}

/// Skips zero padding, as gzip and pigz do, and returns whether another member follows.
fn skip_to_next_member(source: &mut CountingReader<'_>) -> Result<bool, LayerError> {
    loop {
        let available = source.fill_buf().map_err(|source| LayerError::Read { source })?;
        let Some(first) = available.iter().position(|byte| *byte != 0) else {
            let padding = available.len();
            if padding == 0 {
                return Ok(false);
            }
            source.consume(padding);
            continue;
        };
        let starts_member = available[first] == 0x1f;
        source.consume(first);
        return if starts_member {
            Ok(true)
        } else {
            Err(LayerError::TrailingGarbage { offset: source.count() })
        };
    }
}
