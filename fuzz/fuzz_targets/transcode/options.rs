//! Settings of an execution.

use zstart_transcode::Verify;

/// Number of bytes of the settings.
const BYTES: usize = 4;

/// Limit of uncompressed bytes.
pub(crate) enum Limit {
    /// Only that of all executions.
    None,
    /// The stream's number of bytes.
    Exact,
    /// One byte less.
    TooSmall,
    Bytes(usize),
}

/// Settings of an execution.
pub(crate) struct Options {
    pub(crate) limit: Limit,
    pub(crate) verify: Verify,
    /// Checksums and lengths of the stream are replaced by right ones.
    pub(crate) repair: bool,
    /// Chooses the sizes of pieces.
    pieces: u8,
    /// Chooses the verification of the second transcoding.
    other: u8,
}

fn verify(choice: u8) -> Verify {
    match choice % 4 {
        0 => Verify::Full,
        1 => Verify::Off,
        2 => Verify::Each,
        _ => Verify::Sampled,
    }
}

impl Options {
    /// Takes the settings from the end of the input. Zeros are a stream whose checksums are repaired, in pieces that
    /// depend on the first byte.
    pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], Self)> {
        let (stream, options) = bytes.split_last_chunk::<BYTES>()?;
        let [pieces, choice, limit, repair] = *options;
        let limit = match limit % 8 {
            0..5 => Limit::None,
            5 => Limit::Exact,
            6 => Limit::TooSmall,
            _ => Limit::Bytes(usize::from(limit) * usize::from(pieces) * 32),
        };
        let (verify, other) = (verify(choice), choice / 4);
        Some((stream, Self { limit, verify, repair: repair < 192, pieces, other }))
    }

    pub(crate) fn other_verify(&self) -> Verify {
        verify(self.other)
    }

    /// Size of piece `number`: one size for all, or different ones.
    pub(crate) fn piece_bytes(&self, number: usize) -> usize {
        let choice = usize::from(self.pieces);
        match choice {
            0 => usize::MAX,
            1..96 => choice,
            96..128 => 1 << (choice % 20),
            128..160 => (64 << 10) - 144 + choice,
            _ => 1 + (number + 1).wrapping_mul(choice).wrapping_mul(2_654_435_761) % (1 << (choice % 16 + 1)),
        }
    }
}
