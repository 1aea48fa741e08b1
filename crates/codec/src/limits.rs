//! Limits of a layer's uncompressed size.

/// Limits of a layer's uncompressed size. A larger layer needs more time to convert, but no more memory.
/// 10 MB of gzip can hold 10 GB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Maximum of any layer, in bytes. Default: 1 TiB.
    pub max: u64,
    /// Size in bytes up to which the ratio isn't limited. Default: 16 GiB.
    pub always_allowed: u64,
    /// Maximum ratio of uncompressed to compressed bytes. Default: 200. (gzip's maximum is 1032, for zeros;
    /// programs and text have 2 to 10.)
    pub max_ratio: u64,
}

impl UnpackLimits {
    /// The unpack limit, in bytes, of a layer of `compressed_size` bytes.
    pub fn limit_for(self, compressed_size: u64) -> u64 {
        compressed_size.saturating_mul(self.max_ratio).max(self.always_allowed).min(self.max)
    }
}

impl Default for UnpackLimits {
    /// At most 1 TiB; above 16 GiB, at most 200 bytes per compressed byte.
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
