//! The bridge between the async side, where bytes come and go, and the thread that works on them.
//!
//! Both ways are bounded: a side that stalls stops the other one, and memory stays as it is.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender};
use zstart_core::Digest;

use zstart_registry::ByteStream;

/// What goes through a channel: bytes, or the reason why there are no more.
pub(super) type Chunk = Result<Bytes, io::Error>;

/// How many chunks may wait between the two sides.
pub(super) const CHUNKS: usize = 8;
/// How large the encoder's output chunks are. (Input chunks are as the network gives them, 16 KiB
/// to 256 KiB.) With [`CHUNKS`] this bounds what a layer in work holds to some 3 MiB beside what
/// zstd takes, which depends on the level: see [`layers_at_once`](crate::Settings::layers_at_once).
const OUTPUT_CHUNK: usize = 128 * 1024;

/// The largest blob that is sent whole: one that the encoder gives at once.
const WHOLE_MAX: usize = OUTPUT_CHUNK;

/// Source bytes, hashed and counted as they are read.
pub(super) struct Source {
    receiver: Receiver<Chunk>,
    current: Bytes,
    hash: Sha256,
    count: u64,
    most: u64,
}

impl Source {
    /// Of a blob that is to have `size` bytes. Of one that has more, no more than one piece is read.
    pub(super) fn new(receiver: Receiver<Chunk>, size: u64) -> Self {
        Self { receiver, current: Bytes::new(), hash: Sha256::new(), count: 0, most: size }
    }

    /// Reads what is left and says what all of it was, as far as it was read.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::from_sha256(self.hash.finalize().into()), self.count))
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && self.count <= self.most {
            match self.receiver.blocking_recv() {
                Some(chunk) => {
                    self.current = chunk?;
                    self.hash.update(&self.current);
                    self.count += self.current.len() as u64;
                }
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

/// Converted bytes, hashed and counted as they are written.
pub(super) struct Target {
    sender: Sender<Chunk>,
    pending: BytesMut,
    hash: Sha256,
    count: u64,
}

impl Target {
    pub(super) fn new(sender: Sender<Chunk>) -> Self {
        Self { sender, pending: BytesMut::with_capacity(OUTPUT_CHUNK), hash: Sha256::new(), count: 0 }
    }

    /// What was written, in all. Everything has been sent when this returns.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64)> {
        self.flush()?;
        Ok((Digest::from_sha256(self.hash.finalize().into()), self.count))
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.pending, BytesMut::with_capacity(OUTPUT_CHUNK)).freeze();
        self.hash.update(&chunk);
        self.count += chunk.len() as u64;
        // The other side has gone: it knows why.
        self.sender.blocking_send(Ok(chunk)).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(OUTPUT_CHUNK - self.pending.len());
        self.pending.extend_from_slice(&bytes[..count]);
        if self.pending.len() == OUTPUT_CHUNK {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() { Ok(()) } else { self.send() }
    }
}

/// What is to be uploaded.
pub(super) enum Content {
    /// All of it, no more than [`WHOLE_MAX`].
    Whole(Bytes),
    Stream(ByteStream),
}

/// Waits until more than [`WHOLE_MAX`] came, or everything.
pub(super) async fn gather(mut content: ByteStream) -> Content {
    let (mut front, mut size) = (Vec::<Bytes>::new(), 0);
    while size <= WHOLE_MAX {
        match content.next().await {
            None => return Content::Whole(front.concat().into()),
            Some(Ok(chunk)) => {
                size += chunk.len();
                front.push(chunk);
            }
            // Whoever reads the stream is told.
            Some(Err(error)) => {
                content = Box::pin(stream::iter([Err(error)]).chain(content));
                break;
            }
        }
    }
    Content::Stream(Box::pin(stream::iter(front.into_iter().map(Ok)).chain(content)))
}

/// A receiver's chunks as a stream, with one that was already taken out in front.
pub(super) fn stream_of(first: Chunk, receiver: Receiver<Chunk>) -> ByteStream {
    Box::pin(stream::unfold((Some(first), receiver), |(first, mut receiver)| async move {
        let chunk = match first {
            Some(chunk) => chunk,
            None => receiver.recv().await?,
        };
        Some((chunk, (None, receiver)))
    }))
}
