//! The figures of every source, and the times at which records are written. Pure.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use zstart_core::Reference;

use super::PullKind;
use super::figures::Figures;
use super::recent_pulls::RecentPulls;
use super::sources::PulledSource;
use crate::demand::Source;

#[cfg(test)]
mod tests;

/// Delay from the first pull of an image to the write of the record. A rollout pulls on many nodes at once.
const DEBOUNCE: Duration = Duration::from_secs(10);
/// Least time between two writes of one record.
const WRITE_INTERVAL: Duration = Duration::from_mins(10);
/// Least time between two reads of one record.
const READ_INTERVAL: Duration = Duration::from_mins(1);

/// A pull by a node.
#[derive(Clone, Debug)]
pub(super) struct Pull<'a> {
    pub(super) pulled: PulledSource,
    pub(super) node: &'a str,
    pub(super) took: Duration,
    pub(super) image_bytes: Option<u64>,
}

/// Effect of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Observed {
    /// The pull counts.
    Counted,
    /// The node had the layers.
    Repeated,
    /// The variant belongs to another digest of the source. The tag may have moved since the record was read.
    OtherDigest,
}

/// Figures by source. One source takes less than 1 KiB.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Source, LedgerEntry>,
    due: BTreeSet<(Instant, Source)>,
    recent: RecentPulls,
}

#[derive(Debug, Default)]
struct LedgerEntry {
    figures: Figures,
    /// Time in [`Ledger::due`].
    due: Option<Instant>,
    /// Time of the last read of the record.
    read: Option<Instant>,
    /// Time of the last write of the record.
    written: Option<Instant>,
    /// Last wait for a record that doesn't exist yet, or has no digest yet.
    wait: Option<Duration>,
}

impl Ledger {
    /// Counts a pull, unless the node had the layers or the image is of another digest.
    pub(super) fn observe(&mut self, pull: Pull<'_>, now: Instant) -> Observed {
        let Pull { pulled: PulledSource { source, kind, variant_of }, node, took, image_bytes } = pull;
        let entry = self.entries.entry(source.clone()).or_default();
        if variant_of.is_some_and(|short| !entry.figures.accepts_variants_of(&short)) {
            let at = entry.read.map_or(now, |read| read + READ_INTERVAL);
            self.schedule(&source, at.max(now + DEBOUNCE));
            return Observed::OtherDigest;
        }
        if !self.recent.insert(node, &source, entry.figures.generation(), now) {
            return Observed::Repeated;
        }
        self.add(&source, kind, took, image_bytes, now);
        Observed::Counted
    }

    /// Remembers a node's pull of an image that isn't a source yet. Returns whether it is the node's first one lately. If
    /// the image becomes a source, later pulls by the node are repeated.
    pub(super) fn remember(&mut self, node: &str, image: &Reference, now: Instant) -> bool {
        self.recent.insert(node, image, 0, now)
    }

    /// Counts a pull.
    pub(super) fn add(
        &mut self,
        source: &Source,
        kind: PullKind,
        took: Duration,
        image_bytes: Option<u64>,
        now: Instant,
    ) {
        let entry = self.entries.entry(source.clone()).or_default();
        let is_first = entry.figures.add(kind, took, image_bytes);
        // The first pull of a variant completes the comparison.
        let at = entry.written.filter(|_| !is_first).map_or(now, |written| written + WRITE_INTERVAL);
        self.schedule(source, at.max(now + DEBOUNCE));
    }

    /// Makes a record due at `at`, or leaves it at an earlier time.
    fn schedule(&mut self, source: &Source, at: Instant) {
        let Some(entry) = self.entries.get_mut(source) else { return };
        if entry.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(due) = entry.due.replace(at) {
            self.due.remove(&(due, source.clone()));
        }
        self.due.insert((at, source.clone()));
    }

    /// Time at which the next record is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes the record that is due first, if one is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Source> {
        if self.next_due()? > now {
            return None;
        }
        let (_, source) = self.due.pop_first()?;
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.due = None;
        }
        Some(source)
    }

    /// The figures of a source whose record was read.
    pub(super) fn read(&mut self, source: &Source, now: Instant) -> Option<&mut Figures> {
        let entry = self.entries.get_mut(source)?;
        entry.read = Some(now);
        Some(&mut entry.figures)
    }

    /// Notes that a record was written.
    pub(super) fn written(&mut self, source: &Source, now: Instant) {
        if let Some(entry) = self.entries.get_mut(source) {
            entry.written = Some(now);
        }
    }

    /// Makes a record due again that couldn't be written.
    pub(super) fn postpone(&mut self, source: &Source, now: Instant) {
        self.schedule(source, now + WRITE_INTERVAL);
    }

    /// Makes a record due again that doesn't exist yet, or has no digest yet. Each wait is twice as long as the last one:
    /// some sources never resolve, and the records share the times at which they are read.
    pub(super) fn wait_for_record(&mut self, source: &Source, now: Instant) {
        let Some(entry) = self.entries.get_mut(source) else { return };
        let wait = entry.wait.map_or(READ_INTERVAL, |wait| (2 * wait).min(WRITE_INTERVAL));
        entry.wait = Some(wait);
        self.schedule(source, now + wait);
    }

    /// Drops the figures of a source without a record.
    pub(super) fn forget(&mut self, source: &Source) {
        let entry = self.entries.remove(source);
        if let Some(due) = entry.and_then(|entry| entry.due) {
            self.due.remove(&(due, source.clone()));
        }
    }

    /// Drops the figures of sources that don't count any more.
    pub(super) fn retain(&mut self, counts: impl Fn(&Source) -> bool) {
        let gone: Vec<Source> = self.entries.keys().filter(|source| !counts(source)).cloned().collect();
        for source in &gone {
            self.forget(source);
        }
    }
}
