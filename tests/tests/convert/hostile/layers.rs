//! Layers with other bytes, too many or too few.

use super::*;

const OK: &[&str] = &["200 OK", "Connection: close"];

async fn layer_response_fails(response: RawResponse, class: ErrorClass, expected: &str) -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::GET, lab.layer(), response);
    lab.fails_with(class, &[lab.layer(), expected]).await
}

#[tokio::test]
async fn layer_shorter_than_its_descriptor_is_rejected() -> Result<()> {
    let response = RawResponse::Send(http_response(&[OK, &["Content-Length: 2"]].concat(), b"\x1f\x8b"));
    layer_response_fails(response, ErrorClass::ContentMismatch, "the repository served 2 bytes").await
}

#[tokio::test]
async fn empty_layer_response_is_rejected() -> Result<()> {
    let response = RawResponse::Send(http_response(&[OK, &["Content-Length: 0"]].concat(), b""));
    layer_response_fails(response, ErrorClass::ContentMismatch, "the repository served 0 bytes").await
}

#[tokio::test]
async fn endless_layer_is_rejected() -> Result<()> {
    layer_response_fails(
        RawResponse::ThenFlood(http_response(OK, b""), b"bytes "),
        ErrorClass::ContentMismatch,
        "the repository served",
    )
    .await
}

#[tokio::test]
async fn endless_gzip_bomb_is_rejected() -> Result<()> {
    // A gzip member of 10 MB of zeros in 10 KB, repeated.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![0; 10 << 20])?;
    let member: &'static [u8] = encoder.finish()?.leak();
    layer_response_fails(
        RawResponse::ThenFlood(http_response(OK, b""), member),
        ErrorClass::ContentMismatch,
        "the repository served",
    )
    .await
}

#[tokio::test]
async fn layer_cut_on_every_attempt_is_unavailable() -> Result<()> {
    let response =
        RawResponse::Send(http_response(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b\x08"));
    layer_response_fails(response, ErrorClass::Unavailable, "pull blob").await
}

#[tokio::test]
async fn stalled_layer_is_unavailable() -> Result<()> {
    let response =
        RawResponse::ThenStall(http_response(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b\x08"));
    layer_response_fails(response, ErrorClass::Unavailable, "pull blob").await
}

#[tokio::test]
async fn layer_below_minimum_throughput_is_aborted() -> Result<()> {
    let response = RawResponse::ThenTrickle(
        http_response(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b"),
        b"x",
        Duration::from_millis(40),
    );
    layer_response_fails(response, ErrorClass::Unavailable, "download throughput fell below").await
}

#[tokio::test]
async fn layer_of_another_image_is_rejected() -> Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, b"other files")?;
    let response = RawResponse::Send(http_response(OK, &encoder.finish()?));
    layer_response_fails(response, ErrorClass::ContentMismatch, "the repository served").await
}

#[tokio::test]
async fn layer_missing_on_get_is_not_found() -> Result<()> {
    let response = RawResponse::Send(http_response(
        &["404 Not Found", "Connection: close"],
        b"{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}",
    ));
    layer_response_fails(response, ErrorClass::NotFound, "BLOB_UNKNOWN").await
}
