//! gzip (RFC 1952) around the inflater of `miniz_oxide`: several members, header fields, zero padding.
//!
//! `libflate` was the other candidate. Its `MultiDecoder` takes fewer than ten bytes of garbage after a
//! member for the end of the stream, refuses zero padding, and ignores the length in the trailer.

use std::io::BufRead;

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use crate::crc32::Crc32;
use crate::fault::ContentFault;
use crate::plain::PlainSink;

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;
/// Uncompressed bytes that are handed on at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// Decodes all members.
pub(crate) fn decode(source: &mut impl BufRead, sink: &mut PlainSink) -> Result<(), ContentFault> {
    let mut state = InflateState::new_boxed(DataFormat::Raw);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let mut header = Header { source, crc: Crc32::new() };
        header.skip()?;
        state.reset(DataFormat::Raw);
        let (crc, length) = inflate_member(source, &mut state, &mut buffer, sink)?;
        let (stated_crc, stated_length) = (take(source)?, take(source)?);
        if u32::from_le_bytes(stated_crc) != crc.value() {
            return Err(invalid("its CRC-32 does not match"));
        }
        // The trailer holds the length modulo 2^32.
        if u64::from(u32::from_le_bytes(stated_length)) != length & u64::from(u32::MAX) {
            return Err(invalid("its length does not match"));
        }
        if !skip_padding(source)? {
            return Ok(());
        }
    }
}

/// Header of a member, read byte by byte for its checksum.
struct Header<'a, R> {
    source: &'a mut R,
    crc: Crc32,
}

impl<R: BufRead> Header<'_, R> {
    fn skip(&mut self) -> Result<(), ContentFault> {
        let [first, second, method, flags, _, _, _, _, _, _] = self.take()?;
        if [first, second] != [0x1f, 0x8b] {
            return Err(invalid("a member has no magic number"));
        }
        if method != 8 {
            return Err(invalid("its method is not deflate"));
        }
        if flags & RESERVED != 0 {
            return Err(invalid("its header has a reserved flag"));
        }
        if flags & EXTRA != 0 {
            for _ in 0..u16::from_le_bytes(self.take()?) {
                self.take::<1>()?;
            }
        }
        for field in [NAME, COMMENT] {
            if flags & field != 0 {
                while self.take::<1>()? != [0] {}
            }
        }
        if flags & HEADER_CRC != 0 {
            let [low, high, _, _] = self.crc.value().to_le_bytes();
            if self.take()? != [low, high] {
                return Err(invalid("the checksum of its header does not match"));
            }
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], ContentFault> {
        let bytes = take(self.source)?;
        self.crc.update(&bytes);
        Ok(bytes)
    }
}

/// Inflates one member. Returns checksum and length of its content. The source is left after the deflate
/// stream.
fn inflate_member(
    source: &mut impl BufRead,
    state: &mut InflateState,
    buffer: &mut [u8],
    sink: &mut PlainSink,
) -> Result<(Crc32, u64), ContentFault> {
    let (mut crc, mut length) = (Crc32::new(), 0);
    loop {
        let input = source.fill_buf().map_err(|_| truncated())?;
        let is_end = input.is_empty();
        let result = inflate(state, input, buffer, MZFlush::None);
        source.consume(result.bytes_consumed);
        let plain = &buffer[..result.bytes_written];
        crc.update(plain);
        length += plain.len() as u64;
        sink.write(plain)?;
        match result.status {
            Ok(MZStatus::StreamEnd) => return Ok((crc, length)),
            Ok(MZStatus::Ok | MZStatus::NeedDict) | Err(MZError::Buf) if !is_end || !plain.is_empty() => {}
            Ok(_) | Err(MZError::Buf) => return Err(truncated()),
            Err(_) => return Err(invalid("its deflate stream is corrupt")),
        }
    }
}

/// Skips zero padding, as gzip and pigz do. Returns whether another member follows.
fn skip_padding(source: &mut impl BufRead) -> Result<bool, ContentFault> {
    loop {
        let available = source.fill_buf().map_err(|_| truncated())?;
        if available.is_empty() {
            return Ok(false);
        }
        match available.iter().position(|byte| *byte != 0) {
            None => {
                let padding = available.len();
                source.consume(padding);
            }
            Some(first) if available[first] == 0x1f => {
                source.consume(first);
                return Ok(true);
            }
            Some(_) => return Err(invalid("other bytes follow its last member")),
        }
    }
}

fn take<const N: usize>(source: &mut impl BufRead) -> Result<[u8; N], ContentFault> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(|_| truncated())?;
    Ok(bytes)
}

fn invalid(reason: &str) -> ContentFault {
    ContentFault::Undecodable { compression: "gzip", reason: reason.to_owned() }
}

fn truncated() -> ContentFault {
    invalid("it is truncated")
}
