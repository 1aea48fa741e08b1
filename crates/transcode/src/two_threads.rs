//! One stage per thread.

use std::io::BufRead;
use std::panic;
use std::sync::mpsc::{self, Receiver as Channel, Sender, SyncSender};
use std::thread;

use super::back::Back;
use super::error::TranscodeError;
use super::front::{Front, PlainBlock, Receiver};
use super::settings::{Settings, Verify};
use super::tokens::Token;
use super::transcoder::Summary;

/// Blocks that exist at the same time: one in each stage, and those between them. A block has up to 470 KiB.
const BLOCKS: usize = 3;

/// A block on its way to the second stage.
#[derive(Default)]
struct OwnedBlock {
    plain: Vec<u8>,
    tokens: Vec<Token>,
    first: usize,
}

impl OwnedBlock {
    /// Replaces the content, and keeps the memory.
    fn fill(&mut self, block: PlainBlock<'_>) {
        self.plain.clear();
        self.plain.extend_from_slice(block.plain);
        self.tokens.clear();
        self.tokens.extend_from_slice(block.tokens);
        self.first = block.first;
    }

    fn borrow(&self) -> PlainBlock<'_> {
        PlainBlock { plain: &self.plain, tokens: &self.tokens, first: self.first }
    }
}

/// A message to the second stage.
enum Message {
    Block(OwnedBlock),
    /// The stream is complete and good.
    End,
}

/// The second stage has failed, and will say why.
struct BackStopped;

/// Reads gzip from `source` to its end like [`transcode`](super::transcode), with a second thread for the second
/// half of the work. The frame is the same. `plain` gets the uncompressed bytes on the calling thread, and `frame`
/// gets the frame on the second thread.
pub fn transcode_in_two_threads(
    source: &mut dyn BufRead,
    settings: Settings,
    plain: &mut Receiver<'_>,
    frame: &mut (dyn FnMut(&[u8]) -> std::io::Result<()> + Send),
) -> Result<Summary, TranscodeError> {
    let (full_sender, full_blocks) = mpsc::sync_channel(BLOCKS);
    let (empty_sender, empty_blocks) = mpsc::channel();
    #[cfg(test)]
    let broken = super::sabotage::current();
    thread::scope(|scope| {
        let second = thread::Builder::new()
            .name("zstd writer".into())
            .spawn_scoped(scope, move || {
                #[cfg(test)]
                super::sabotage::set(broken);
                write_frame(settings.verify, &full_blocks, &empty_sender, frame)
            })
            .map_err(|source| TranscodeError::Thread { source })?;
        let mut reader = Reader { blocks: 0, full: full_sender, empty: empty_blocks };
        let read = reader.read(source, settings, plain);
        drop(reader);
        let written = second.join().unwrap_or_else(|panic| panic::resume_unwind(panic));
        // An error of the second stage concerns bytes before those that the first stage has failed at.
        let summary = written?;
        let gzip = read?;
        Ok(Summary { gzip, ..summary })
    })
}

/// The first stage, and its ends of the channels.
struct Reader {
    /// Number of blocks that exist.
    blocks: usize,
    full: SyncSender<Message>,
    empty: Channel<OwnedBlock>,
}

impl Reader {
    /// Reads the stream to its end, or until the second stage has failed. Returns the number of gzip bytes.
    fn read(
        &mut self,
        source: &mut dyn BufRead,
        settings: Settings,
        plain: &mut Receiver<'_>,
    ) -> Result<u64, TranscodeError> {
        let mut front = Front::new(settings.max_uncompressed);
        loop {
            let mut piece = source.fill_buf().map_err(|source| TranscodeError::Read { source })?;
            let count = piece.len();
            if count == 0 {
                break;
            }
            while !piece.is_empty() {
                front.fill(&mut piece);
                if self.send_blocks(&mut front, plain)?.is_err() {
                    return Ok(front.offset());
                }
            }
            source.consume(count);
        }
        front.set_final();
        if self.send_blocks(&mut front, plain)?.is_ok() {
            front.finish()?;
            let _ = self.send(front.block()).map(|()| self.full.send(Message::End));
        }
        Ok(front.offset())
    }

    /// Sends complete blocks until the input is used up.
    fn send_blocks(
        &mut self,
        front: &mut Front,
        plain: &mut Receiver<'_>,
    ) -> Result<Result<(), BackStopped>, TranscodeError> {
        while front.run(plain)? {
            if let Err(stopped) = self.send(front.block()) {
                return Ok(Err(stopped));
            }
        }
        Ok(Ok(()))
    }

    /// Sends a block, in the memory of one that was used if there are enough.
    fn send(&mut self, block: PlainBlock<'_>) -> Result<(), BackStopped> {
        let mut owned = if self.blocks < BLOCKS {
            self.blocks += 1;
            OwnedBlock::default()
        } else {
            self.empty.recv().map_err(|_| BackStopped)?
        };
        owned.fill(block);
        self.full.send(Message::Block(owned)).map_err(|_| BackStopped)
    }
}

/// Runs the second stage. If the stream ends early, the summary has no meaning.
fn write_frame(
    verify: Verify,
    blocks: &Channel<Message>,
    empty: &Sender<OwnedBlock>,
    frame: &mut Receiver<'_>,
) -> Result<Summary, TranscodeError> {
    let mut back = Back::new(verify)?;
    for message in blocks {
        match message {
            Message::Block(block) => {
                back.push(block.borrow(), frame)?;
                // The first stage may have ended.
                let _ = empty.send(block);
            }
            Message::End => return back.finish(frame),
        }
    }
    Ok(Summary::default())
}
