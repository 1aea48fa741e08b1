//! A reader that counts bytes and records whether the source failed.

use std::io::{self, BufRead, Read};

/// The compressed bytes that a decoder reads.
pub(super) struct CountingReader<'a> {
    inner: &'a mut dyn BufRead,
    count: u64,
    failed: bool,
}

impl<'a> CountingReader<'a> {
    pub(super) fn new(inner: &'a mut dyn BufRead) -> Self {
        Self { inner, count: 0, failed: false }
    }

    /// Number of bytes read.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether the source failed. A decoder's error is then a consequence of that failure.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}

impl Read for CountingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.inner.read(buffer);
        self.failed |= result.is_err();
        self.count += *result.as_ref().unwrap_or(&0) as u64;
        result
    }
}

impl BufRead for CountingReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Self { inner, count: _, failed } = self;
        inner.fill_buf().inspect_err(|_| *failed = true)
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
        self.count += amount as u64;
    }
}
