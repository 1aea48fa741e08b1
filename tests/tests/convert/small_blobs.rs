//! Layers and configs small enough to be sent in one request.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::conversion::Lab;

fn image() -> Fixture {
    Fixture::new()
        .layer(&[("etc/one", b"one")])
        .layer(&[("etc/two", b"two")])
        .layer(&[("etc/three", b"three")])
}

/// Converts the image and returns the requests that stored its three layers, without their paths.
async fn uploads(lab: &Lab) -> Result<Vec<String>> {
    image().push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let (variant, source) = (stored.manifest(made.tag.as_str()).await?, stored.manifest("v1").await?);
    stored.require_same_files(&variant.json, &source.json).await?;
    let calls = lab.gateway.calls().into_iter().filter(|call| call.contains("/blobs/uploads/"));
    let mut calls: Vec<String> = calls
        .map(|call| {
            let asks_for_one = call.starts_with("POST") && call.contains("?digest=");
            let method = call.split(' ').next().unwrap_or_default();
            if asks_for_one { format!("{method} with all") } else { method.to_owned() }
        })
        .collect();
    calls.sort();
    Ok(calls)
}

#[tokio::test]
async fn small_blob_takes_one_request_with_single_post() -> Result<()> {
    let lab = Lab::start().await?;
    lab.gateway.fault(Method::POST, "/blobs/uploads/", Fault::AcceptSinglePost);
    assert_eq!(uploads(&lab).await?, ["POST with all", "POST with all", "POST with all"]);
    Ok(())
}

#[tokio::test]
async fn small_blob_takes_two_requests_without_single_post() -> Result<()> {
    let lab = Lab::start().await?;
    let asked = uploads(&lab).await?;
    assert_eq!(asked[3..], ["PUT", "PUT", "PUT"]);
    assert!(asked[..3].iter().all(|call| call.starts_with("POST")), "{asked:?}");
    Ok(())
}

#[tokio::test]
async fn refused_single_post_is_not_tried_again() -> Result<()> {
    for status in [
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::FORBIDDEN,
        StatusCode::NOT_FOUND,
        StatusCode::METHOD_NOT_ALLOWED,
        StatusCode::LENGTH_REQUIRED,
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::NOT_IMPLEMENTED,
        StatusCode::SERVICE_UNAVAILABLE,
    ] {
        let lab = Lab::start().await?;
        lab.gateway.fault(Method::POST, "/blobs/uploads/?digest=", Fault::Respond(status, vec![], "no"));
        let asked = uploads(&lab).await?;
        let usual = asked.iter().filter(|call| *call == "POST").count();
        assert_eq!((usual, asked.last().map(String::as_str)), (3, Some("PUT")), "{asked:?}");
        assert!(asked.len() <= 9, "{asked:?}");
    }
    Ok(())
}

#[tokio::test]
async fn lost_small_blob_is_sent_again() -> Result<()> {
    let lab = Lab::start().await?;
    let lost =
        Fault::Respond(StatusCode::NOT_FOUND, vec![], r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
    lab.gateway.fault_times(1, Method::PUT, "/blobs/uploads/", lost);
    lab.gateway.fault_times(
        1,
        Method::POST,
        "/blobs/uploads/",
        Fault::Respond(StatusCode::BAD_GATEWAY, vec![], ""),
    );
    uploads(&lab).await?;
    assert!(lab.gateway.all_faults_hit());
    Ok(())
}
