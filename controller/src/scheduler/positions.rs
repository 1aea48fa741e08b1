//! Positions of records that wait for their first look, in the message that `kubectl get imgconv` shows.
//!
//! Each look changes the positions of all records behind it, and 10,000 records may wait. A new record gets its
//! position with the write that it gets anyway. A later write follows when the position has halved, a minute after
//! the last one at the earliest: a record at position 10,000 gets 14 writes on its way. All records together get at
//! most one write a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::queue::{Queue, RecordName};
use super::writes::Write;
use super::{COUNT_INTERVAL, Scheduler};

/// Shortest time between two writes of one record's position.
const MIN_INTERVAL: Duration = Duration::from_mins(1);
/// Average time between two writes of positions.
const SPACING: Duration = Duration::from_secs(1);

/// Position of a record in the queue of its registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) registry: Arc<str>,
    /// Number of sources whose first look comes before.
    pub(super) ahead: usize,
}

/// Position that a record shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// `None`: a position of an earlier process, or none.
    ahead: Option<usize>,
    at: Instant,
}

impl Position {
    /// Position of a new record.
    pub(super) fn of_new(queue: &Queue, registry: &str, namespace: &str) -> Self {
        Self { registry: registry.into(), ahead: queue.ahead_of_new(registry, namespace) }
    }

    /// Message of the record.
    pub(super) fn message(&self) -> String {
        let Self { registry, ahead } = self;
        match ahead {
            0 => "the source waits for its first look".to_owned(),
            1 => format!("the source waits for its first look; 1 source of {registry} is before it"),
            count => {
                format!("the source waits for its first look; {count} sources of {registry} are before it")
            }
        }
    }
}

impl Shown {
    /// The record shows this position since `now`.
    pub(super) fn new(ahead: usize, now: Instant) -> Self {
        Self { ahead: Some(ahead), at: now }
    }

    /// The record's position isn't known.
    pub(super) fn unknown(now: Instant) -> Self {
        Self { ahead: None, at: now }
    }

    /// Returns whether the position is to be written.
    fn is_outdated(self, ahead: usize, now: Instant) -> bool {
        let has_moved = self.ahead.is_none_or(|shown| ahead < shown && ahead <= shown / 2);
        has_moved && now.duration_since(self.at) >= MIN_INTERVAL
    }
}

impl Scheduler {
    /// Writes the positions that have changed most, those that were written longest ago first.
    pub(super) fn write_positions(&mut self, now: Instant) {
        let mut outdated = Vec::new();
        for registry in self.queue.reachable_registries() {
            for (ahead, name) in self.queue.first_looks(&registry).into_iter().enumerate() {
                let shown = self.entries.get(&name).and_then(|entry| entry.shown);
                if let Some(shown) = shown.filter(|shown| shown.is_outdated(ahead, now)) {
                    outdated.push((shown.at, name, Position { registry: Arc::clone(&registry), ahead }));
                }
            }
        }
        outdated.sort_by_key(|(at, ..)| *at);
        let max = COUNT_INTERVAL.as_secs() / SPACING.as_secs();
        outdated.truncate(usize::try_from(max).unwrap_or(usize::MAX));
        for (_, name, position) in outdated {
            self.write_position(&name, position, now);
        }
    }

    fn write_position(&mut self, name: &RecordName, position: Position, now: Instant) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.shown = Some(Shown::new(position.ahead, now));
            // The record keeps its place in the queue by its due time.
            self.queue.remove(name);
            self.write_at(name, Write::Position(position), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_is_written_when_it_has_halved_a_minute_later() {
        let now = Instant::now();
        for (shown, ahead, age, expected) in [
            (Some(100), 50, MIN_INTERVAL, true),
            (Some(100), 50, MIN_INTERVAL / 2, false),
            (Some(100), 51, 10 * MIN_INTERVAL, false),
            (Some(100), 200, 10 * MIN_INTERVAL, false),
            (Some(1), 0, MIN_INTERVAL, true),
            (Some(0), 0, 10 * MIN_INTERVAL, false),
            (None, 100, MIN_INTERVAL, true),
            (None, 100, MIN_INTERVAL / 2, false),
        ] {
            let shown = Shown { ahead: shown, at: now };
            assert_eq!(shown.is_outdated(ahead, now + age), expected, "{shown:?} {ahead} {age:?}");
        }
    }
}
