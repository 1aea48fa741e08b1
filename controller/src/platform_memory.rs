//! Memory of the nodes' platforms that survives a restart.
//!
//! A `ConfigMap` of the chart has the time at which a node of each platform was last seen. Records name the
//! platforms that were converted, which says nothing about nodes: a platform that left a year ago would return with
//! each restart. Objects of others, like the controller's Deployment, would need a right to change them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use zstart_core::{Platform, chain};

use crate::context::Context;

/// Member of the `ConfigMap` with a JSON object of platforms and times.
const LAST_SEEN: &str = "lastSeen";
/// Interval at which the platforms are compared with those in the `ConfigMap`.
const INTERVAL: Duration = Duration::from_mins(1);
/// Age of a written time at which it is written again, although only the time changed.
const MAX_AGE: Duration = Duration::from_hours(1);
/// Delay before a retry when the API server doesn't return the `ConfigMap`. Conversions wait for it.
const READ_DELAY: Duration = Duration::from_secs(5);
/// Delay before a retry when the API server rejects the `ConfigMap`.
const WRITE_DELAY: Duration = Duration::from_mins(10);

/// Platforms, with the time at which a node was last seen.
type Seen = BTreeMap<Platform, Timestamp>;

/// Restores the platforms of the earlier process, then drops outdated ones forever.
pub(crate) async fn follow(context: Arc<Context>, namespace: String) {
    let demand = &context.demand;
    let seen = Memory::of(&context, &namespace).read().await;
    demand.change(|demand| demand.restore_platforms(seen));
    let mut ticks = interval(INTERVAL);
    loop {
        ticks.tick().await;
        let retention = context.config.platform_retention;
        demand.change(|demand| demand.expire_platforms(Timestamp::now(), retention));
    }
}

/// Writes the platforms forever, when they change and every hour.
pub(crate) async fn record(context: Arc<Context>, namespace: String) {
    let memory = Memory::of(&context, &namespace);
    context.demand.wait_until_synced().await;
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut written, mut retry) = (Seen::new(), None);
    loop {
        ticks.tick().await;
        let seen = context.demand.read(|demand| demand.seen_platforms(Timestamp::now()));
        if !is_outdated(&written, &seen) || retry.is_some_and(|retry| Instant::now() < retry) {
            continue;
        }
        match memory.write(&seen).await {
            Ok(()) => (written, retry) = (seen, None),
            Err(error) => {
                let (name, error) = (&memory.name, chain(&error));
                tracing::warn!(config_map = name, error, "failed to write the platforms of the nodes");
                retry = Some(Instant::now() + WRITE_DELAY);
            }
        }
    }
}

/// The `ConfigMap`.
struct Memory {
    maps: Api<ConfigMap>,
    name: String,
}

impl Memory {
    fn of(context: &Context, namespace: &str) -> Self {
        let maps = Api::namespaced(context.client.clone(), namespace);
        Self { maps, name: context.config.platforms_config_map.clone() }
    }

    /// Reads the platforms. Waits for an API server that is away: without them, new variants would lack the
    /// platforms of nodes that return tomorrow.
    async fn read(&self) -> Seen {
        loop {
            match self.maps.get_opt(&self.name).await {
                Ok(map) => return map.as_ref().map(|map| self.parse(map)).unwrap_or_default(),
                Err(kube::Error::Api(status)) if status.is_forbidden() => {
                    let error = &status.message;
                    tracing::warn!(error, "ignoring the platforms of nodes that left before the start");
                    return Seen::new();
                }
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "failed to read the platforms of the nodes, retrying"
                    );
                    sleep(READ_DELAY).await;
                }
            }
        }
    }

    fn parse(&self, map: &ConfigMap) -> Seen {
        let text = map.data.as_ref().and_then(|data| data.get(LAST_SEEN));
        parse(text).unwrap_or_else(|error| {
            tracing::warn!(config_map = self.name, member = LAST_SEEN, %error, "ignoring unreadable platforms");
            Seen::new()
        })
    }

    async fn write(&self, seen: &Seen) -> kube::Result<()> {
        let text = serde_json::to_string(seen).map_err(kube::Error::SerdeError)?;
        let patch = Patch::Merge(json!({"data": {LAST_SEEN: text}}));
        self.maps.patch(&self.name, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

fn parse(text: Option<&String>) -> serde_json::Result<Seen> {
    text.map_or_else(|| Ok(Seen::new()), |text| serde_json::from_str(text))
}

/// Returns whether `written` has other platforms than `seen`, or times of more than an hour ago.
fn is_outdated(written: &Seen, seen: &Seen) -> bool {
    let age = |(platform, time): (&Platform, &Timestamp)| {
        written.get(platform).map(|written| time.duration_since(*written).unsigned_abs())
    };
    written.len() != seen.len() || seen.iter().any(|entry| age(entry).is_none_or(|age| age >= MAX_AGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(entries: &[(&str, &str)]) -> Seen {
        let entry = |(platform, time): &(&str, &str)| (platform.parse().unwrap(), time.parse().unwrap());
        entries.iter().map(entry).collect()
    }

    #[test]
    fn platforms_round_trip_and_others_are_refused() {
        let seen = seen(&[("linux/amd64", "2026-01-01T00:00:00Z"), ("linux/arm64", "2026-01-02T00:00:00Z")]);
        assert_eq!(parse(Some(&serde_json::to_string(&seen).unwrap())).unwrap(), seen);
        for text in ["", "x", "[]", r#"{"linux": "2026-01-01T00:00:00Z"}"#, r#"{"linux/amd64": "soon"}"#] {
            assert!(parse(Some(&text.to_owned())).is_err(), "{text}");
        }
        assert_eq!(parse(None).unwrap(), Seen::new(), "the chart's ConfigMap is empty");
    }

    #[test]
    fn platforms_are_written_when_they_change_and_every_hour() {
        let written = seen(&[("linux/amd64", "2026-01-01T00:00:00Z")]);
        for (now, is_due) in [
            (seen(&[("linux/amd64", "2026-01-01T00:59:59Z")]), false),
            (seen(&[("linux/amd64", "2026-01-01T01:00:00Z")]), true),
            (seen(&[("linux/arm64", "2026-01-01T00:00:00Z")]), true),
            (seen(&[]), true),
            (seen(&[("linux/amd64", "2026-01-01T00:00:00Z"), ("linux/arm64", "2026-01-01T00:00:00Z")]), true),
        ] {
            assert_eq!(is_outdated(&written, &now), is_due, "{now:?}");
        }
    }
}
