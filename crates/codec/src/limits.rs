//! How much of a layer is believed.

/// How many bytes a layer may unpack to. Conversion takes no more memory for more of them, but time:
/// 10 MB of gzip can hold 10 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// The most that any layer may, in bytes.
    pub most: u64,
    /// Up to so many bytes nobody asks about the ratio.
    pub free: u64,
    /// How many bytes may come of each compressed one. (gzip gives 1032 at most, for zeros; programs
    /// and text give 2 to 10.)
    pub ratio: u64,
}

impl UnpackLimits {
    /// The limit for a layer of so many compressed bytes.
    pub fn of(self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.ratio).max(self.free).min(self.most)
    }
}

impl Default for UnpackLimits {
    /// 1 TiB, and above 16 GiB at most 200 bytes for each.
    fn default() -> Self {
        Self { most: 1 << 40, free: 16 << 30, ratio: 200 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_layers_are_believed_by_their_ratio_and_small_ones_up_to_a_size() {
        let limits = UnpackLimits { most: 1000, free: 50, ratio: 10 };
        assert_eq!(
            [0, 4, 6, 99, 100, 101, u64::MAX].map(|size| limits.of(size)),
            [50, 50, 60, 990, 1000, 1000, 1000]
        );
    }
}
