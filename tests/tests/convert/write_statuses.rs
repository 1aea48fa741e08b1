//! Registries that accept a write with another status than the specification's, or refuse a kind of request.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::conversion::Lab;

#[tokio::test]
async fn every_status_of_success_is_accepted_for_a_write() -> Result<()> {
    let statuses = [StatusCode::OK, StatusCode::CREATED, StatusCode::ACCEPTED, StatusCode::NO_CONTENT];
    for (method, part) in
        [(Method::PATCH, "/blobs/uploads/"), (Method::PUT, "/blobs/uploads/"), (Method::PUT, "/manifests/")]
    {
        for status in statuses {
            let lab = Lab::start().await?;
            let image = Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"small")]);
            image.push(&lab.registry.host(), "app:v1").await?;
            lab.gateway.fault(method.clone(), part, Fault::AnswerAs(status));
            let made = lab.conversion("app:v1").run().await;
            let made = made.unwrap_or_else(|error| panic!("{method} {part} {status}: {}", error.chain()));
            let stored = RepositoryReader::new(&lab.registry, "app");
            let source = stored.manifest("v1").await?.json;
            stored.require_same_files(&stored.manifest(made.tag.as_str()).await?.json, &source).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn upload_may_be_opened_with_any_status_of_success() -> Result<()> {
    // An answer of 201 to a POST with the blob means that it is stored, so only streamed layers.
    for status in [StatusCode::OK, StatusCode::CREATED, StatusCode::NO_CONTENT] {
        let lab = Lab::start().await?;
        Fixture::new().large_layer("usr/bin/app", 2 << 20).push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::POST, "/blobs/uploads/", Fault::AnswerAs(status));
        let made = lab.conversion("app:v1").run().await;
        assert!(made.is_ok(), "{status}: {}", made.unwrap_err().chain());
    }
    Ok(())
}

#[tokio::test]
async fn content_served_as_203_or_206_is_accepted() -> Result<()> {
    for status in [StatusCode::NON_AUTHORITATIVE_INFORMATION, StatusCode::PARTIAL_CONTENT] {
        for (method, part) in
            [(Method::GET, "/manifests/"), (Method::GET, "/blobs/sha256:"), (Method::HEAD, "/blobs/")]
        {
            let lab = Lab::start().await?;
            Fixture::new().layer(&[("etc/app", b"small")]).push(&lab.registry.host(), "app:v1").await?;
            lab.gateway.fault(method.clone(), part, Fault::AnswerAs(status));
            let made = lab.conversion("app:v1").run().await;
            assert!(made.is_ok(), "{method} {part} {status}: {}", made.unwrap_err().chain());
        }
    }
    Ok(())
}

#[tokio::test]
async fn failed_mount_is_only_a_hint() -> Result<()> {
    for status in [
        StatusCode::OK,
        StatusCode::BAD_REQUEST,
        StatusCode::UNAUTHORIZED,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::TOO_MANY_REQUESTS,
    ] {
        let lab = Lab::start().await?;
        Fixture::new().layer(&[("etc/app", b"small")]).push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::POST, "mount=", Fault::Respond(status, vec![], ""));
        let mirror = format!("{}/mirror", lab.gateway.host());
        let made = lab.conversion("app:v1").into(&mirror).run().await;
        assert!(made.is_ok(), "{status}: {}", made.unwrap_err().chain());
    }
    Ok(())
}
