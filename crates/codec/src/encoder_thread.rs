//! Encodes on a second thread, in parallel with the decoder. A single layer then needs little more than half
//! the time, and no core is idle while the last of several layers is converted.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use zstd::stream::write::Encoder;

use super::LayerError;

/// Number of chunks queued between the two threads. The decoder emits chunks of at most 128 KiB, so the queue
/// holds at most 1 MiB.
const QUEUE_LENGTH: usize = 8;

/// The receiver of the decoder's bytes, in order.
pub(super) type ByteSink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), LayerError>;

/// A message to the encoder thread.
enum Message {
    Chunk(Vec<u8>),
    /// The end of the layer. A decoder that fails never sends `End`.
    End,
}

/// Runs `decode` on the calling thread. The second thread passes each chunk to `inspect` and then to the
/// encoder.
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
            // The threads reuse the buffers, because a layer has thousands of chunks.
            let mut buffer: Vec<u8> = reusable.try_recv().unwrap_or_default();
            buffer.clear();
            buffer.extend_from_slice(bytes);
            // The queue is closed only if the encoder failed. The encoder's own error is returned below.
            messages.send(Message::Chunk(buffer)).map_err(|_| encoder_stopped())
        });
        if decoded.is_ok() {
            // If the queue is closed, the encoder's own error is returned below.
            let _ = messages.send(Message::End);
        }
        drop(messages);
        match encoding.join() {
            Ok(Ok(())) => decoded,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LayerError::Write { source: io::Error::other("the encoder thread panicked") }),
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
                // After the decoder's end, the buffer has no receiver and is freed.
                let _ = emptied.try_send(buffer);
            }
            Ok(Message::End) => {
                return encoder.finish().and_then(|mut target| target.flush()).map_err(write_error);
            }
            // The decoder failed, so the frame stays unfinished and the caller discards it.
            Err(_) => return Ok(()),
        }
    }
}
