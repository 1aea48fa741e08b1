//! Positions of sources that wait for their first look.

use anyhow::Result;
use http::Method;
use zstart_core::record::READY;
use zstart_tests::wait;

use crate::lab::{Lab, WITHIN};
use crate::records::condition_of;
use crate::request_gate::RequestGate;

#[tokio::test(flavor = "multi_thread")]
async fn record_shows_how_many_first_looks_are_before_its_own() -> Result<()> {
    let lab = Lab::start().await?;
    let gate = RequestGate::default();
    lab.gateway.fault(Method::HEAD, "/manifests/", gate.fault());
    let _controller = lab.start_controller().await?;
    // A registry gets at most eight looks at a time.
    for number in 0..8 {
        lab.deploy("on", &format!("busy{number}"), &lab.image(&format!("app:busy{number}"))).await?;
    }
    wait::until("eight looks", WITHIN, || async {
        let is_look = |call: &&String| call.starts_with("HEAD ") && call.contains("/manifests/");
        Ok((lab.gateway.calls().iter().filter(is_look).count() == 8).then_some(()))
    })
    .await?;
    let host = lab.gateway.host();
    for (tag, position) in [
        ("first", String::new()),
        ("second", format!("; 1 source of {host} is before it")),
        ("third", format!("; 2 sources of {host} are before it")),
    ] {
        let image = lab.image(&format!("app:{tag}"));
        lab.deploy("on", tag, &image).await?;
        let expected = format!("the source waits for its first look{position}");
        lab.wait_for(&image, &format!("waiting: {expected}"), |status| {
            condition_of(status, READY) == ("False", "Pending", &expected)
        })
        .await?;
    }
    gate.open();
    Ok(())
}
