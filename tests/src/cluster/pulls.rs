//! The kubelet's events about a pod's images.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::Cluster;

/// A pull, as the kubelet reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Reference that the kubelet pulled.
    pub image: String,
    /// Duration of the pull, without waiting for other pulls.
    pub duration: Duration,
}

impl Cluster {
    /// Pulls of a pod's images so far, from its `Pulled` events.
    pub async fn pulls(&self, namespace: &str, pod: &str) -> Result<Vec<Pull>> {
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        let of_pod = format!("involvedObject.name={pod},reason=Pulled");
        let events = events.list(&ListParams::default().fields(&of_pod)).await?;
        let messages = events.items.into_iter().filter_map(|event| event.message);
        Ok(messages.filter_map(|message| parse_pulled(&message)).collect())
    }
}

/// Parses the message of a `Pulled` event. Returns `None` for an image that was present already, and for any
/// other message.
///
/// `Successfully pulled image "X" in 1.2s (3.4s including waiting). Image size: 123 bytes.` The part in
/// parentheses and the size are missing in older versions.
pub fn parse_pulled(message: &str) -> Option<Pull> {
    let rest = message.strip_prefix("Successfully pulled image \"")?;
    let (image, rest) = rest.split_once("\" in ")?;
    let duration = rest.split([' ', '(']).next()?.trim_end_matches('.');
    Some(Pull { image: image.to_owned(), duration: parse_go_duration(duration)? })
}

/// Parses a duration as Go prints it: `1m21.3s`, `812.5ms`, `1h2m3s`, `15µs`.
fn parse_go_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|character: char| character.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "µs" | "us" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulled_events_of_all_versions_are_read() {
        for (message, millis) in [
            (
                "Successfully pulled image \"a:1\" in 1.2s (3.4s including waiting). Image size: 123 bytes.",
                1_200,
            ),
            ("Successfully pulled image \"a:1\" in 1m21.3s (1m21.3s including waiting)", 81_300),
            ("Successfully pulled image \"a:1\" in 812.5ms", 812),
        ] {
            let pull = parse_pulled(message).unwrap();
            assert_eq!((pull.image.as_str(), pull.duration.as_millis()), ("a:1", millis));
        }
        let present = "Container image \"a:1\" already present on machine";
        assert_eq!(parse_pulled(present), None);
    }
}
