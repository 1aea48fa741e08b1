//! Header of a gzip member (RFC 1952, 2.3).

use crc32fast::Hasher;

use super::error::Damage;

/// Flag of a checksum of the header.
const CHECKSUM: u8 = 1 << 1;
/// Flag of an extra field.
const EXTRA: u8 = 1 << 2;
/// Flag of a file name.
const NAME: u8 = 1 << 3;
/// Flag of a comment.
const COMMENT: u8 = 1 << 4;
/// Flags that must be zero.
const RESERVED: u8 = 0b1110_0000;
/// Longest file name or comment in bytes. flate2 has the same limit.
const MAX_FIELD_BYTES: u32 = 65_535;

/// Value of the extra flags that says that the compressor was at its fastest.
const FASTEST: u8 = 4;

/// Part of a header that the next byte belongs to.
enum Part {
    /// Byte of the fixed part.
    Fixed(u8),
    ExtraLength(Option<u8>),
    Extra(u16),
    Name(u32),
    Comment(u32),
    Checksum(Option<u8>),
    Done,
}

/// A parser of a header, byte by byte.
pub(crate) struct HeaderParser {
    part: Part,
    flags: u8,
    extra_flags: u8,
    checksum: Hasher,
}

impl HeaderParser {
    pub(crate) fn new() -> Self {
        Self { part: Part::Fixed(0), flags: 0, extra_flags: 0, checksum: Hasher::new() }
    }

    /// Parses bytes up to the header's end. Returns the number of bytes used, and whether the header is
    /// complete.
    pub(crate) fn parse(&mut self, bytes: &[u8]) -> Result<(usize, bool), Damage> {
        for (index, byte) in bytes.iter().enumerate() {
            self.parse_byte(*byte)?;
            if matches!(self.part, Part::Done) {
                return Ok((index + 1, true));
            }
        }
        Ok((bytes.len(), false))
    }

    /// Returns whether the header says that the compressor was at its fastest.
    pub(crate) fn is_fastest(&self) -> bool {
        self.extra_flags == FASTEST
    }

    fn parse_byte(&mut self, byte: u8) -> Result<(), Damage> {
        if self.flags & CHECKSUM != 0 && !matches!(self.part, Part::Checksum(_)) {
            self.checksum.update(&[byte]);
        }
        self.part = match self.part {
            Part::Fixed(0) if byte != 0x1f => return Err(Damage::Magic),
            Part::Fixed(1) if byte != 0x8b => return Err(Damage::Magic),
            Part::Fixed(2) if byte != 8 => return Err(Damage::Method),
            Part::Fixed(3) => {
                if byte & RESERVED != 0 {
                    return Err(Damage::ReservedFlag);
                }
                self.flags = byte;
                self.checksum.update(&[0x1f, 0x8b, 8, byte]);
                Part::Fixed(4)
            }
            Part::Fixed(8) => {
                self.extra_flags = byte;
                Part::Fixed(9)
            }
            Part::Fixed(9) => self.part_after(0),
            Part::Fixed(index) => Part::Fixed(index + 1),
            Part::ExtraLength(None) => Part::ExtraLength(Some(byte)),
            Part::ExtraLength(Some(low)) => match u16::from_le_bytes([low, byte]) {
                0 => self.part_after(EXTRA),
                length => Part::Extra(length),
            },
            Part::Extra(1) => self.part_after(EXTRA),
            Part::Extra(remaining) => Part::Extra(remaining - 1),
            Part::Name(_) if byte == 0 => self.part_after(NAME),
            Part::Comment(_) if byte == 0 => self.part_after(COMMENT),
            Part::Name(MAX_FIELD_BYTES) | Part::Comment(MAX_FIELD_BYTES) => return Err(Damage::HeaderField),
            Part::Name(length) => Part::Name(length + 1),
            Part::Comment(length) => Part::Comment(length + 1),
            Part::Checksum(None) => Part::Checksum(Some(byte)),
            Part::Checksum(Some(low)) => {
                let sum = self.checksum.clone().finalize().to_le_bytes();
                if sum[..2] != [low, byte] {
                    return Err(Damage::HeaderChecksum);
                }
                Part::Done
            }
            Part::Done => Part::Done,
        };
        Ok(())
    }

    /// The part that follows the part of the flag `done`.
    fn part_after(&self, done: u8) -> Part {
        let has = |flag: u8| self.flags & flag != 0;
        if done < EXTRA && has(EXTRA) {
            Part::ExtraLength(None)
        } else if done < NAME && has(NAME) {
            Part::Name(0)
        } else if done < COMMENT && has(COMMENT) {
            Part::Comment(0)
        } else if has(CHECKSUM) {
            Part::Checksum(None)
        } else {
            Part::Done
        }
    }
}
