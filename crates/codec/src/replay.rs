//! A layer whose first bytes were read ahead.

use std::io::{self, BufRead, Read};

/// Reads a layer's first bytes again, frees their memory, and reads on.
pub(super) struct Replay<'a> {
    start: Vec<u8>,
    used: usize,
    rest: &'a mut dyn BufRead,
}

impl<'a> Replay<'a> {
    /// The layer that begins with `start`.
    pub(super) fn new(start: Vec<u8>, rest: &'a mut dyn BufRead) -> Self {
        Self { start, used: 0, rest }
    }
}

impl Read for Replay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Replay<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used < self.start.len() { Ok(&self.start[self.used..]) } else { self.rest.fill_buf() }
    }

    fn consume(&mut self, count: usize) {
        if self.used == self.start.len() {
            return self.rest.consume(count);
        }
        self.used += count;
        if self.used == self.start.len() {
            (self.start, self.used) = (Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_ahead_come_first_and_once() {
        for ahead in 0..=5 {
            for piece in 1..=3 {
                let (start, mut rest) = (b"layer"[..ahead].to_vec(), &b"layer"[ahead..]);
                let mut replay = Replay::new(start, &mut rest);
                let (mut all, mut buffer) = (Vec::new(), [0; 3]);
                while let count @ 1.. = replay.read(&mut buffer[..piece]).unwrap() {
                    all.extend_from_slice(&buffer[..count]);
                }
                assert_eq!(all, b"layer", "{ahead} ahead, pieces of {piece}");
                assert_eq!(replay.start.capacity(), 0);
            }
        }
    }
}
