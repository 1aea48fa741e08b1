//! Encoding on a thread of its own, beside the decoder's: a layer alone is done in little more than
//! half the time, and the last of several isn't waited for while a core is idle.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use zstd::stream::write::Encoder;

use super::LayerError;

/// How many pieces may wait between the two threads. A piece is what the decoder gives at a time, 128 KiB
/// at max_uncompressed, so this bounds what they hold to 1 MiB.
const QUEUE_LENGTH: usize = 8;

/// What takes the decoder's bytes, in order.
pub(super) type ByteSink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), LayerError>;

/// What goes to the encoder.
enum Message {
    Chunk(Vec<u8>),
    /// All of them came. A decoder that failed goes without it.
    End,
}

/// Runs `decode` here, which hands its bytes to what it is given; over there `look` gets them and they are
/// encoded.
pub(super) fn encode<W: Write + Send, T>(
    encoder: Encoder<'_, W>,
    decode: impl FnOnce(ByteSink<'_>) -> Result<T, LayerError>,
    inspect: impl FnMut(&[u8]) -> Result<(), LayerError> + Send,
) -> Result<T, LayerError> {
    thread::scope(|scope| {
        let (messages, received) = sync_channel(QUEUE_LENGTH);
        let (emptied, reusable) = sync_channel(QUEUE_LENGTH);
        let encoding = scope.spawn(move || run_encoder(encoder, inspect, &received, &emptied));
        let decoded = decode(&mut |bytes| {
            // Buffers go round: a layer has thousands of pieces.
            let mut buffer: Vec<u8> = reusable.try_recv().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(bytes);
            // Where it hangs up, it knows why.
            messages.send(Message::Chunk(buffer)).map_err(|_| encoder_stopped())
        });
        if decoded.is_ok() {
            // As above.
            let _ = messages.send(Message::End);
        }
        drop(messages);
        match encoding.join() {
            Ok(Ok(())) => decoded,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LayerError::Write { source: io::Error::other("the encoder's thread died") }),
        }
    })
}

fn encoder_stopped() -> LayerError {
    LayerError::Write { source: io::ErrorKind::BrokenPipe.into() }
}

fn run_encoder<W: Write>(
    mut encoder: Encoder<'_, W>,
    mut inspect: impl FnMut(&[u8]) -> Result<(), LayerError>,
    messages: &Receiver<Message>,
    emptied: &SyncSender<Vec<u8>>,
) -> Result<(), LayerError> {
    let write_error = |source| LayerError::Write { source };
    loop {
        match messages.recv() {
            Ok(Message::Chunk(buffer)) => {
                inspect(&buffer)?;
                encoder.write_all(&buffer).map_err(write_error)?;
                // Nobody needs it where the decoder is done.
                let _ = emptied.try_send(buffer);
            }
            Ok(Message::End) => {
                return encoder.finish().and_then(|mut target| target.flush()).map_err(write_error);
            }
            // The decoder failed: what was written is worth nothing.
            Err(_) => return Ok(()),
        }
    }
}
