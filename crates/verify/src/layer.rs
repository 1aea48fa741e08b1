//! Reads one layer: compressed digest and size, compression, uncompressed digest and size.
//!
//! The network part runs on the caller's task, decoder and hashes on one blocking thread. A bounded channel
//! connects them, so memory doesn't depend on the layer's size.

use std::io::{self, BufRead, Read};

use bytes::{Buf as _, Bytes};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use crate::compression::{self, Compression};
use crate::digest::{Digest, Hasher};
use crate::fault::ContentFault;
use crate::plain::PlainSink;
use crate::reader::{ImageReader, ReadError, ReadErrorKind};

/// Pieces between network and decoder. A piece of a registry's response has 16 KiB, of a file 256 KiB.
const PIECES: usize = 16;

/// Content of a layer whose bytes have the descriptor's digest and size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LayerContent {
    pub(crate) compression: Compression,
    pub(crate) plain_digest: Digest,
    pub(crate) plain_bytes: u64,
}

/// A layer that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LayerReading {
    Content(LayerContent),
    Fault {
        /// Compression, if the first bytes arrived.
        compression: Option<Compression>,
        fault: ContentFault,
    },
}

impl LayerReading {
    /// Compression, if the first bytes arrived.
    pub(crate) fn compression(&self) -> Option<Compression> {
        match self {
            Self::Content(content) => Some(content.compression),
            Self::Fault { compression, fault: _ } => *compression,
        }
    }
}

/// Outcome of the blocking thread.
struct Decoded {
    compressed_digest: Digest,
    compressed_bytes: u64,
    compression: Compression,
    plain: Result<(Digest, u64), ContentFault>,
}

/// Reads a layer. A fault of the content is no error: the caller reports it.
pub(crate) async fn read_layer(
    reader: &dyn ImageReader,
    digest: &Digest,
    size: u64,
) -> Result<LayerReading, ReadError> {
    let mut stream = reader.blob(digest).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let (expected, algorithm) = (digest.clone(), digest.algorithm());
    let decoder = tokio::task::spawn_blocking(move || {
        let input = Input { receiver, piece: Bytes::new(), hasher: Hasher::new(algorithm), count: 0 };
        decode(input, size)
    });
    let mut received = 0;
    while let Some(piece) = stream.next().await {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) if error.kind == ReadErrorKind::Content => break,
            Err(error) => return Err(error),
        };
        received += piece.len() as u64;
        if received > size {
            let fault = ContentFault::Size { expected: size, is_longer: true };
            return Ok(LayerReading::Fault { compression: None, fault });
        }
        if sender.send(piece).await.is_err() {
            break;
        }
    }
    drop(sender);
    let decoded = decoder
        .await
        .map_err(|error| ReadError::new(ReadErrorKind::Other, format!("decode layer {digest}"), error))?;
    Ok(decoded.compare(&expected, size))
}

impl Decoded {
    /// Compares with the descriptor. Wrong bytes explain a failed decoder, so they are reported first.
    fn compare(self, expected: &Digest, size: u64) -> LayerReading {
        let Self { compressed_digest: found, compressed_bytes, compression, plain } = self;
        let fault = if compressed_bytes < size {
            ContentFault::Size { expected: size, is_longer: false }
        } else if found != *expected {
            ContentFault::Digest { found, expected: expected.clone() }
        } else {
            match plain {
                Ok((plain_digest, plain_bytes)) => {
                    return LayerReading::Content(LayerContent { compression, plain_digest, plain_bytes });
                }
                Err(fault) => fault,
            }
        };
        LayerReading::Fault { compression: Some(compression), fault }
    }
}

fn decode(mut input: Input, size: u64) -> Decoded {
    let mut sink = PlainSink::for_layer(size);
    let (compression, decoded) = compression::decode(&mut input, &mut sink);
    input.drain();
    Decoded {
        compressed_digest: input.hasher.finish(),
        compressed_bytes: input.count,
        compression,
        plain: decoded.map(|()| sink.finish()),
    }
}

/// Compressed bytes from the channel, hashed as they arrive.
struct Input {
    receiver: mpsc::Receiver<Bytes>,
    piece: Bytes,
    hasher: Hasher,
    count: u64,
}

impl Input {
    /// Reads the bytes that a failed decoder left, for the digest.
    fn drain(&mut self) {
        while !self.fill_buf().unwrap_or_default().is_empty() {
            self.piece.clear();
        }
    }
}

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.piece.is_empty() {
            let Some(piece) = self.receiver.blocking_recv() else { break };
            self.hasher.update(&piece);
            self.count += piece.len() as u64;
            self.piece = piece;
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}
