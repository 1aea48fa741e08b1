//! Registries that show a write only some time after they accepted it.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::{ErrorClass, Level, Settings};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

use crate::conversion::Lab;

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 100_000).layer(&[("etc/app", b"configuration")])
}

fn answer(status: StatusCode, body: &'static str) -> Fault {
    Fault::Respond(status, vec![], body)
}

const UNKNOWN: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#;

#[tokio::test]
async fn pushed_tag_may_be_visible_late() -> Result<()> {
    // Artifactory denies a tag that it doesn't see.
    for status in [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN] {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        // A forced conversion doesn't look the tag up before.
        lab.gateway.fault_times(3, Method::GET, "-zstd-", answer(status, UNKNOWN));
        let made = lab.conversion("app:v1").forced().run().await;
        assert!(made.is_ok(), "{status}: {}", made.unwrap_err().chain());
        assert!(lab.gateway.all_faults_hit());
    }
    Ok(())
}

#[tokio::test]
async fn overwritten_tag_may_show_the_old_image() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let first = lab.conversion("app:v1").over("stable").run().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let old: &'static str = String::from_utf8(stored.manifest(first.tag.as_str()).await?.bytes)?.leak();
    lab.gateway.fault_times(3, Method::GET, "/manifests/stable", answer(StatusCode::OK, old));
    let level = Settings { level: Level::try_from(9)?, ..Settings::default() };
    let second = lab.conversion("app:v1").settings(level).over("stable").run().await?;
    assert_ne!(second.image.digest, first.image.digest);
    assert!(lab.gateway.all_faults_hit());
    assert_eq!(stored.digest("stable").await?, second.image.digest);
    Ok(())
}

#[tokio::test]
async fn tag_that_stays_old_fails_verification() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let first = lab.conversion("app:v1").run().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let old: &'static str = String::from_utf8(stored.manifest(first.tag.as_str()).await?.bytes)?.leak();
    lab.gateway.fault(Method::GET, "/manifests/stable", answer(StatusCode::OK, old));
    let level = Settings { level: Level::try_from(9)?, ..Settings::default() };
    let error = lab.conversion("app:v1").settings(level).over("stable").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotVerified, "{}", error.chain());
    let said = format!("the tag names {}", first.image.digest);
    assert!(error.chain().contains(&said), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn manifest_is_pushed_again_until_its_blobs_are_visible() -> Result<()> {
    let bodies = [
        r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
        r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}"#,
        UNKNOWN,
    ];
    for status in [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND] {
        for body in bodies {
            let lab = Lab::start().await?;
            image().push(&lab.registry.host(), "app:v1").await?;
            lab.gateway.fault_times(3, Method::PUT, "/manifests/", answer(status, body));
            let made = lab.conversion("app:v1").run().await;
            assert!(made.is_ok(), "{status} {body}: {}", made.unwrap_err().chain());
            assert!(lab.gateway.all_faults_hit());
        }
    }
    Ok(())
}

#[tokio::test]
async fn failing_and_missing_pushes_share_their_attempts() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    for _ in 0..10 {
        lab.gateway.fault_times(3, Method::PUT, "/manifests/", answer(StatusCode::SERVICE_UNAVAILABLE, ""));
        lab.gateway.fault_times(1, Method::PUT, "/manifests/", answer(StatusCode::NOT_FOUND, UNKNOWN));
    }
    lab.conversion("app:v1").run().await.unwrap_err();
    let pushes = lab.writes().into_iter().filter(|call| call.contains("/manifests/")).count();
    assert_eq!(pushes, 4 + 7, "the usual attempts, and those for a late blob");
    Ok(())
}

#[tokio::test]
async fn manifest_refused_for_good_is_pushed_once() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let invalid = r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#;
    lab.gateway.fault(Method::PUT, "/manifests/", answer(StatusCode::BAD_REQUEST, invalid));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Other, "{}", error.chain());
    let pushes = lab.writes().into_iter().filter(|call| call.contains("/manifests/")).count();
    assert_eq!(pushes, 1, "{:#?}", lab.writes());
    Ok(())
}

#[tokio::test]
async fn index_entry_may_be_visible_late() -> Result<()> {
    let image =
        |architecture| Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 9000);
    let index = Index::new().oci().image(&image("amd64"))?.image(&image("arm64"))?.prepare()?;
    // A conversion is deterministic, so another registry tells the digests.
    let other = Lab::start().await?;
    index.push(&other.registry.host(), "app:v1").await?;
    let made = other.conversion("app:v1").run().await?;
    let variant = RepositoryReader::new(&other.registry, "app").manifest(made.tag.as_str()).await?.json;
    let entry = text(&variant["manifests"][1]["digest"])?;

    let lab = Lab::start().await?;
    index.push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault_times(2, Method::PUT, "-zstd-", answer(StatusCode::BAD_REQUEST, UNKNOWN));
    lab.gateway.fault_times(2, Method::GET, entry, answer(StatusCode::NOT_FOUND, UNKNOWN));
    assert_eq!(lab.conversion("app:v1").run().await?.image, made.image);
    assert!(lab.gateway.all_faults_hit());
    Ok(())
}

#[tokio::test]
async fn pushed_blob_may_be_visible_late() -> Result<()> {
    let other = Lab::start().await?;
    image().push(&other.registry.host(), "app:v1").await?;
    let made = other.conversion("app:v1").run().await?;
    let variant = RepositoryReader::new(&other.registry, "app").manifest(made.tag.as_str()).await?.json;
    let layer = text(&variant["layers"][0]["digest"])?;

    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let missing = || answer(StatusCode::NOT_FOUND, r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#);
    lab.gateway.fault_times(2, Method::HEAD, layer, missing());
    lab.gateway.fault_times(2, Method::GET, layer, missing());
    assert_eq!(lab.conversion("app:v1").run().await?.image, made.image);
    assert!(lab.gateway.all_faults_hit());
    Ok(())
}

#[tokio::test]
async fn missing_source_is_not_waited_for() -> Result<()> {
    let lab = Lab::start().await?;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotFound, "{}", error.chain());
    let calls = lab.gateway.calls();
    let reads = calls.iter().filter(|call| call.contains("/manifests/v1")).count();
    assert_eq!(reads, 1, "{calls:#?}");
    Ok(())
}
