//! Writes deflate's bits and codes.

/// Longest code in bits.
const MAX_BITS: u8 = 15;

/// Writes bits, lowest first.
pub(crate) struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    buffer: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes, buffer: 0, count: 0 }
    }

    /// At most 16 bits.
    pub(crate) fn bits(&mut self, value: usize, count: u32) {
        self.buffer |= (value as u64) << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.buffer as u8);
            self.buffer >>= 8;
            self.count -= 8;
        }
    }

    /// Fills the last byte with zeros.
    pub(crate) fn align(&mut self) {
        self.bits(0, (8 - self.count % 8) % 8);
    }

    /// Appends whole bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.align();
        self.bytes.extend_from_slice(bytes);
    }
}

/// A Huffman code.
pub(crate) struct Code {
    /// Length of each symbol's code in bits, 0 for a symbol without one.
    pub(crate) lengths: Vec<u8>,
    codes: Vec<u16>,
}

impl Code {
    /// The code with these lengths (RFC 1951, 3.2.2).
    pub(crate) fn new(lengths: Vec<u8>) -> Self {
        let mut codes = vec![0; lengths.len()];
        let mut next = 0_u32;
        for bits in 1..=MAX_BITS {
            next <<= 1;
            for (code, _) in codes.iter_mut().zip(&lengths).filter(|(_, length)| **length == bits) {
                *code = (next as u16).reverse_bits() >> (16 - bits);
                next += 1;
            }
        }
        Self { lengths, codes }
    }

    /// A complete code of the symbols for which `used` holds. `choices` decide how deep each one is.
    pub(crate) fn of_symbols(used: &[bool], choices: &mut impl Iterator<Item = u8>) -> Self {
        let count = used.iter().filter(|used| **used).count();
        // Leaves of a tree. Each step splits one.
        let mut leaves = vec![0_u8];
        while leaves.len() < count {
            let choice = choices.next().unwrap_or(0);
            let at = if choice < 128 { leaves.len() - 1 } else { usize::from(choice) % leaves.len() };
            // The deepest leaf has 15 bits. A tree of 286 leaves always has one that is less deep.
            let mut order = (at..leaves.len()).chain(0..at);
            let at = order.find(|at| leaves[*at] < MAX_BITS).expect("2^15 leaves are more than all symbols");
            leaves[at] += 1;
            leaves.push(leaves[at]);
        }
        // A single symbol has one bit.
        let mut leaves = leaves.into_iter().map(|leaf| leaf.max(1));
        Self::new(used.iter().map(|used| if *used { leaves.next().unwrap_or(0) } else { 0 }).collect())
    }

    pub(crate) fn write(&self, symbol: usize, writer: &mut BitWriter<'_>) {
        writer.bits(self.codes[symbol].into(), self.lengths[symbol].into());
    }
}
