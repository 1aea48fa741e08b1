//! A registry that is unreachable, fails, or asks for a pause.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use zstart_convert::{Error, ErrorClass};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::{Fault, Gateway};

use crate::conversion::{Conversion, Lab};
use zstart_tests::registry::repository_reader::RepositoryReader;

/// Larger than the buffers of a connection.
fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"configuration")])
}

fn answer(status: StatusCode) -> Fault {
    Fault::Respond(status, vec![], "out of order")
}

/// Requires that the error names the repository and that nothing was tagged.
async fn require_clean_failure(lab: &Lab, error: &Error, class: ErrorClass) -> Result<()> {
    assert_eq!(error.class(), class, "{}", error.chain());
    assert!(error.chain().contains(&format!("{}/app", lab.gateway.host())), "{}", error.chain());
    assert!(!lab.has_pushed_a_manifest(), "{:?}", lab.writes());
    assert_eq!(RepositoryReader::new(&lab.registry, "app").tags().await?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn missing_image_or_repository_is_not_found() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let error = lab.conversion("app:v2").run().await.unwrap_err();
    require_clean_failure(&lab, &error, ErrorClass::NotFound).await?;
    assert!(error.chain().contains("pull image v2"), "{}", error.chain());
    let error = lab.conversion("nothing:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotFound, "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn refused_connection_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    let gone = Gateway::start(&lab.registry.host()).await?;
    let host = gone.host();
    drop(gone);
    let error = Conversion::of(&format!("{host}/app:v1")).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable, "{}", error.chain());
    assert!(error.chain().contains(&format!("{host}/app")), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn single_http_500_is_retried_at_every_step() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    for (method, part) in [
        (Method::GET, "/manifests/v1"),
        (Method::GET, "/blobs/sha256:"),
        (Method::POST, "/blobs/uploads/"),
        (Method::PATCH, "/blobs/uploads/"),
        (Method::PUT, "/blobs/uploads/"),
        (Method::PUT, "/manifests/"),
        (Method::HEAD, "/blobs/"),
    ] {
        lab.gateway.clear_faults();
        lab.gateway.fault_times(1, method.clone(), part, answer(StatusCode::INTERNAL_SERVER_ERROR));
        let made = lab.conversion("app:v1").forced().run().await;
        assert!(made.is_ok(), "{method} {part}: {}", made.unwrap_err().chain());
    }
    Ok(())
}

#[tokio::test]
async fn persistent_source_error_names_operation_and_repository() -> Result<()> {
    let tried = [
        (Method::GET, "/manifests/v1", "pull image v1"),
        (Method::GET, "/blobs/sha256:", "pull blob sha256:"),
    ];
    require_reports(tried).await
}

#[tokio::test]
async fn persistent_target_error_names_operation_and_repository() -> Result<()> {
    let tried = [
        (Method::POST, "/blobs/uploads/", "begin a blob upload"),
        (Method::PATCH, "/blobs/uploads/", "upload a blob"),
        (Method::PUT, "/blobs/uploads/", "finish the upload of blob sha256:"),
    ];
    require_reports(tried).await
}

async fn require_reports<const N: usize>(tried: [(Method, &str, &str); N]) -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    for (method, part, tried) in tried {
        lab.gateway.clear_faults();
        lab.gateway.fault(method, part, answer(StatusCode::SERVICE_UNAVAILABLE));
        let error = lab.conversion("app:v1").run().await.expect_err("the conversion succeeded");
        require_clean_failure(&lab, &error, ErrorClass::Unavailable).await?;
        assert!(error.chain().contains(tried), "{tried}: {}", error.chain());
        assert!(error.chain().contains("HTTP 503 out of order"), "{}", error.chain());
    }
    Ok(())
}

#[tokio::test]
async fn short_retry_after_is_honoured() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    // Overloaded registries ask for a pause, and registries under maintenance.
    let (busy, away) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
    for (status, method, part) in [
        (busy, Method::GET, "/manifests/v1"),
        (busy, Method::GET, "/blobs/sha256:"),
        (busy, Method::POST, "/blobs/uploads/"),
        (busy, Method::PATCH, "/blobs/uploads/"),
        (busy, Method::PUT, "/manifests/"),
        (away, Method::GET, "/v2/"),
        (away, Method::GET, "/manifests/v1"),
        (away, Method::PATCH, "/blobs/uploads/"),
        (StatusCode::BAD_GATEWAY, Method::PUT, "/manifests/"),
    ] {
        lab.gateway.clear_faults();
        // Longer than the client's own backoff.
        let wait = Fault::Respond(status, vec![("retry-after", "1".to_owned())], "slow down");
        lab.gateway.fault_times(1, method.clone(), part, wait);
        let started = Instant::now();
        let made = lab.conversion("app:v1").over("stable").run().await;
        assert!(made.is_ok(), "{status} {method} {part}: {}", made.unwrap_err().chain());
        assert!(started.elapsed() >= Duration::from_secs(1), "{status} {method} {part}");
        assert!(lab.gateway.all_faults_hit(), "{status} {method} {part}");
    }
    Ok(())
}

#[tokio::test]
async fn long_retry_after_is_returned_to_the_caller() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let (busy, away) = (StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE);
    for (status, method, part) in [
        (busy, Method::GET, "/manifests/v1"),
        (busy, Method::POST, "/blobs/uploads/"),
        (busy, Method::PATCH, "/blobs/uploads/"),
        (away, Method::GET, "/manifests/v1"),
        (away, Method::POST, "/blobs/uploads/"),
        (away, Method::PATCH, "/blobs/uploads/"),
    ] {
        lab.gateway.clear_faults();
        let headers = vec![("retry-after", "3600".to_owned())];
        lab.gateway.fault(method.clone(), part, Fault::Respond(status, headers, "slow down"));
        let recording = lab.gateway.record();
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        let retry_after = Some(Duration::from_hours(1));
        require_clean_failure(&lab, &error, ErrorClass::RateLimited { retry_after }).await?;
        let said = format!("HTTP {} slow down", status.as_u16());
        assert!(error.chain().contains(&said), "{}", error.chain());
        if method != Method::PATCH {
            let calls = recording.calls();
            let hit = |call: &&String| call.starts_with(method.as_str()) && call.contains(part);
            assert!(calls.iter().filter(hit).count() <= 2, "at most once for each layer: {calls:#?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn interrupted_pull_is_retried_or_leaves_no_tag() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let layer = layer_digest(&lab, 0).await?;
    lab.gateway.fault(Method::GET, &layer, Fault::CutResponseAfter(200_000));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    require_clean_failure(&lab, &error, ErrorClass::Unavailable).await?;
    assert!(error.chain().contains(&layer), "{}", error.chain());

    lab.gateway.clear_faults();
    lab.gateway.fault_times(1, Method::GET, &layer, Fault::CutResponseAfter(200_000));
    lab.conversion("app:v1").run().await?;
    require_variant(&lab).await
}

#[tokio::test]
async fn interrupted_upload_is_retried_or_leaves_no_tag() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", Fault::CutRequestAfter(20));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    require_clean_failure(&lab, &error, ErrorClass::Unavailable).await?;
    assert!(error.chain().contains("upload a blob"), "{}", error.chain());

    lab.gateway.clear_faults();
    lab.gateway.fault_times(1, Method::PATCH, "/blobs/uploads/", Fault::CutRequestAfter(100_000));
    lab.conversion("app:v1").run().await?;
    require_variant(&lab).await
}

#[tokio::test]
async fn forgotten_upload_is_restarted() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    // Format of the reference implementation, which uses 404.
    let body = r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"blob upload unknown to registry"}]}"#;
    for method in [Method::PATCH, Method::PUT] {
        lab.gateway.clear_faults();
        let lost = Fault::Respond(StatusCode::NOT_FOUND, vec![], body);
        lab.gateway.fault_times(1, method.clone(), "/blobs/uploads/", lost);
        lab.conversion("app:v1").forced().run().await?;
        assert!(lab.gateway.all_faults_hit(), "{method}");
        require_variant(&lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn kept_layer_survives_a_broken_connection() -> Result<()> {
    let lab = Lab::start().await?;
    let files = b"zstd already ".repeat(100_000);
    let image = Fixture::new().layer_as(Compression::Zstd, &[("data", &files)]).layer(&[("app", b"app")]);
    image.push(&lab.registry.host(), "app:v1").await?;
    let layer = layer_digest(&lab, 0).await?;
    let (reads, writes) = ((Method::GET, &*layer), (Method::PUT, "/blobs/uploads/"));
    // The layer is read for the check and again for the copy, which is sent after the converted layer and the
    // config.
    for (number, ((method, part), spared)) in
        [(reads.clone(), 0), (reads, 1), (writes, 2)].into_iter().enumerate()
    {
        let elsewhere = format!("{}/mirror/{number}", lab.gateway.host());
        lab.gateway.clear_faults();
        lab.refuse_mounts();
        let cut = match method {
            Method::GET => Fault::CutResponseAfter(10),
            _ => Fault::CutRequestAfter(10),
        };
        lab.gateway.fault_times(spared, method.clone(), part, Fault::PassThrough);
        lab.gateway.fault_times(1, method.clone(), part, cut);
        let made = lab.conversion("app:v1").into(&elsewhere).run().await;
        assert!(made.is_ok(), "{method}, {spared} spared: {}", made.unwrap_err().chain());
        assert!(lab.gateway.all_faults_hit(), "{method}, {spared} spared: the fault did not occur");
    }
    Ok(())
}

#[tokio::test]
async fn tag_moved_during_conversion_gets_no_stale_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let old = image().push(&lab.registry.host(), "app:v1").await?;
    let host = lab.registry.host();
    let next = Fixture::new().layer(&[("etc/app", b"the next release")]);
    let new = next.prepare()?.digest;
    let push = move || -> futures::future::BoxFuture<'static, ()> {
        let (host, next) = (host.clone(), next.clone());
        Box::pin(async move { drop(next.push(&host, "app:v1").await.expect("the image is pushed")) })
    };
    lab.gateway.fault_times(1, Method::PATCH, "/blobs/uploads/", Fault::RunFirst(Arc::new(push)));
    let conversion = lab.conversion("app:v1");
    let error = conversion.run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::SourceMoved);
    let Error::SourceMoved { reference, from, to } = &error else { panic!("{}", error.chain()) };
    assert_eq!(*reference, format!("{}/app:v1", lab.gateway.host()));
    assert_eq!((from, to), (&old, &new));
    let stored = RepositoryReader::new(&lab.registry, "app");
    assert_eq!(stored.tags().await?, ["v1"]);

    let made = conversion.run().await?;
    assert!(conversion.names(&new).contains(&made.tag));
    assert_eq!(stored.tags().await?, ["v1", made.tag.as_str()]);
    Ok(())
}

async fn layer_digest(lab: &Lab, layer: usize) -> Result<String> {
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?;
    Ok(zstart_tests::registry::repository_reader::text(&source.json["layers"][layer]["digest"])?.to_owned())
}

async fn require_variant(lab: &Lab) -> Result<()> {
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?;
    let tags = stored.tags().await?;
    let tag = tags.last().context("no tag")?;
    stored.require_same_files(&stored.manifest(tag).await?.json, &source.json).await
}
