//! How much of a layer is believed.

/// How many bytes a layer may unpack to. Conversion takes no more memory for more of them, but time:
/// 10 MB of gzip can hold 10 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// The most that any layer may, in bytes.
    pub max: u64,
    /// Up to so many bytes nobody asks about the ratio.
    pub always_allowed: u64,
    /// How many bytes may come of each compressed one. (gzip gives 1032 at most, for zeros; programs
    /// and text give 2 to 10.)
    pub max_ratio: u64,
}

impl UnpackLimits {
    /// The limit for a layer of so many compressed bytes.
    pub fn limit_for(self, compressed_size: u64) -> u64 {
        compressed_size.saturating_mul(self.max_ratio).max(self.always_allowed).min(self.max)
    }
}

impl Default for UnpackLimits {
    /// 1 TiB, and above 16 GiB at most 200 bytes for each.
    fn default() -> Self {
        Self { max: 1 << 40, always_allowed: 16 << 30, max_ratio: 200 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_limit_follows_ratio_floor_and_maximum() {
        let limits = UnpackLimits { max: 1000, always_allowed: 50, max_ratio: 10 };
        assert_eq!(
            [0, 4, 6, 99, 100, 101, u64::MAX].map(|size| limits.limit_for(size)),
            [50, 50, 60, 990, 1000, 1000, 1000]
        );
    }
}
