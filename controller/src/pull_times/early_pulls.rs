//! Pulls of images that no workload in an opted-in namespace runs yet.
//!
//! A namespace that opts in usually runs its images already, and no pod pulls an original once the record is Ready.
//! The pulls of the last hour are then the comparison.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use zstart_core::Reference;

/// Time for which a pull is kept, as an API server keeps an event. A tag may move meanwhile, and the event of a pull by
/// tag names no digest.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Largest number of images. With all their pulls, they take less than 3 MiB.
const MAX_IMAGES: usize = 4_096;
/// Largest number of pulls of one image, the last ones.
const MAX_PULLS: usize = 8;

/// First pull by a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EarlyPull {
    pub(super) took: Duration,
    pub(super) image_bytes: Option<u64>,
    /// Time at which the controller received the event.
    pub(super) at: Instant,
}

/// The last pulls of each image.
#[derive(Debug, Default)]
pub(super) struct EarlyPulls {
    images: HashMap<Reference, VecDeque<EarlyPull>>,
}

impl EarlyPulls {
    /// Remembers a pull.
    pub(super) fn insert(&mut self, image: Reference, pull: EarlyPull) {
        if self.images.len() >= MAX_IMAGES && !self.images.contains_key(&image) {
            self.make_room(pull.at);
        }
        let pulls = self.images.entry(image).or_default();
        if pulls.len() >= MAX_PULLS {
            pulls.pop_front();
        }
        pulls.push_back(pull);
    }

    /// Images that `is_in_demand` accepts.
    pub(super) fn sources(&self, is_in_demand: impl Fn(&Reference) -> bool) -> Vec<Reference> {
        self.images.keys().filter(|image| is_in_demand(image)).cloned().collect()
    }

    /// Takes an image's pulls of the last hour.
    pub(super) fn take(&mut self, image: &Reference, now: Instant) -> Vec<EarlyPull> {
        let pulls = self.images.remove(image).unwrap_or_default();
        pulls.into_iter().filter(|pull| is_recent(pull, now)).collect()
    }

    /// Drops the images without a recent pull, or else the one whose last pull is the oldest.
    fn make_room(&mut self, now: Instant) {
        self.images.retain(|_, pulls| pulls.back().is_some_and(|last| is_recent(last, now)));
        if self.images.len() < MAX_IMAGES {
            return;
        }
        let oldest = self.images.iter().min_by_key(|(_, pulls)| pulls.back().map(|last| last.at));
        if let Some(image) = oldest.map(|(image, _)| image.clone()) {
            self.images.remove(&image);
        }
    }
}

fn is_recent(pull: &EarlyPull, now: Instant) -> bool {
    now.saturating_duration_since(pull.at) < MAX_AGE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(number: usize) -> Reference {
        format!("r.example/app-{number}:v1").parse().unwrap()
    }

    fn pull(at: Instant) -> EarlyPull {
        EarlyPull { took: Duration::from_secs(2), image_bytes: None, at }
    }

    #[test]
    fn pulls_of_the_last_hour_are_taken_once() {
        let (mut pulls, start) = (EarlyPulls::default(), Instant::now());
        let late = start + MAX_AGE / 2;
        for at in [start, late] {
            pulls.insert(image(1), pull(at));
        }
        pulls.insert(image(2), pull(late));
        assert_eq!(pulls.sources(|other| *other == image(2)), [image(2)]);
        assert_eq!(pulls.take(&image(1), start + MAX_AGE), [pull(late)]);
        assert_eq!(pulls.take(&image(1), start + MAX_AGE), []);
        assert_eq!(pulls.take(&image(2), start + MAX_AGE), [pull(late)]);
    }

    #[test]
    fn memory_holds_the_last_pulls_and_images() {
        let (mut pulls, start) = (EarlyPulls::default(), Instant::now());
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..=MAX_IMAGES {
            pulls.insert(image(number), pull(at(number)));
        }
        for number in 0..2 * MAX_PULLS {
            pulls.insert(image(1), pull(at(number)));
        }
        assert_eq!(pulls.images.len(), MAX_IMAGES);
        let now = at(MAX_IMAGES);
        assert_eq!(pulls.take(&image(0), now), [], "its pull is the oldest");
        let last: Vec<EarlyPull> = (MAX_PULLS..2 * MAX_PULLS).map(|number| pull(at(number))).collect();
        assert_eq!(pulls.take(&image(1), now), last);
        // An hour later, all others make room at once.
        for number in 0..2 {
            pulls.insert(image(number), pull(now + MAX_AGE));
        }
        assert_eq!(pulls.images.len(), 2);
    }
}
