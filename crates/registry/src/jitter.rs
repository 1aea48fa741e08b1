//! Pauses that differ, so that many who failed together don't return together.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

/// Between half of the pause and all of it.
pub fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 512;
    pause / 2 + pause / 2 * u32::try_from(random).unwrap_or(0) / 512
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn pauses_differ_and_are_half_as_long_as_asked_at_least() {
        let pause = Duration::from_secs(1);
        let pauses: BTreeSet<Duration> = (0..200).map(|_| jittered(pause)).collect();
        assert!(pauses.len() > 50, "{pauses:?}");
        assert!(pauses.iter().all(|one| (pause / 2..=pause).contains(one)), "{pauses:?}");
    }
}
