//! Log output that never blocks the writer of a log line.
//!
//! A write to a full pipe blocks until the other side reads, e.g. while a container runtime restarts. A blocked
//! handler thread would answer neither reviews nor probes. One thread therefore writes the lines, and lines
//! beyond a bounded buffer are dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use zstart_core::sync::lock;

#[cfg(test)]
mod tests;

/// Most bytes of lines that wait for the output: some 4,000 lines.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// Delay before a write to an output that is full and doesn't block.
const FULL_OUTPUT_DELAY: Duration = Duration::from_millis(10);

/// Log of this process.
static LOG: OnceLock<LogWriter> = OnceLock::new();

/// Lines that this process dropped because its output wasn't read.
pub fn dropped_lines() -> u64 {
    LOG.get().map_or(0, LogWriter::dropped)
}

/// Returns the log of this process, which writes to standard output. Starts its thread at the first call.
pub(crate) fn standard_output() -> io::Result<LogWriter> {
    if let Some(log) = LOG.get() {
        return Ok(log.clone());
    }
    // A file of its own: `std::io::Stdout` has a lock, which the thread would hold while it is blocked.
    let output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let log = LogWriter::start(output, MAX_WAITING_BYTES)?;
    Ok(LOG.get_or_init(|| log).clone())
}

/// Queue of log lines in front of a blocking output. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct LogWriter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    dropped: AtomicU64,
    max_waiting: usize,
}

#[derive(Debug, Default)]
struct Queue {
    /// Lines that wait, one after the other.
    waiting: Vec<u8>,
    /// The thread writes lines that are no longer in `waiting`.
    is_writing: bool,
}

impl LogWriter {
    /// Starts the thread that writes to `output`. At most `max_waiting` bytes wait.
    fn start(output: impl Write + Send + 'static, max_waiting: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            dropped: AtomicU64::new(0),
            max_waiting,
        });
        let log = Self(Arc::clone(&shared));
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(output))?;
        Ok(log)
    }

    fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Adds a line, or drops and counts the line if the buffer is full.
    fn push(&self, line: &[u8]) {
        let mut queue = lock(&self.0.queue);
        if queue.waiting.len() + line.len() > self.0.max_waiting {
            drop(queue);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.waiting.extend_from_slice(line);
        drop(queue);
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, or until `limit` if the output isn't read.
    pub(crate) fn flush_within(&self, limit: Duration) {
        let queue = lock(&self.0.queue);
        let is_pending = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        // A poisoned lock ends the wait early, which loses log lines only.
        drop(self.0.changed.wait_timeout_while(queue, limit, is_pending));
    }
}

impl Shared {
    /// Writes lines until the process ends.
    fn write_to(&self, mut output: impl Write) {
        let mut lines = Vec::new();
        let mut reported = 0;
        loop {
            self.take(&mut lines);
            let lost = write_lines(&mut output, &lines);
            lines.clear();
            let dropped = self.dropped.fetch_add(lost, Ordering::Relaxed) + lost;
            lock(&self.queue).is_writing = false;
            self.changed.notify_all();
            // An output that refuses lines would refuse this one, too.
            if lost == 0 && dropped > reported {
                tracing::warn!(lines = dropped - reported, "dropped log lines: standard output wasn't read");
                reported = dropped;
            }
        }
    }

    /// Waits for lines, and swaps them with the empty `lines`.
    fn take(&self, lines: &mut Vec<u8>) {
        let mut queue = lock(&self.queue);
        while queue.waiting.is_empty() {
            queue = unpoisoned(self.changed.wait(queue));
        }
        std::mem::swap(&mut queue.waiting, lines);
        queue.is_writing = true;
    }
}

fn unpoisoned<'a>(
    waited: Result<MutexGuard<'a, Queue>, PoisonError<MutexGuard<'a, Queue>>>,
) -> MutexGuard<'a, Queue> {
    waited.unwrap_or_else(PoisonError::into_inner)
}

/// Writes whole lines. Returns the number of lines that the output refused.
fn write_lines(output: &mut impl Write, mut lines: &[u8]) -> u64 {
    while !lines.is_empty() {
        match output.write(lines) {
            Ok(0) => break,
            Ok(written) => lines = &lines[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The process shares the pipe with a process that made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::park_timeout(FULL_OUTPUT_DELAY);
            }
            Err(_) => break,
        }
    }
    lines.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// One write is one line: `tracing-subscriber` formats an event before it writes.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
