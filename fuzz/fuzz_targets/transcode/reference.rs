//! Gzip decoded by zlib-rs, and repaired with its help.

use std::io::Read as _;

use flate2::bufread::{DeflateDecoder, GzDecoder};

/// Flags of a member's header (RFC 1952, 2.3.1).
const HEADER_CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
/// Bytes of a header without optional fields.
const HEADER_BYTES: usize = 10;
/// Bytes of a trailer: checksum and length.
const TRAILER_BYTES: usize = 8;

/// The verdict of zlib-rs, and the bytes before the end or the first damage.
pub(crate) enum Reference {
    Good(Vec<u8>),
    Damaged(Vec<u8>),
    TooLarge(Vec<u8>),
}

impl Reference {
    pub(crate) fn plain(&self) -> &[u8] {
        let (Self::Good(plain) | Self::Damaged(plain) | Self::TooLarge(plain)) = self;
        plain
    }
}

/// Decodes all members. Zeros may follow a member, other bytes may not.
pub(crate) fn decode(mut gzip: &[u8], max_plain: usize) -> Reference {
    let mut plain = Vec::new();
    loop {
        let mut decoder = GzDecoder::new(gzip);
        let most = (max_plain + 1 - plain.len()) as u64;
        let result = decoder.by_ref().take(most).read_to_end(&mut plain);
        if plain.len() > max_plain {
            return Reference::TooLarge(plain);
        }
        if result.is_err() {
            return Reference::Damaged(plain);
        }
        gzip = decoder.into_inner();
        gzip = &gzip[gzip.iter().take_while(|byte| **byte == 0).count()..];
        match gzip.first() {
            None => return Reference::Good(plain),
            Some(0x1f) => {}
            Some(_) => return Reference::Damaged(plain),
        }
    }
}

/// A deflate stream's content and its number of compressed bytes, if the stream is good.
fn inflate(deflate: &[u8], max_plain: usize) -> Option<(Vec<u8>, usize)> {
    let mut plain = Vec::new();
    let mut decoder = DeflateDecoder::new(deflate);
    decoder.by_ref().take(max_plain as u64).read_to_end(&mut plain).ok()?;
    (plain.len() < max_plain).then(|| (plain, deflate.len() - decoder.into_inner().len()))
}

/// Number of bytes of a member's header, and of those before its checksum.
fn header_bytes(gzip: &[u8]) -> Option<(usize, Option<usize>)> {
    let flags = *gzip.get(3)?;
    let mut count = HEADER_BYTES;
    if flags & EXTRA != 0 {
        let length = gzip.get(count..)?.first_chunk::<2>()?;
        count += 2 + usize::from(u16::from_le_bytes(*length));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            count += gzip.get(count..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    let checksum = (flags & HEADER_CHECKSUM != 0).then_some(count);
    Some((count + if checksum.is_some() { 2 } else { 0 }, checksum))
}

/// Appends a deflate stream up to its end and a right trailer. Returns the number of bytes that the stream has.
/// Appends all bytes without a trailer if the stream is damaged.
pub(crate) fn append_body(gzip: &mut Vec<u8>, deflate: &[u8], max_plain: usize) -> usize {
    let Some((plain, used)) = inflate(deflate, max_plain) else {
        gzip.extend_from_slice(deflate);
        return deflate.len();
    };
    gzip.extend_from_slice(&deflate[..used]);
    append_trailer(gzip, &plain);
    used
}

pub(crate) fn append_trailer(gzip: &mut Vec<u8>, plain: &[u8]) {
    gzip.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    gzip.extend_from_slice(&(plain.len() as u32).to_le_bytes());
}

/// The stream with right checksums and lengths of all members up to the first damage, so that a mutation elsewhere
/// doesn't end at them.
pub(crate) fn repair(stream: &[u8], max_plain: usize) -> Vec<u8> {
    let (mut repaired, mut rest) = (Vec::with_capacity(stream.len() + TRAILER_BYTES), stream);
    while let Some((count, checksum)) = header_bytes(rest).filter(|(count, _)| *count < rest.len()) {
        let header = repaired.len();
        repaired.extend_from_slice(&rest[..count]);
        if let Some(at) = checksum {
            let [low, high, ..] = crc32fast::hash(&rest[..at]).to_le_bytes();
            repaired[header + at..header + at + 2].copy_from_slice(&[low, high]);
        }
        let used = append_body(&mut repaired, &rest[count..], max_plain);
        let next = (count + used + TRAILER_BYTES).min(rest.len());
        let zeros = rest[next..].iter().take_while(|byte| **byte == 0).count();
        repaired.extend_from_slice(&rest[next..next + zeros]);
        rest = &rest[next + zeros..];
    }
    repaired.extend_from_slice(rest);
    repaired
}
