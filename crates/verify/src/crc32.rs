//! CRC-32 of gzip (RFC 1952, section 8), eight bytes a step.

/// Polynomial of CRC-32, reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

const TABLES: [[u32; 256]; 8] = tables();

/// Running CRC-32.
pub(crate) struct Crc32 {
    state: u32,
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "a byte")]
        let mut value = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        tables[0][byte] = value;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous: u32 = tables[table - 1][byte];
            tables[table][byte] = (previous >> 8) ^ tables[0][(previous & 0xff) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

fn look_up(table: usize, byte: u8) -> u32 {
    TABLES[table][usize::from(byte)]
}

impl Crc32 {
    pub(crate) fn new() -> Self {
        Self { state: u32::MAX }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let (steps, rest) = bytes.as_chunks::<8>();
        for step in steps {
            let mut step = *step;
            for (byte, state) in step.iter_mut().zip(self.state.to_le_bytes()) {
                *byte ^= state;
            }
            self.state = (0..8).fold(0, |state, index| state ^ look_up(7 - index, step[index]));
        }
        for byte in rest {
            let [low, ..] = self.state.to_le_bytes();
            self.state = look_up(0, low ^ byte) ^ (self.state >> 8);
        }
    }

    pub(crate) fn value(&self) -> u32 {
        !self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_the_check_text_is_the_published_one() {
        // "check" of CRC-32/ISO-HDLC in the CRC catalogue.
        for split in 0..9 {
            let mut crc = Crc32::new();
            crc.update(&b"123456789"[..split]);
            crc.update(&b"123456789"[split..]);
            assert_eq!(crc.value(), 0xcbf4_3926);
        }
    }
}
