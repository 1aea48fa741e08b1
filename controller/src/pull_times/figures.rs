//! Figures of one source: pulls of itself and of its variants. Pure.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use zstart_core::Digest;
use zstart_core::record::{MeasuredPulls, PullFigures};

use super::PullKind;

#[cfg(test)]
mod tests;

/// Pulls of each image whose durations are kept, in 4 bytes each. Of 64 pulls, the median leaves out those by nodes
/// that had some layers already, or were busy.
const WINDOW: usize = 64;
/// Largest weight of an earlier process's median: half of the window, so that newer pulls can outweigh it.
const RESTORED: usize = WINDOW / 2;

/// Figures of one source digest.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Digest of the source, once the record was read.
    digest: Option<Digest>,
    /// First twelve digits of the source digest of the variants.
    variants_of: Option<Box<str>>,
    original: Samples,
    variant: Samples,
    is_restored: bool,
    unsettled: Unsettled,
    /// Pulls of variants whose size wasn't compared with the source's.
    unsized_pulls: u32,
    generation: u32,
}

/// Pulls of one image.
#[derive(Debug, Default)]
struct Samples {
    pulls: u64,
    /// Durations of the last pulls, the oldest first.
    millis: VecDeque<u32>,
    /// Size that a kubelet reported last.
    image_bytes: Option<u64>,
}

/// Pulls of variants that no estimate has yet.
#[derive(Debug, Default)]
struct Unsettled {
    pulls: u32,
    took: Duration,
}

impl Figures {
    /// Number of times that the source's digest has changed. Content of an earlier digest says nothing about nodes
    /// that have the present one.
    pub(super) fn generation(&self) -> u32 {
        self.generation
    }

    /// Returns whether variants of this source digest, given by its first twelve digits, are counted. The first
    /// variant decides as long as the record wasn't read.
    pub(super) fn accepts_variants_of(&mut self, short: &str) -> bool {
        match &self.digest {
            Some(digest) => digest.short() == short,
            None => **self.variants_of.get_or_insert_with(|| short.into()) == *short,
        }
    }

    /// Counts a pull. Returns whether it is the first of its image that this process counts.
    pub(super) fn add(&mut self, kind: PullKind, took: Duration, image_bytes: Option<u64>) -> bool {
        match kind {
            PullKind::Original => self.original.add(took, image_bytes),
            PullKind::Variant => {
                let is_first = self.variant.add(took, image_bytes);
                self.unsized_pulls = self.unsized_pulls.saturating_add(1);
                self.unsettled.pulls = self.unsettled.pulls.saturating_add(1);
                self.unsettled.took = self.unsettled.took.saturating_add(took);
                is_first
            }
        }
    }

    /// Takes over the digest and, once, the figures in the record. A digest that moved begins all figures again: a
    /// pull by tag doesn't tell which digest the node got.
    pub(super) fn update(&mut self, digest: &Digest, recorded: Option<&MeasuredPulls>) {
        if self.digest.as_ref().is_some_and(|known| known != digest) {
            *self = Self { generation: self.generation.wrapping_add(1), ..Self::default() };
        } else if self.variants_of.as_deref().is_some_and(|short| short != digest.short()) {
            (self.variant, self.unsettled) = (Samples::default(), Unsettled::default());
            self.unsized_pulls = 0;
        }
        self.variants_of = None;
        self.digest = Some(digest.clone());
        if mem::replace(&mut self.is_restored, true) {
            return;
        }
        if let Some(recorded) = recorded.filter(|recorded| recorded.source_digest == *digest) {
            self.original.restore(recorded.original.as_ref());
            self.variant.restore(recorded.variant.as_ref());
        }
    }

    /// Estimates the seconds that variants saved since the last estimate: their pulls, compared with the median pull
    /// of the source. Pulls wait for an estimate while the source has too few. Negative if variants were slower.
    pub(super) fn settle(&mut self) -> f64 {
        let Some(median) = self.original.figures().filter(PullFigures::suffices) else { return 0.0 };
        let Unsettled { pulls, took } = mem::take(&mut self.unsettled);
        let expected = Duration::from_millis(median.median_milliseconds.unsigned_abs()).saturating_mul(pulls);
        expected.as_secs_f64() - took.as_secs_f64()
    }

    /// Takes the number of pulls of variants since the last call.
    pub(super) fn take_unsized_pulls(&mut self) -> i64 {
        mem::take(&mut self.unsized_pulls).into()
    }

    /// The figures as the record has them.
    pub(super) fn measured(&self, digest: &Digest) -> MeasuredPulls {
        MeasuredPulls::new(digest.clone(), self.original.figures(), self.variant.figures())
    }
}

impl Samples {
    /// Returns whether this is the first pull.
    fn add(&mut self, took: Duration, image_bytes: Option<u64>) -> bool {
        let is_first = self.millis.is_empty();
        self.pulls = self.pulls.saturating_add(1);
        if self.millis.len() == WINDOW {
            self.millis.pop_front();
        }
        self.millis.push_back(u32::try_from(took.as_millis()).unwrap_or(u32::MAX));
        self.image_bytes = image_bytes.or(self.image_bytes);
        is_first
    }

    /// Adds the pulls of an earlier process before the own ones. Only their median is known.
    fn restore(&mut self, recorded: Option<&PullFigures>) {
        let Some(PullFigures { pulls, median_milliseconds, image_bytes }) = recorded else { return };
        let pulls = u64::try_from(*pulls).unwrap_or_default();
        self.pulls = self.pulls.saturating_add(pulls);
        let weight = usize::try_from(pulls).unwrap_or(usize::MAX).min(RESTORED);
        let median = u32::try_from(*median_milliseconds).unwrap_or(u32::MAX);
        for _ in 0..weight.min(WINDOW - self.millis.len()) {
            self.millis.push_front(median);
        }
        self.image_bytes = self.image_bytes.or(image_bytes.and_then(|bytes| u64::try_from(bytes).ok()));
    }

    fn figures(&self) -> Option<PullFigures> {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        Some(PullFigures {
            pulls: count(self.pulls),
            median_milliseconds: self.median()?.into(),
            image_bytes: self.image_bytes.map(count),
        })
    }

    /// Middle duration; the mean of the two in the middle for an even number.
    fn median(&self) -> Option<u32> {
        let mut sorted: Vec<u32> = self.millis.iter().copied().collect();
        sorted.sort_unstable();
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = sorted[(sorted.len() - 1) / 2];
        Some(lower.midpoint(upper))
    }
}
