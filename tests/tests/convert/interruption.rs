//! Conversions cancelled in the middle, as by a killed controller.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::sync::Notify;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;

use crate::conversion::{Conversion, Lab};
use zstart_tests::registry::repository_reader::RepositoryReader;

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_conversion_leaves_no_tag_and_can_be_repeated() -> Result<()> {
    let lab = Lab::start().await?;
    let image = Fixture::new().large_layer("usr/bin/app", 2 << 20).large_layer("usr/lib/lib", 1 << 20);
    image.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let conversion = lab.conversion("app:v1");
    let tag = Conversion::expected_tag(&image).await?;
    for (method, part) in [
        (Method::GET, "/blobs/sha256:"),
        (Method::PATCH, "/blobs/uploads/"),
        (Method::PUT, "/blobs/uploads/"),
        (Method::PUT, "/manifests/"),
    ] {
        let arrived = Arc::new(Notify::new());
        lab.gateway.fault(method.clone(), part, Fault::stalled(&arrived));
        tokio::select! {
            ended = conversion.run() => panic!("{method} {part} was not reached: {ended:?}"),
            () = arrived.notified() => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("{method} {part} never came"),
        }
        lab.gateway.clear_faults();
        assert_eq!(stored.tags().await?, ["v1"], "{method} {part}");
    }
    let made = conversion.run().await?;
    assert_eq!(made.tag, tag);
    let (variant, source) = (stored.manifest(tag.as_str()).await?, stored.manifest("v1").await?);
    stored.require_same_files(&variant.json, &source.json).await.context("after the interruptions")
}
