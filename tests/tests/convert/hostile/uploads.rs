//! Registries that take a layer, and don't.

use super::*;

const UPLOADS: &str = "/blobs/uploads/";

#[tokio::test]
async fn upload_location_on_another_host_gets_no_credentials() -> Result<()> {
    let lab = Lab::start().await?;
    let location = format!("Location: {}", lab.elsewhere("/v2/app/blobs/uploads/stolen"));
    lab.lie(Method::POST, UPLOADS, Lie::Says(answer(&["202 Accepted", &location, "Connection: close"], b"")));
    lab.ends(ErrorClass::Unavailable, &["upload a blob"]).await?;
    assert!(
        lab.asked_elsewhere().iter().all(|asked| asked.contains("stolen")),
        "{:?}",
        lab.asked_elsewhere()
    );
    Ok(())
}

#[tokio::test]
async fn upload_location_at_the_metadata_service_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    let head = ["202 Accepted", "Location: http://169.254.169.254/latest/", "Connection: close"];
    lab.lie(Method::POST, UPLOADS, Lie::Says(answer(&head, b"")));
    lab.ends(ErrorClass::Other, &["where no registry may send its readers"]).await
}

#[tokio::test]
async fn upload_without_a_usable_location_is_rejected() -> Result<()> {
    for head in [
        &["202 Accepted"][..],
        &["202 Accepted", "Location: file:///tmp/x"],
        &["202 Accepted", "Location: http://"],
    ] {
        let lab = Lab::start().await?;
        lab.lie(Method::POST, UPLOADS, Lie::Says(answer(&[head, &["Connection: close"]].concat(), b"")));
        lab.ends(ErrorClass::Other, &["begin a blob upload", "Location"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn upload_forgotten_on_every_attempt_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    let gone =
        answer(&["404 Not Found", "Connection: close"], b"{\"errors\":[{\"code\":\"BLOB_UPLOAD_UNKNOWN\"}]}");
    lab.lie(Method::PATCH, UPLOADS, Lie::Says(gone));
    lab.ends(ErrorClass::Unavailable, &["upload a blob"]).await
}

#[tokio::test]
async fn stalled_upload_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::PATCH, UPLOADS, Lie::ThenSilence(Vec::new()));
    lab.ends(ErrorClass::Unavailable, &["upload a blob"]).await
}

#[tokio::test]
async fn unanswered_upload_commit_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::PUT, UPLOADS, Lie::ThenSilence(Vec::new()));
    lab.ends(ErrorClass::Unavailable, &["finish the upload of blob sha256:"]).await
}

#[tokio::test]
async fn digest_invalid_response_is_a_mismatch() -> Result<()> {
    let lab = Lab::start().await?;
    let wrong =
        answer(&["400 Bad Request", "Connection: close"], b"{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}");
    lab.lie(Method::PUT, UPLOADS, Lie::Says(wrong));
    lab.ends(ErrorClass::ContentMismatch, &["finish the upload of blob sha256:", "DIGEST_INVALID"]).await
}

#[tokio::test]
async fn rejected_manifest_push_is_reported() -> Result<()> {
    let lab = Lab::start().await?;
    let no =
        answer(&["400 Bad Request", "Connection: close"], b"{\"errors\":[{\"code\":\"MANIFEST_INVALID\"}]}");
    lab.lie(Method::PUT, "/manifests/", Lie::Says(no));
    lab.ends(ErrorClass::Other, &["push manifest", "MANIFEST_INVALID"]).await
}

#[tokio::test]
async fn discarded_manifest_fails_verification() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::PUT, "/manifests/", Lie::Says(answer(&["201 Created", "Connection: close"], b"")));
    lab.ends(ErrorClass::NotFound, &["pull image v1-zstd-"]).await
}
