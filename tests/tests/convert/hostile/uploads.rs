//! Uploads that the registry opens or accepts, but doesn't complete.

use super::*;

const UPLOADS: &str = "/blobs/uploads/";

#[tokio::test]
async fn upload_location_on_another_host_gets_no_credentials() -> Result<()> {
    let lab = HostileLab::start().await?;
    let location = format!("Location: {}", lab.other_host_url("/v2/app/blobs/uploads/stolen"));
    lab.respond(
        Method::POST,
        UPLOADS,
        RawResponse::Send(http_response(&["202 Accepted", &location, "Connection: close"], b"")),
    );
    lab.fails_with(ErrorClass::Unavailable, &["upload a blob"]).await?;
    assert!(
        lab.requests_to_other_host().iter().all(|request| request.contains("stolen")),
        "{:?}",
        lab.requests_to_other_host()
    );
    Ok(())
}

#[tokio::test]
async fn upload_location_at_the_metadata_service_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    let head = ["202 Accepted", "Location: http://169.254.169.254/latest/", "Connection: close"];
    lab.respond(Method::POST, UPLOADS, RawResponse::Send(http_response(&head, b"")));
    lab.fails_with(ErrorClass::Other, &["zstart never connects there"]).await
}

#[tokio::test]
async fn write_redirect_to_the_metadata_service_is_rejected() -> Result<()> {
    for (method, path) in [
        (Method::POST, UPLOADS),
        (Method::PATCH, UPLOADS),
        (Method::PUT, UPLOADS),
        (Method::PUT, "/manifests/"),
    ] {
        let lab = HostileLab::start().await?;
        let location = "Location: http://169.254.169.254/latest/meta-data/";
        let redirect = http_response(&["307 Temporary Redirect", location, "Connection: close"], b"");
        lab.respond(method, path, RawResponse::Send(redirect));
        lab.fails_with(ErrorClass::Other, &["zstart never connects there"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn upload_without_a_usable_location_is_rejected() -> Result<()> {
    for head in [
        &["202 Accepted"][..],
        &["202 Accepted", "Location: file:///tmp/x"],
        &["202 Accepted", "Location: http://"],
    ] {
        let lab = HostileLab::start().await?;
        lab.respond(
            Method::POST,
            UPLOADS,
            RawResponse::Send(http_response(&[head, &["Connection: close"]].concat(), b"")),
        );
        lab.fails_with(ErrorClass::Other, &["begin a blob upload", "Location"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn upload_forgotten_on_every_attempt_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    let gone = http_response(
        &["404 Not Found", "Connection: close"],
        b"{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\"}]}",
    );
    lab.respond(Method::PATCH, UPLOADS, RawResponse::Send(gone));
    lab.fails_with(ErrorClass::Unavailable, &["upload a blob"]).await
}

#[tokio::test]
async fn stalled_upload_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::PATCH, UPLOADS, RawResponse::ThenStall(Vec::new()));
    lab.fails_with(ErrorClass::Unavailable, &["upload a blob"]).await
}

#[tokio::test]
async fn unanswered_upload_commit_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::PUT, UPLOADS, RawResponse::ThenStall(Vec::new()));
    lab.fails_with(ErrorClass::Unavailable, &["finish the upload of blob sha256:"]).await
}

#[tokio::test]
async fn digest_invalid_response_is_a_mismatch() -> Result<()> {
    let lab = HostileLab::start().await?;
    let wrong = http_response(
        &["400 Bad Request", "Connection: close"],
        b"{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}",
    );
    lab.respond(Method::PUT, UPLOADS, RawResponse::Send(wrong));
    lab.fails_with(ErrorClass::ContentMismatch, &["finish the upload of blob sha256:", "DIGEST_INVALID"])
        .await
}

#[tokio::test]
async fn rejected_manifest_push_is_reported() -> Result<()> {
    let lab = HostileLab::start().await?;
    let no = http_response(
        &["400 Bad Request", "Connection: close"],
        b"{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}",
    );
    lab.respond(Method::PUT, "/manifests/", RawResponse::Send(no));
    lab.fails_with(ErrorClass::Other, &["push manifest", "MANIFEST_INVALID"]).await
}

#[tokio::test]
async fn discarded_manifest_fails_verification() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(
        Method::PUT,
        "/manifests/",
        RawResponse::Send(http_response(&["201 Created", "Connection: close"], b"")),
    );
    lab.fails_with(ErrorClass::NotVerified, &["verify the pushed variant", "pull image v1-zstd-"]).await
}
