//! Responses that aren't HTTP or don't end.

use super::*;

const OK: &[&str] = &["200 OK", "Content-Type: application/vnd.oci.image.manifest.v1+json"];
const MANIFEST: &str = "/manifests/v1";
const TRICKLE_INTERVAL: Duration = Duration::from_millis(50);

#[tokio::test]
async fn non_http_response_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::GET, MANIFEST, RawResponse::Send(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn silent_registry_times_out() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::GET, MANIFEST, RawResponse::ThenStall(Vec::new()));
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1", "timed out"]).await
}

#[tokio::test]
async fn closed_connection_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(Method::GET, MANIFEST, RawResponse::Send(Vec::new()));
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn endless_headers_are_aborted() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(
        Method::GET,
        MANIFEST,
        RawResponse::ThenFlood(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n"),
    );
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn endless_header_line_is_aborted() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(
        Method::GET,
        MANIFEST,
        RawResponse::ThenFlood(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), b"aaaaaaaa"),
    );
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn trickled_headers_time_out() -> Result<()> {
    let lab = HostileLab::start().await?;
    let response =
        RawResponse::ThenTrickle(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n", TRICKLE_INTERVAL);
    lab.respond(Method::GET, MANIFEST, response);
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1", "timed out"]).await
}

#[tokio::test]
async fn trickled_manifest_times_out() -> Result<()> {
    let lab = HostileLab::start().await?;
    let start = http_response(&[OK, &["Content-Length: 100000"]].concat(), b"{");
    lab.respond(Method::GET, MANIFEST, RawResponse::ThenTrickle(start, b" ", TRICKLE_INTERVAL));
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1", "took longer than"]).await
}

#[tokio::test]
async fn stalled_manifest_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond(
        Method::GET,
        MANIFEST,
        RawResponse::ThenStall(http_response(&[OK, &["Content-Length: 100"]].concat(), b"{")),
    );
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn manifest_shorter_than_content_length_is_unavailable() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, &[OK, &["Content-Length: 100"]].concat(), b"{\"schemaVersion\":2");
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn manifest_longer_than_content_length_is_refused() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(
        MANIFEST,
        &[OK, &["Content-Length: 9"]].concat(),
        &manifest_with(&lab.source, &json!({})),
    );
    lab.fails_with(ErrorClass::Refused, &["is malformed"]).await
}

#[tokio::test]
async fn conflicting_content_lengths_are_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, &[OK, &["Content-Length: 2", "Content-Length: 3"]].concat(), b"{} ");
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn negative_content_length_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, &[OK, &["Content-Length: -5"]].concat(), b"{}");
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn invalid_chunk_size_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    for size in ["ZZZ", "fffffffffffffffff", ""] {
        let body = format!("{size}\r\n{{}}\r\n0\r\n\r\n");
        lab.respond_to_get(MANIFEST, &[OK, &["Transfer-Encoding: chunked"]].concat(), body.as_bytes());
        lab.fails_with(ErrorClass::Unavailable, &["pull image v1"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn manifest_of_100_mib_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    let start = http_response(&[OK, &["Content-Length: 104857600"]].concat(), b"{\"x\":\"");
    lab.respond(Method::GET, MANIFEST, RawResponse::ThenFlood(start, b"many bytes "));
    lab.fails_with(ErrorClass::Other, &["pull image v1", "exceeds the limit of 4194304 bytes"]).await
}

#[tokio::test]
async fn endless_error_body_is_truncated() -> Result<()> {
    let lab = HostileLab::start().await?;
    let start = http_response(&["500 Internal Server Error"], b"sorry, ");
    lab.respond(Method::GET, MANIFEST, RawResponse::ThenFlood(start, b"so sorry, "));
    lab.fails_with(ErrorClass::Unavailable, &["pull image v1", "HTTP 500 sorry, so sorry"]).await
}

#[tokio::test]
async fn trickled_error_body_is_truncated() -> Result<()> {
    let lab = HostileLab::start().await?;
    let start = http_response(&["403 Forbidden"], b"no, ");
    lab.respond(Method::GET, MANIFEST, RawResponse::ThenTrickle(start, b"no, ", TRICKLE_INTERVAL));
    lab.fails_with(ErrorClass::PullDenied, &["pull image v1", "HTTP 403 no, no"]).await
}

#[tokio::test]
async fn control_characters_of_an_error_body_are_replaced() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, &["403 Forbidden"], b"\x1b[2J\x1b]0;all is well\x07 \xff\xfe");
    lab.fails_with(ErrorClass::PullDenied, &["HTTP 403", "all is well"]).await
}

#[tokio::test]
async fn permanent_http_429_is_rate_limited() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(MANIFEST, &["429 Too Many Requests", "Content-Length: 0"], b"");
    lab.fails_with(ErrorClass::RateLimited { retry_after: None }, &["pull image v1", "HTTP 429"]).await
}

#[tokio::test]
async fn absurd_retry_after_is_rate_limited() -> Result<()> {
    for pause in ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT", "99999999999999999999999", "-1"] {
        let lab = HostileLab::start().await?;
        let pause = format!("Retry-After: {pause}");
        lab.respond_to_get(MANIFEST, &["429 Too Many Requests", &pause, "Content-Length: 0"], b"");
        let conversion = Conversion::of(&format!("{}/app:v1", lab.server.host()));
        let options = RegistryOptions { retry: impatient().retry, ..RegistryOptions::default() };
        let ended =
            tokio::time::timeout(MAX_DURATION, conversion.options(options).run()).await.context(pause)?;
        assert!(matches!(
            ended.expect_err("the conversion succeeded").class(),
            ErrorClass::RateLimited { .. }
        ));
        lab.require_harmless().await?;
    }
    Ok(())
}
