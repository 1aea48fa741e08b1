//! gzip as container tools write it: several members, and padding behind them.
//!
//! `flate2::read::GzDecoder` stops after the first member and keeps silent about the rest, where
//! the decoders on nodes read on; so the members are walked here, one by one.

use std::io::{BufRead, Read};

use flate2::bufread::GzDecoder;

use super::LayerError;

/// How much is decoded at a time. Larger gains nothing (measured 64 KiB to 1 MiB: within 2 %).
const STEP: usize = 128 * 1024;

/// Decodes every member and hands the bytes to `consume`, in order.
pub(super) fn decode(
    source: &mut dyn BufRead,
    mut consume: impl FnMut(&[u8]) -> Result<(), LayerError>,
) -> Result<(), LayerError> {
    let mut source = Counted { inner: source, count: 0 };
    let mut buffer = vec![0; STEP];
    loop {
        // `bufread` leaves the source exactly behind the member's trailer, whose checksum and
        // length it has compared.
        let mut member = GzDecoder::new(&mut source);
        loop {
            match member.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => consume(&buffer[..count])?,
                Err(source) => {
                    return Err(classify(source, member.get_ref().count));
                }
            }
        }
        if !another_member(&mut source)? {
            return Ok(());
        }
    }
}

/// A read that failed on the way is the source's fault, anything else the stream's.
fn classify(source: std::io::Error, offset: u64) -> LayerError {
    if source.get_ref().and_then(|inner| inner.downcast_ref::<crate::repository::RepositoryError>()).is_some()
    {
        LayerError::Read { source }
    } else {
        LayerError::Gzip { offset, source }
    }
}

/// Skips zero padding, as gzip and pigz do, and says whether another member follows.
fn another_member(source: &mut Counted<'_>) -> Result<bool, LayerError> {
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
            Err(LayerError::TrailingGarbage { offset: source.count })
        };
    }
}

/// A reader that knows how far it has come.
struct Counted<'a> {
    inner: &'a mut dyn BufRead,
    count: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.count += amount as u64;
    }
}
