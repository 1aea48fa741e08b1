//! The API server's clock, for times that are compared with the creation of objects.
//!
//! A record's `checkedAt` is compared with the creation of pod templates, which the API server stamps. With a
//! clock that is ahead, the controller would date a look later than it was, and a template of the time in
//! between would pass as older than the look.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::PostParams;
use kube::{Api, Client};

/// Interval between two comparisons of the clocks.
const INTERVAL: Duration = Duration::from_mins(1);
/// The API server cuts off the fraction of a second.
const PRECISION: SignedDuration = SignedDuration::from_secs(1);

/// Clock of the API server, derived from this machine's. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct ApiClock {
    /// Milliseconds to add to this machine's clock.
    offset: Arc<AtomicI64>,
}

impl ApiClock {
    /// Current time. Equals this machine's time if both clocks agree, as far as whole seconds tell. Otherwise
    /// the time is never later than the API server's, and earlier by a second at most.
    pub(crate) fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_millis(self.offset());
        let now = Timestamp::now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// Uncertainty of [`now`](Self::now).
    pub(crate) fn uncertainty(&self) -> Duration {
        if self.offset() == 0 { Duration::ZERO } else { PRECISION.unsigned_abs() }
    }

    fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Compares both clocks forever.
    pub(crate) async fn follow(self, client: Client) {
        loop {
            if let Err(error) = self.compare(&client).await {
                tracing::debug!(%error, "failed to ask for the API server's time");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Compares both clocks. Returns the API server's time, in whole seconds, if the answer has one.
    ///
    /// Every authenticated user may send the request, and the API server dates its answer
    /// (`pkg/registry/authentication/selfsubjectreview/rest.go`).
    pub async fn compare(&self, client: &Client) -> kube::Result<Option<Timestamp>> {
        let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
        let sent = Timestamp::now();
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await?;
        let stamp = review.metadata.creation_timestamp.map(|time| time.0);
        if let Some(stamp) = stamp {
            self.set(offset(sent, Timestamp::now(), stamp));
        }
        Ok(stamp)
    }

    fn set(&self, offset: SignedDuration) {
        let offset = i64::try_from(offset.as_millis()).unwrap_or_default();
        let before = self.offset.swap(offset, Ordering::Relaxed);
        if before == 0 && offset != 0 {
            tracing::warn!(
                seconds = offset / 1000,
                "the API server's clock differs from this machine's; set the clocks of all nodes by NTP"
            );
        }
    }
}

/// Least offset of a clock that showed `stamp`, without the fraction of a second, at a time between `sent` and
/// `answered`. Zero if the clocks may agree.
fn offset(sent: Timestamp, answered: Timestamp, stamp: Timestamp) -> SignedDuration {
    let least = stamp.duration_since(answered);
    let most = stamp.duration_since(sent).saturating_add(PRECISION);
    if least.is_positive() || most.is_negative() { least } else { SignedDuration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offset_is_zero_unless_the_clocks_must_differ() {
        let at = |milliseconds: i64| Timestamp::from_millisecond(1_700_000_000_000 + milliseconds).unwrap();
        // Sent, answered, stamped, offset.
        for (sent, answered, stamp, expected) in [
            (200, 210, 0, 0),
            (990, 1010, 0, 0),
            (990, 1010, 1000, 0),
            (1990, 2010, 1000, 0),
            // Ahead of the API server.
            (2001, 2010, 1000, -1010),
            (30_500, 30_520, 0, -30_520),
            // Behind the API server.
            (990, 999, 1000, 1),
            (500, 520, 30_000, 29_480),
        ] {
            let found = offset(at(sent), at(answered), at(stamp));
            assert_eq!(found, SignedDuration::from_millis(expected), "{sent} {answered} {stamp}");
        }
    }

    #[test]
    fn derived_time_is_never_later_than_the_api_servers() {
        let clock = ApiClock::default();
        assert_eq!(clock.uncertainty(), Duration::ZERO);
        clock.set(SignedDuration::from_secs(-30));
        let behind = Timestamp::now().duration_since(clock.now());
        assert!(behind >= SignedDuration::from_secs(29), "{behind:?}");
        assert_eq!(clock.uncertainty(), Duration::from_secs(1));
    }
}
