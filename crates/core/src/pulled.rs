//! Pull times in the kubelet's events.
//!
//! The kubelet reports a pull by an event with the reason `Pulled` (`EnsureImageExists` in
//! `pkg/kubelet/images/image_manager.go`). The text has had three forms:
//!
//! - `Successfully pulled image "X" in 49.657983991s`: Kubernetes 1.19 to 1.25 (kubernetes/kubernetes#91563). The
//!   time includes the wait for other pulls.
//! - `… in 1.315633737s (1.315641898s including waiting)`: since 1.26, and in the last patch releases of 1.23 to 1.25
//!   (#111772). Later versions cut both times to milliseconds.
//! - `… in 796ms (1.594s including waiting). Image size: 543804759 bytes.`: since the kubelet asks the runtime for
//!   the size (#121719). The size is 0 if the runtime didn't tell.
//!
//! An image that the node has already is reported with the same reason and another text. That is no pull.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// Front of a message that client-go's recorder makes of more than ten similar events about one pod
/// (`tools/record/events_cache.go`). The rest is the newest of their messages.
const COMBINED: &str = "(combined from similar events): ";
/// Front of the report of a pull.
const PULLED: &str = "Successfully pulled image \"";

/// A pull, as the kubelet reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled<'a> {
    /// Reference in the spelling of the pod's specification.
    pub image: &'a str,
    /// Duration of the pull itself. Kubelets before 1.26 count the wait for other pulls too.
    pub took: Duration,
    /// Size of the image, as the runtime tells it: containerd counts compressed layers, CRI-O unpacked ones.
    pub image_bytes: Option<u64>,
}

impl<'a> Pulled<'a> {
    /// Reads the message of a `Pulled` event. Returns `None` if the kubelet pulled nothing, or gives no time.
    pub fn parse(message: &'a str) -> Option<Self> {
        let message = message.strip_prefix(COMBINED).unwrap_or(message);
        let (image, rest) = message.strip_prefix(PULLED)?.split_once("\" in ")?;
        let end = rest.find([' ', '(']).unwrap_or(rest.len());
        let (took, rest) = rest.split_at(end);
        let size = rest.split_once("Image size: ").and_then(|(_, size)| size.split_once(" bytes"));
        let image_bytes = size.and_then(|(size, _)| size.parse().ok()).filter(|bytes| *bytes > 0);
        Some(Self { image, took: go_duration(took)?, image_bytes })
    }
}

/// Parses a duration as Go prints it (`time.Duration.String`): `1h2m3s`, `1m21.3s`, `812.5ms`, `15µs`, `0s`.
fn go_duration(text: &str) -> Option<Duration> {
    let (mut rest, mut nanos) = (text, 0_u128);
    loop {
        let (whole, after) = rest.split_at(count_digits(rest));
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => after.split_at(count_digits(after)),
            None => ("", after),
        };
        let end = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let mut scale: u128 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            // Go prints U+00B5 and reads U+03BC too.
            "µs" | "μs" | "us" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        nanos = nanos.checked_add(scale.checked_mul(whole.parse::<u64>().ok()?.into())?)?;
        for digit in fraction.bytes() {
            scale /= 10;
            nanos = nanos.checked_add(scale * u128::from(digit - b'0'))?;
        }
        if after.is_empty() {
            return u64::try_from(nanos).ok().map(Duration::from_nanos);
        }
        rest = after;
    }
}

/// Number of digits at the start of a text.
fn count_digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}
