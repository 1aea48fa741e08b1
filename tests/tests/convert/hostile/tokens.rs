//! Challenges and token responses that mislead a login.

use super::*;

fn challenge_with(lab: &HostileLab, challenge: &str) {
    let challenge = format!("WWW-Authenticate: {challenge}");
    lab.respond_to_get("/v2/ ", &["401 Unauthorized", &challenge, "Connection: close"], b"");
}

fn bearer(realm: &str) -> String {
    format!("Bearer realm=\"{realm}\",service=\"registry\"")
}

/// Requires that a login fails with this response of the registry's token server.
async fn token_response_fails(response: RawResponse, class: ErrorClass, expected: &[&str]) -> Result<()> {
    let lab = HostileLab::start().await?;
    challenge_with(&lab, &bearer(&format!("http://{}/token", lab.server.host())));
    lab.respond(Method::GET, "/token", response);
    lab.fails_with(class, expected).await
}

#[tokio::test]
async fn token_realm_on_another_host_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    challenge_with(&lab, &bearer(&lab.other_host_url("/token")));
    lab.fails_with(ErrorClass::Other, &["log in", "localhost", "nothing was sent to that host"]).await?;
    assert_eq!(lab.requests_to_other_host(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn forbidden_token_realms_are_rejected() -> Result<()> {
    for realm in [
        "http://169.254.169.254/latest/api/token",
        "http://127.0.0.1@169.254.169.254/token",
        "http://user:pass@127.0.0.1/token",
        "ftp://127.0.0.1/token",
        "file:///etc/passwd",
    ] {
        let lab = HostileLab::start().await?;
        challenge_with(&lab, &bearer(realm));
        lab.fails_with(ErrorClass::Other, &["log in", "nothing was sent to that host"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_challenge_is_rejected() -> Result<()> {
    for challenge in
        ["Bearer realm=", "Bearer realm=\"", "Bearer service=\"x\"", "Bearer realm=\"not an address\""]
    {
        let lab = HostileLab::start().await?;
        challenge_with(&lab, challenge);
        lab.fails_with(ErrorClass::Other, &["log in", "WWW-Authenticate header is not readable"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn token_server_redirect_is_not_followed() -> Result<()> {
    let lab = HostileLab::start().await?;
    challenge_with(&lab, &bearer(&format!("http://{}/token", lab.server.host())));
    let location = format!("Location: {}", lab.other_host_url("/token"));
    lab.respond_to_get("/token", &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(ErrorClass::Other, &["token server refused: HTTP 307"]).await?;
    assert_eq!(lab.requests_to_other_host(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn endless_token_is_rejected() -> Result<()> {
    let response = RawResponse::ThenFlood(http_response(&["200 OK"], b"{\"token\":\""), b"abcdef");
    token_response_fails(response, ErrorClass::Other, &["log in", "exceeds the limit of 262144 bytes"]).await
}

#[tokio::test]
async fn token_with_header_injection_is_rejected() -> Result<()> {
    let response = RawResponse::Send(http_response(
        &["200 OK", "Connection: close"],
        b"{\"token\":\"x\\r\\nHost: evil.example\"}",
    ));
    token_response_fails(response, ErrorClass::Other, &[]).await
}

#[tokio::test]
async fn invalid_token_response_is_rejected() -> Result<()> {
    for token in ["{}", "[]", "null", "<html>", "{\"token\":\"\"}", "{\"token\":7}"] {
        let response = RawResponse::Send(http_response(&["200 OK", "Connection: close"], token.as_bytes()));
        token_response_fails(response, ErrorClass::Other, &["log in", "token server's response"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn token_that_never_suffices_is_pull_denied() -> Result<()> {
    let lab = HostileLab::start().await?;
    challenge_with(&lab, &bearer(&format!("http://{}/token", lab.server.host())));
    lab.respond_to_get("/token", &["200 OK", "Connection: close"], b"{\"token\":\"abc\",\"expires_in\":0}");
    lab.respond_to_get("/manifests/", &["401 Unauthorized", "Connection: close"], b"");
    lab.fails_with(ErrorClass::PullDenied, &["pull image v1", "HTTP 401"]).await
}
