//! Rate limit of the looks at known sources, by registry.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use zstart_core::sync::lock;

/// Time between two looks at one registry: 10 looks a second, or 600 tags a minute.
///
/// Amazon ECR answers 2,000 `BatchGetImage` a second, and Docker Hub's abuse limit is in the thousands a
/// minute (docs.docker.com, "Docker Hub usage and limits").
const SPACING: Duration = Duration::from_millis(100);

/// Spaces the looks at each registry evenly. A look at a known source is one HEAD; a first look is limited by
/// the number of concurrent lookups.
#[derive(Debug, Default)]
pub(crate) struct LookPacer {
    /// Time of each registry's next look.
    next: Mutex<HashMap<String, Instant>>,
}

impl LookPacer {
    /// Waits for the next look at `registry`, first come, first served.
    pub(crate) async fn wait(&self, registry: &str) {
        let turn = {
            let (mut next, now) = (lock(&self.next), Instant::now());
            next.retain(|_, time| *time > now);
            let turn = next.get(registry).copied().unwrap_or(now);
            next.insert(registry.to_owned(), turn + SPACING);
            turn
        };
        sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_at_one_registry_are_spaced() {
        let (pacer, start) = (LookPacer::default(), Instant::now());
        let look = async |registry: &str| {
            pacer.wait(registry).await;
            Instant::now() - start
        };
        let looks = futures::future::join_all((0..21).map(|_| look("a"))).await;
        assert_eq!((looks[0], looks[20]), (Duration::ZERO, Duration::from_secs(2)));
        let other = Instant::now();
        pacer.wait("b").await;
        assert_eq!(Instant::now(), other, "another registry has its own limit");
        tokio::time::advance(SPACING).await;
        pacer.wait("b").await;
        assert_eq!(lock(&pacer.next).len(), 1, "an idle registry is forgotten");
    }
}
