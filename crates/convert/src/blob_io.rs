//! The bridge between async transfers and the thread that works on a layer.
//!
//! Both directions are bounded: a side that stalls stops the other one, and memory stays constant.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender};
use zstart_core::Digest;
use zstart_registry::{ByteStream, RegistryError};

use crate::converted_layer::BlobInfo;

/// Chunks that may wait in a channel.
pub(crate) const CHANNEL_CHUNKS: usize = 8;
/// Size of the encoder's chunks, in bytes. (Input chunks have the network's sizes, 16 KiB to 256 KiB.) With
/// [`CHANNEL_CHUNKS`] this bounds a layer's buffers to some 3 MiB in addition to zstd's own memory, which
/// depends on the level: see [`layers_at_once`](crate::Settings::layers_at_once).
const OUTPUT_CHUNK: usize = 128 * 1024;
/// Largest blob that is buffered and sent whole, in bytes: one chunk of the encoder.
const BUFFERED_MAX: usize = OUTPUT_CHUNK;

/// A pulled blob, hashed and counted as it is read.
pub(crate) struct HashingReader {
    receiver: Receiver<Result<Bytes, RegistryError>>,
    current: Bytes,
    hash: Sha256,
    count: u64,
    expected_size: u64,
    failure: Option<RegistryError>,
}

impl HashingReader {
    /// Reads a blob that should have `expected_size` bytes. Of a larger blob at most one more chunk is read.
    pub(crate) fn new(receiver: Receiver<Result<Bytes, RegistryError>>, expected_size: u64) -> Self {
        let (current, hash) = (Bytes::new(), Sha256::new());
        Self { receiver, current, hash, count: 0, expected_size, failure: None }
    }

    /// Reads the rest and measures all of it.
    pub(crate) fn finish(mut self) -> Result<BlobInfo, RegistryError> {
        // `failure` has the cause of an error.
        while let Ok(rest) = self.fill_buf()
            && !rest.is_empty()
        {
            let count = rest.len();
            self.consume(count);
        }
        if let Some(error) = self.failure {
            return Err(error);
        }
        let digest = Digest::from_sha256(self.hash.finalize().into());
        Ok(BlobInfo { digest, size: self.count })
    }

    /// The store's error, if the pull has failed. `Read` can only report that it did.
    pub(crate) fn take_failure(&mut self) -> Option<RegistryError> {
        self.failure.take()
    }
}

impl BufRead for HashingReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && self.count <= self.expected_size {
            match self.receiver.blocking_recv() {
                Some(Ok(chunk)) => {
                    self.current = chunk;
                    self.hash.update(&self.current);
                    self.count += self.current.len() as u64;
                }
                Some(Err(error)) => {
                    self.failure = Some(error);
                    return Err(io::Error::other("the pull failed"));
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

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

/// Converted bytes, hashed and counted as they are written.
pub(crate) struct HashingWriter {
    sender: Sender<Bytes>,
    pending: BytesMut,
    hash: Sha256,
    count: u64,
}

impl HashingWriter {
    pub(crate) fn new(sender: Sender<Bytes>) -> Self {
        Self { sender, pending: BytesMut::with_capacity(OUTPUT_CHUNK), hash: Sha256::new(), count: 0 }
    }

    /// Sends the rest and measures all of it.
    pub(crate) fn finish(mut self) -> io::Result<BlobInfo> {
        self.flush()?;
        let digest = Digest::from_sha256(self.hash.finalize().into());
        Ok(BlobInfo { digest, size: self.count })
    }

    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.pending, BytesMut::with_capacity(OUTPUT_CHUNK)).freeze();
        self.hash.update(&chunk);
        self.count += chunk.len() as u64;
        // The upload has ended with an error of its own.
        self.sender.blocking_send(chunk).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for HashingWriter {
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

/// A blob to be uploaded.
pub(crate) enum Content {
    /// All of it, at most [`BUFFERED_MAX`] bytes.
    Buffered(Bytes),
    Stream(ByteStream),
}

/// Buffers the content if it has at most [`BUFFERED_MAX`] bytes.
pub(crate) async fn buffer_small(mut content: ByteStream) -> Content {
    let (mut front, mut size) = (Vec::<Bytes>::new(), 0);
    while size <= BUFFERED_MAX {
        match content.next().await {
            None => return Content::Buffered(front.concat().into()),
            Some(Ok(chunk)) => {
                size += chunk.len();
                front.push(chunk);
            }
            // The reader of the stream gets the error.
            Some(Err(error)) => {
                content = Box::pin(stream::iter([Err(error)]).chain(content));
                break;
            }
        }
    }
    Content::Stream(Box::pin(stream::iter(front.into_iter().map(Ok)).chain(content)))
}

/// A receiver's chunks as a stream that starts with `first`.
pub(crate) fn stream_of(first: Bytes, receiver: Receiver<Bytes>) -> ByteStream {
    let rest =
        stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    Box::pin(stream::iter([first]).chain(rest).map(Ok))
}
