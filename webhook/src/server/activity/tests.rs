use std::time::Duration;

use super::*;

const TIMEOUTS: Timeouts = Timeouts { read: Duration::from_secs(5), idle: Duration::from_mins(3) };

/// Time until the phase has lasted too long.
fn remaining(activity: &Activity, is_stopping: bool) -> Option<Duration> {
    activity.deadline(TIMEOUTS, is_stopping).map(|end| end - Instant::now())
}

#[tokio::test(start_paused = true)]
async fn head_timeout_starts_with_the_first_byte() {
    let activity = Arc::new(Activity::default());
    activity.received_bytes();
    assert_eq!((activity.phase(), remaining(&activity, false)), (Phase::Handshake, Some(TIMEOUTS.read)));
    activity.connected();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(remaining(&activity, false), Some(Duration::from_mins(1)), "idle");
    activity.received_bytes();
    tokio::time::sleep(Duration::from_secs(3)).await;
    // A further byte of the head doesn't extend the time.
    activity.received_bytes();
    assert_eq!(remaining(&activity, false), Some(Duration::from_secs(2)));
}

#[tokio::test(start_paused = true)]
async fn connection_is_idle_after_its_response_is_sent() {
    let activity = Arc::new(Activity::default());
    activity.connected();
    activity.received_bytes();
    activity.received_head();
    // Bytes of the body begin no head.
    activity.received_bytes();
    assert_eq!((activity.phase(), remaining(&activity, false)), (Phase::Body, None));
    activity.received_body();
    assert_eq!((activity.evictable_since(), remaining(&activity, false)), (None, None));
    let body = activity.responded(Bytes::from_static(b"body"));
    assert_eq!((&body[..], activity.phase()), (&b"body"[..], Phase::Sending));
    assert_eq!(remaining(&activity, false), Some(TIMEOUTS.read));
    drop(body);
    assert_eq!((activity.phase(), remaining(&activity, false)), (Phase::Idle, Some(TIMEOUTS.idle)));
}

#[tokio::test(start_paused = true)]
async fn stopping_server_closes_used_idle_connections_at_once() {
    let (new, used) = (Arc::new(Activity::default()), Arc::new(Activity::default()));
    new.connected();
    used.connected();
    used.received_head();
    drop(used.responded(Bytes::new()));
    assert_eq!(remaining(&used, true), Some(Duration::ZERO));
    assert_eq!(remaining(&new, true), Some(TIMEOUTS.read));
}
