//! Random choices that a seed repeats.

/// Generator `SplitMix64` (Steele, Lea, Flood 2014): small, and good enough to choose test input.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Number from 0 to `bound`, exclusive.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % bound).unwrap_or_default()
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several values.
    pub(crate) fn pick<'a, T>(&mut self, values: &'a [T]) -> &'a T {
        &values[self.below(values.len())]
    }

    /// One of several values, each as often as its weight says.
    pub(crate) fn weighted<'a, T>(&mut self, values: &'a [T], weight: impl Fn(&T) -> usize) -> &'a T {
        let mut left = self.below(values.iter().map(&weight).sum());
        for value in values {
            match left.checked_sub(weight(value)) {
                None => return value,
                Some(rest) => left = rest,
            }
        }
        &values[0]
    }

    /// One or more values in random order, at most `most`, possibly repeated.
    pub(crate) fn some(&mut self, values: &[&str], most: usize) -> Vec<String> {
        (0..=self.below(most)).map(|_| (*self.pick(values)).to_owned()).collect()
    }
}
