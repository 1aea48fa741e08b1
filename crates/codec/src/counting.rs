//! A reader that knows how far it has come, and whether it was itself what failed.

use std::io::{self, BufRead, Read};

/// The compressed bytes, as a decoder reads them.
pub(super) struct CountingReader<'a> {
    inner: &'a mut dyn BufRead,
    count: u64,
    failed: bool,
}

impl<'a> CountingReader<'a> {
    pub(super) fn new(inner: &'a mut dyn BufRead) -> Self {
        Self { inner, count: 0, failed: false }
    }

    /// How many bytes were taken out.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Whether reading failed. Then what the decoder says is only an echo of that.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }
}

impl Read for CountingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer);
        self.failed |= read.is_err();
        self.count += *read.as_ref().unwrap_or(&0) as u64;
        read
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
