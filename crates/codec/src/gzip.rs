//! gzip as container tools write it: several members, and padding behind them.
//!
//! `flate2::read::GzDecoder` stops after the first member and keeps silent about the rest, where
//! the decoders on nodes read on; so the members are walked here, one by one.

use std::io::BufRead;

use flate2::bufread::GzDecoder;

use super::LayerError;
use super::counting::CountingReader;
use super::decode_loop::{BUFFER_BYTES, for_each_chunk};

/// Decodes every member and hands the bytes to `consume`, in order.
pub(super) fn decode(
    source: &mut dyn BufRead,
    mut sink: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut source = CountingReader::new(source);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        // `bufread` leaves the source exactly behind the member's trailer, whose checksum and
        // length it has compared.
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

/// Skips zero padding, as gzip and pigz do, and says whether another member follows.
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
