//! Breaks a stage on purpose, for tests which show that wrong bytes are noticed.

use std::cell::Cell;

use super::sequence::Sequence;
use super::tokens::Token;

/// A stage that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Sequences of deflate's matches.
    Tokens,
    /// Sequences with far matches.
    Far,
    /// Sequences without offsets that zstd assumes wrongly.
    Assumed,
    /// Sequences as zstd gets them.
    Block,
    /// zstd's output.
    Entropy,
}

thread_local! {
    static BROKEN: Cell<Option<(Stage, usize)>> = const { Cell::new(None) };
}

/// Calls `run` while the element `number` of every list of `stage` is changed.
pub(super) fn during<T>(stage: Stage, number: usize, run: impl FnOnce() -> T) -> T {
    BROKEN.set(Some((stage, number)));
    let result = run();
    BROKEN.set(None);
    result
}

/// The stage that a test breaks, for another thread.
pub(super) fn current() -> Option<(Stage, usize)> {
    BROKEN.get()
}

/// Breaks a stage in this thread, too.
pub(super) fn set(broken: Option<(Stage, usize)>) {
    BROKEN.set(broken);
}

/// Returns whether a test breaks a stage as a whole.
pub(super) fn is_broken(stage: Stage) -> bool {
    BROKEN.get().is_some_and(|(broken, _)| broken == stage)
}

/// An element of a list that a stage hands on.
pub(super) trait Breakable {
    /// Changes the element so that it describes other bytes.
    fn damage(&mut self);
}

impl Breakable for Sequence {
    fn damage(&mut self) {
        self.offset += 1;
    }
}

impl Breakable for Token {
    fn damage(&mut self) {
        *self = Self::new(self.at() as usize, self.length() as usize, self.offset() as usize + 1);
    }
}

impl Breakable for u8 {
    fn damage(&mut self) {
        *self ^= 0x10;
    }
}

/// Breaks an element of `list`, if a test wants it.
pub(super) fn strike<T: Breakable>(stage: Stage, list: &mut [T]) {
    if let Some((broken, number)) = BROKEN.get()
        && broken == stage
        && let Some(element) = list.get_mut(number)
    {
        element.damage();
    }
}
