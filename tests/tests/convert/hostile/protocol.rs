//! What isn't HTTP, or doesn't end.

use super::*;

const OK: &[&str] = &["200 OK", "Content-Type: application/vnd.oci.image.manifest.v1+json"];
const MANIFEST: &str = "/manifests/v1";
const PIECE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn non_http_response_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, MANIFEST, Lie::Says(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn silent_registry_times_out() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, MANIFEST, Lie::ThenSilence(Vec::new()));
    lab.ends(ErrorClass::Unavailable, &["pull image v1", "timed out"]).await
}

#[tokio::test]
async fn closed_connection_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, MANIFEST, Lie::Says(Vec::new()));
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn endless_headers_are_aborted() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(
        Method::GET,
        MANIFEST,
        Lie::ThenForEver(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n"),
    );
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn endless_header_line_is_aborted() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, MANIFEST, Lie::ThenForEver(b"HTTP/1.1 200 OK\r\nX-Long: ".to_vec(), b"aaaaaaaa"));
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn trickled_headers_time_out() -> Result<()> {
    let lab = Lab::start().await?;
    let lie = Lie::ThenSlowly(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more\r\n", PIECE);
    lab.lie(Method::GET, MANIFEST, lie);
    lab.ends(ErrorClass::Unavailable, &["pull image v1", "timed out"]).await
}

#[tokio::test]
async fn trickled_manifest_times_out() -> Result<()> {
    let lab = Lab::start().await?;
    let front = answer(&[OK, &["Content-Length: 100000"]].concat(), b"{");
    lab.lie(Method::GET, MANIFEST, Lie::ThenSlowly(front, b" ", PIECE));
    lab.ends(ErrorClass::Unavailable, &["pull image v1", "takes longer than"]).await
}

#[tokio::test]
async fn stalled_manifest_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.lie(Method::GET, MANIFEST, Lie::ThenSilence(answer(&[OK, &["Content-Length: 100"]].concat(), b"{")));
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn manifest_shorter_than_content_length_is_unavailable() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &[OK, &["Content-Length: 100"]].concat(), b"{\"schemaVersion\":2");
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn manifest_longer_than_content_length_is_refused() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &[OK, &["Content-Length: 9"]].concat(), &manifest_with(&lab.source, &json!({})));
    lab.ends(ErrorClass::Refused, &["is malformed"]).await
}

#[tokio::test]
async fn conflicting_content_lengths_are_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &[OK, &["Content-Length: 2", "Content-Length: 3"]].concat(), b"{} ");
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn negative_content_length_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &[OK, &["Content-Length: -5"]].concat(), b"{}");
    lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await
}

#[tokio::test]
async fn invalid_chunk_size_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    for size in ["ZZZ", "fffffffffffffffff", ""] {
        let body = format!("{size}\r\n{{}}\r\n0\r\n\r\n");
        lab.says(MANIFEST, &[OK, &["Transfer-Encoding: chunked"]].concat(), body.as_bytes());
        lab.ends(ErrorClass::Unavailable, &["pull image v1"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn manifest_of_100_mib_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    let front = answer(&[OK, &["Content-Length: 104857600"]].concat(), b"{\"x\":\"");
    lab.lie(Method::GET, MANIFEST, Lie::ThenForEver(front, b"many bytes "));
    lab.ends(ErrorClass::Other, &["pull image v1", "larger than 4194304 bytes"]).await
}

#[tokio::test]
async fn endless_error_body_is_truncated() -> Result<()> {
    let lab = Lab::start().await?;
    let front = answer(&["500 Internal Server Error"], b"sorry, ");
    lab.lie(Method::GET, MANIFEST, Lie::ThenForEver(front, b"so sorry, "));
    lab.ends(ErrorClass::Unavailable, &["pull image v1", "HTTP 500 sorry, so sorry"]).await
}

#[tokio::test]
async fn trickled_error_body_is_truncated() -> Result<()> {
    let lab = Lab::start().await?;
    let front = answer(&["403 Forbidden"], b"no, ");
    lab.lie(Method::GET, MANIFEST, Lie::ThenSlowly(front, b"no, ", PIECE));
    lab.ends(ErrorClass::PullDenied, &["pull image v1", "HTTP 403 no, no"]).await
}

#[tokio::test]
async fn control_characters_of_an_error_body_are_replaced() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &["403 Forbidden"], b"\x1b[2J\x1b]0;all is well\x07 \xff\xfe");
    lab.ends(ErrorClass::PullDenied, &["HTTP 403", "all is well"]).await
}

#[tokio::test]
async fn permanent_http_429_is_rate_limited() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(MANIFEST, &["429 Too Many Requests", "Content-Length: 0"], b"");
    lab.ends(ErrorClass::RateLimited { retry_after: None }, &["pull image v1", "HTTP 429"]).await
}

#[tokio::test]
async fn absurd_retry_after_is_rate_limited() -> Result<()> {
    for pause in ["18446744073709551615", "Fri, 31 Dec 9999 23:59:59 GMT", "99999999999999999999999", "-1"] {
        let lab = Lab::start().await?;
        let pause = format!("Retry-After: {pause}");
        lab.says(MANIFEST, &["429 Too Many Requests", &pause, "Content-Length: 0"], b"");
        let conversion = Conversion::of(&format!("{}/app:v1", lab.liar.host()));
        let limits = Limits { pause: Duration::from_millis(20), ..Limits::default() };
        let ended = tokio::time::timeout(PATIENCE, conversion.limits(limits).run()).await.context(pause)?;
        assert!(matches!(ended.expect_err("a lie").class(), ErrorClass::RateLimited { .. }));
        lab.require_harmless().await?;
    }
    Ok(())
}
