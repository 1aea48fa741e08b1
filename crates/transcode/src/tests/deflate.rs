//! Deflate streams written symbol by symbol.

/// Writes bits, lowest first.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Number of bits in the last byte.
    used: u32,
}

impl BitWriter {
    pub(super) fn bits(&mut self, value: u32, count: u32) -> &mut Self {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            *self.bytes.last_mut().unwrap() |= u8::try_from((value >> bit) & 1).unwrap() << (self.used % 8);
            self.used += 1;
        }
        self
    }

    /// Writes a code, whose highest bit is first.
    pub(super) fn code(&mut self, code: u32, count: u32) -> &mut Self {
        self.bits(code.reverse_bits() >> (32 - count), count)
    }

    pub(super) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// A literal or length symbol of the fixed code.
    pub(super) fn fixed(&mut self, symbol: u32) -> &mut Self {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }

    pub(super) fn fixed_literals(&mut self, literals: &[u8]) -> &mut Self {
        for literal in literals {
            self.fixed(u32::from(*literal));
        }
        self
    }

    /// The header of a dynamic block whose code lengths are all written by themselves. The code of code lengths
    /// has four bits for each of the lengths 0 to 15.
    pub(super) fn dynamic(&mut self, is_last: bool, literals: &[u8], distances: &[u8]) -> &mut Self {
        self.bits(is_last.into(), 1).bits(2, 2);
        self.bits(u32::try_from(literals.len()).unwrap() - 257, 5);
        self.bits(u32::try_from(distances.len()).unwrap() - 1, 5);
        self.bits(19 - 4, 4);
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] {
            self.bits(if symbol < 16 { 4 } else { 0 }, 3);
        }
        for length in literals.iter().chain(distances) {
            self.code(u32::from(*length), 4);
        }
        self
    }
}
