//! Windows of zstd frames: the one that zstart writes, and the largest that it reads.

/// Binary logarithm of the window: 8 MiB at every level. RFC 8878 recommends that every decoder supports
/// 8 MiB, and no more. zstd's own windows are smaller up to level 16, but repetitions in layers are farther
/// apart. At level 3, compared with 2 MiB, a Debian tree becomes 4.2 % smaller, a `node_modules` 3.3 %,
/// Python packages 1.3 %, for 6 to 8 % more work (`make bench`).
pub(crate) const WINDOW_LOG: u32 = 23;
/// Binary logarithm of the largest accepted window: 32 MiB, the maximum of the encoder in Go's container
/// tools. The limit bounds the memory that another encoder's layer can use.
pub(crate) const WINDOW_LOG_MAX: u32 = 25;
