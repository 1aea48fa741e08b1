//! Encoding on a thread of its own, beside the decoder's: a layer alone is done in little more than
//! half the time, and the last of several isn't waited for while a core is idle.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use zstd::stream::write::Encoder;

use super::LayerError;

/// How many pieces may wait between the two threads. A piece is what the decoder gives at a time, 128 KiB
/// at max_uncompressed, so this bounds what they hold to 1 MiB.
const PIECES: usize = 8;

/// What takes the decoder's bytes, in order.
pub(super) type ByteSink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), LayerError>;

/// What goes to the encoder.
enum Piece {
    Bytes(Vec<u8>),
    /// All of them came. A decoder that failed goes without it.
    End,
}

/// Runs `decode` here, which hands its bytes to what it is given; over there `look` gets them and they are
/// encoded.
pub(super) fn encode<W: Write + Send, T>(
    encoder: Encoder<'_, W>,
    decode: impl FnOnce(ByteSink<'_>) -> Result<T, LayerError>,
    look: impl FnMut(&[u8]) -> Result<(), LayerError> + Send,
) -> Result<T, LayerError> {
    thread::scope(|scope| {
        let (pieces, to_encode) = sync_channel(PIECES);
        let (empty, to_fill) = sync_channel(PIECES);
        let encoding = scope.spawn(move || work(encoder, look, &to_encode, &empty));
        let decoded = decode(&mut |bytes| {
            // Buffers go round: a layer has thousands of pieces.
            let mut buffer: Vec<u8> = to_fill.try_recv().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(bytes);
            // Where it hangs up, it knows why.
            pieces.send(Piece::Bytes(buffer)).map_err(|_| hung_up())
        });
        if decoded.is_ok() {
            // As above.
            let _ = pieces.send(Piece::End);
        }
        drop(pieces);
        match encoding.join() {
            Ok(Ok(())) => decoded,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LayerError::Write { source: io::Error::other("the encoder's thread died") }),
        }
    })
}

fn hung_up() -> LayerError {
    LayerError::Write { source: io::ErrorKind::BrokenPipe.into() }
}

fn work<W: Write>(
    mut encoder: Encoder<'_, W>,
    mut look: impl FnMut(&[u8]) -> Result<(), LayerError>,
    pieces: &Receiver<Piece>,
    empty: &SyncSender<Vec<u8>>,
) -> Result<(), LayerError> {
    let failed = |source| LayerError::Write { source };
    loop {
        match pieces.recv() {
            Ok(Piece::Bytes(buffer)) => {
                look(&buffer)?;
                encoder.write_all(&buffer).map_err(failed)?;
                // Nobody needs it where the decoder is done.
                let _ = empty.try_send(buffer);
            }
            Ok(Piece::End) => return encoder.finish().and_then(|mut target| target.flush()).map_err(failed),
            // The decoder failed: what was written is worth nothing.
            Err(_) => return Ok(()),
        }
    }
}
