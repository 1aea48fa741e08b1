//! Layers of other bytes, of too many, and of too few.

use super::*;

const OK: &[&str] = &["200 OK", "Connection: close"];

async fn lied_about(lie: Lie, class: ErrorClass, said: &str) -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, lab.layer(), lie);
    lab.ends(class, &[lab.layer(), said]).await
}

#[tokio::test]
async fn layer_shorter_than_its_descriptor_is_rejected() -> Result<()> {
    let lie = Lie::Says(answer(&[OK, &["Content-Length: 2"]].concat(), b"\x1f\x8b"));
    lied_about(lie, ErrorClass::ContentMismatch, "the repository served 2 bytes").await
}

#[tokio::test]
async fn empty_layer_response_is_rejected() -> Result<()> {
    let lie = Lie::Says(answer(&[OK, &["Content-Length: 0"]].concat(), b""));
    lied_about(lie, ErrorClass::ContentMismatch, "the repository served 0 bytes").await
}

#[tokio::test]
async fn endless_layer_is_rejected() -> Result<()> {
    lied_about(
        Lie::ThenForEver(answer(OK, b""), b"bytes "),
        ErrorClass::ContentMismatch,
        "the repository served",
    )
    .await
}

#[tokio::test]
async fn endless_gzip_bomb_is_rejected() -> Result<()> {
    // A member of 10 MB of zeros in 10 KB, again and again.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![0; 10 << 20])?;
    let member: &'static [u8] = encoder.finish()?.leak();
    lied_about(
        Lie::ThenForEver(answer(OK, b""), member),
        ErrorClass::ContentMismatch,
        "the repository served",
    )
    .await
}

#[tokio::test]
async fn layer_cut_on_every_attempt_is_unavailable() -> Result<()> {
    let lie = Lie::Says(answer(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b\x08"));
    lied_about(lie, ErrorClass::Unavailable, "the source broke off").await
}

#[tokio::test]
async fn stalled_layer_is_unavailable() -> Result<()> {
    let lie = Lie::ThenSilence(answer(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b\x08"));
    lied_about(lie, ErrorClass::Unavailable, "the source broke off").await
}

#[tokio::test]
async fn layer_below_minimum_throughput_is_aborted() -> Result<()> {
    let lie = Lie::ThenSlowly(
        answer(&[OK, &["Content-Length: 90000"]].concat(), b"\x1f\x8b"),
        b"x",
        Duration::from_millis(40),
    );
    lied_about(lie, ErrorClass::Unavailable, "it comes too slowly").await
}

#[tokio::test]
async fn layer_of_another_image_is_rejected() -> Result<()> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, b"other files")?;
    let lie = Lie::Says(answer(OK, &encoder.finish()?));
    lied_about(lie, ErrorClass::ContentMismatch, "the repository served").await
}

#[tokio::test]
async fn layer_missing_on_get_is_not_found() -> Result<()> {
    let lie = Lie::Says(answer(
        &["404 Not Found", "Connection: close"],
        b"{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}",
    ));
    lied_about(lie, ErrorClass::NotFound, "BLOB_UNKNOWN").await
}
