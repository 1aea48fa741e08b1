//! Malformed or contradictory manifests.

use super::*;

const OK: &[&str] =
    &["200 OK", "Connection: close", "Content-Type: application/vnd.docker.distribution.manifest.v2+json"];
const INDEX: &[&str] =
    &["200 OK", "Connection: close", "Content-Type: application/vnd.oci.image.index.v1+json"];
const MANIFEST: &str = "/manifests/v1";

async fn manifest_is_refused(manifest: &[u8], expected: &[&str]) -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, OK, manifest);
    lab.fails_with(ErrorClass::Refused, expected).await
}

async fn manifest_members_are_refused(members: Value, expected: &[&str]) -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, OK, &manifest_with(&lab.source, &members));
    lab.fails_with(ErrorClass::Refused, expected).await
}

#[tokio::test]
async fn manifest_with_invalid_utf_8_is_refused() -> Result<()> {
    manifest_is_refused(b"{\"schemaVersion\":2,\"mediaType\":\"\xff\xfe\"}", &["is malformed"]).await
}

#[tokio::test]
async fn manifest_of_html_is_refused() -> Result<()> {
    manifest_is_refused(b"<!doctype html><title>Log in</title>", &["is malformed"]).await
}

#[tokio::test]
async fn manifest_nested_a_million_levels_is_refused() -> Result<()> {
    let deep = format!("{{\"config\":{}", "[".repeat(1_000_000));
    manifest_is_refused(deep.as_bytes(), &["is malformed"]).await
}

#[tokio::test]
async fn manifest_contradicting_its_digest_header_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    let digest = format!("Docker-Content-Digest: {}", Digest::sha256_of(b"other"));
    lab.respond_to_get(MANIFEST, &[OK, &[&digest]].concat(), &manifest_with(&lab.source, &json!({})));
    lab.fails_with(ErrorClass::ContentMismatch, &["pull image v1", "instead of sha256:"]).await
}

#[tokio::test]
async fn manifest_served_as_an_index_is_refused() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, INDEX, &manifest_with(&lab.source, &json!({})));
    lab.fails_with(ErrorClass::Refused, &["has Content-Type", "but its content is"]).await
}

#[tokio::test]
async fn manifest_that_is_also_an_index_is_refused() -> Result<()> {
    manifest_members_are_refused(json!({"manifests": []}), &["could be read in two ways"]).await
}

#[tokio::test]
async fn digest_with_path_traversal_is_refused() -> Result<()> {
    for digest in
        ["sha256:../../../../etc/passwd", "../../v2/other/blobs/x", "sha256:", "sha256:AB", "md5:x/y"]
    {
        let layer =
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1, "digest": digest});
        manifest_members_are_refused(json!({"layers": [layer]}), &["is malformed"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_layer_sizes_are_refused() -> Result<()> {
    for size in [json!(-1), json!(1.5), json!("10"), json!(1e30)] {
        let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": size,
            "digest": Digest::sha256_of(b"x")});
        manifest_members_are_refused(json!({"layers": [layer]}), &["is malformed"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn manifest_of_10000_layers_is_refused() -> Result<()> {
    let layer = json!({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 1,
        "digest": Digest::sha256_of(b"x")});
    manifest_members_are_refused(
        json!({"layers": vec![layer; 10_000]}),
        &["10000 layers exceed the limit of 1000"],
    )
    .await
}

#[tokio::test]
async fn index_of_10000_entries_is_refused() -> Result<()> {
    let lab = HostileLab::start().await?;
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 1,
        "digest": Digest::sha256_of(b"x"), "platform": {"os": "linux", "architecture": "amd64"}});
    let index = json!({"schemaVersion": 2, "manifests": vec![entry; 10_000]});
    lab.respond_to_get(MANIFEST, INDEX, index.to_string().as_bytes());
    lab.fails_with(ErrorClass::Refused, &["10000 entries exceed the limit of 500"]).await
}

/// An index that lists `digest` for this architecture.
fn index(media_type: &str, digest: &Digest) -> Vec<u8> {
    let entry = json!({"mediaType": media_type, "size": 1, "digest": digest,
        "platform": {"os": "linux", "architecture": "amd64"}});
    json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes()
}

#[tokio::test]
async fn index_served_in_place_of_its_entry_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    let bytes = index("application/vnd.oci.image.manifest.v1+json", &Digest::sha256_of(b"x"));
    lab.respond_to_get("/manifests/", INDEX, &bytes);
    lab.fails_with(ErrorClass::ContentMismatch, &["pull manifest sha256:", "instead of"]).await
}

#[tokio::test]
async fn nested_index_alone_is_refused() -> Result<()> {
    let lab = HostileLab::start().await?;
    let inner = index("application/vnd.oci.image.index.v1+json", &Digest::sha256_of(b"x"));
    // One entry declares an index, the other one declares a manifest.
    for media_type in
        ["application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"]
    {
        lab.respond_to_get(&format!("/manifests/{}", Digest::sha256_of(&inner)), INDEX, &inner);
        lab.respond_to_get(MANIFEST, INDEX, &index(media_type, &Digest::sha256_of(&inner)));
        lab.fails_with(ErrorClass::Refused, &["nested in another index"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn config_with_other_bytes_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(lab.config(), &["200 OK", "Connection: close"], b"{\"rootfs\":{\"diff_ids\":[]}}");
    lab.fails_with(ErrorClass::ContentMismatch, &[lab.config(), "the repository served"]).await
}

#[tokio::test]
async fn endless_config_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(
        Method::GET,
        lab.config(),
        RawResponse::ThenFlood(http_response(&["200 OK"], b""), b"{\"a\":"),
    );
    lab.fails_with(ErrorClass::ContentMismatch, &[lab.config(), "the repository served"]).await
}

#[tokio::test]
async fn config_of_one_tebibyte_is_refused() -> Result<()> {
    let config = json!({"mediaType": "application/vnd.docker.container.image.v1+json", "size": 1_u64 << 40,
        "digest": Digest::sha256_of(b"x")});
    manifest_members_are_refused(json!({"config": config}), &["1099511627776 bytes"]).await
}
