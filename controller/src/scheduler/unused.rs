//! Records that no workload uses: they are marked, and deleted after a time. Their variants stay.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Scheduler;
use super::queue::RecordName;
use super::writes::Write;
use crate::records::RecordMeta;

/// Longest time for which a record without consumers isn't marked: a workload that is replaced is gone for moments.
const MAX_MARK_DELAY: Duration = Duration::from_mins(10);

/// A record that no workload uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unused {
    /// Time at which this process saw that first.
    since: Instant,
    /// Time at which the record is marked or deleted.
    pub(super) at: Instant,
    /// A write failed, and none is sent before `at`.
    is_postponed: bool,
}

impl Scheduler {
    /// Marks, unmarks or deletes a record as its use asks for. Returns whether a write precedes everything else.
    pub(super) fn mark_or_delete(&mut self, name: &RecordName, record: &RecordMeta, is_used: bool) -> bool {
        let Some(entry) = self.entries.get_mut(name) else { return false };
        let (uid, now) = (record.uid.clone(), Instant::now());
        let before = entry.unused.take();
        if let Some(Unused { at, .. }) = before {
            self.unused.remove(&(at, Arc::clone(name)));
        }
        let is_kept = is_used || !record.is_own;
        if is_kept && record.unused_since.is_none() {
            return false;
        }
        if let Some(postponed) = before.filter(|unused| unused.is_postponed && unused.at > now) {
            entry.unused = Some(postponed);
            self.unused.insert((postponed.at, Arc::clone(name)));
            return false;
        }
        if is_kept {
            self.write_at(name, Write::MarkUnused { uid, since: None }, now);
            return true;
        }
        let keep_for = self.context.config.keep_records_for;
        let since = before.map_or(now, |unused| unused.since);
        let marked_at = since + MAX_MARK_DELAY.min(keep_for / 100);
        let (write, at) = match record.unused_since {
            None => {
                let unused_since = Timestamp::now() - now.duration_since(since);
                (Write::MarkUnused { uid, since: Some(unused_since) }, marked_at)
            }
            Some(unused_since) => {
                let age = Timestamp::now().duration_since(unused_since).try_into().unwrap_or_default();
                // After a start, a workload may have been made in the last moments.
                (Write::Delete { uid, unused_since }, (now + keep_for.saturating_sub(age)).max(marked_at))
            }
        };
        if at <= now {
            self.queue.remove(name);
            self.write_at(name, write, now);
            return true;
        }
        entry.unused = Some(Unused { since, at, is_postponed: false });
        self.unused.insert((at, Arc::clone(name)));
        false
    }

    /// Sends no write about the use of a record before this time.
    pub(super) fn postpone(&mut self, name: &RecordName, at: Instant) {
        let Some(entry) = self.entries.get_mut(name) else { return };
        let since = entry.unused.map_or_else(Instant::now, |unused| unused.since);
        entry.unused = Some(Unused { since, at, is_postponed: true });
        self.unused.insert((at, Arc::clone(name)));
    }

    /// Looks at the records that are unused for long enough.
    pub(super) fn refresh_unused(&mut self, now: Instant) {
        while let Some((at, name)) = self.unused.pop_first() {
            if at > now {
                self.unused.insert((at, name));
                return;
            }
            self.refresh(&name);
        }
    }
}
