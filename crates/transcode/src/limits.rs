//! Limits of zstd's format.

/// Binary logarithm of the window. RFC 8878 recommends that every decoder supports 8 MiB, and no more.
pub(crate) const WINDOW_LOG: u32 = 23;
/// Largest offset of a match in bytes.
pub(crate) const WINDOW_BYTES: usize = 1 << WINDOW_LOG;
/// Largest number of plain bytes in a zstd block (RFC 8878, 3.1.1.2.4).
pub(crate) const BLOCK_BYTES: usize = 128 << 10;
