//! Logins that are sent astray.

use super::*;

fn asks_for(lab: &Lab, challenge: &str) {
    let challenge = format!("WWW-Authenticate: {challenge}");
    lab.says("/v2/ ", &["401 Unauthorized", &challenge, "Connection: close"], b"");
}

fn bearer(realm: &str) -> String {
    format!("Bearer realm=\"{realm}\",service=\"registry\"")
}

/// The registry's own token server says this.
async fn token_server(lie: Lie, class: ErrorClass, said: &[&str]) -> Result<()> {
    let lab = Lab::start().await?;
    asks_for(&lab, &bearer(&format!("http://{}/token", lab.liar.host())));
    lab.lie(Method::GET, "/token", lie);
    lab.ends(class, said).await
}

#[tokio::test]
async fn token_realm_on_another_host_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    asks_for(&lab, &bearer(&lab.elsewhere("/token")));
    lab.ends(ErrorClass::Other, &["log in", "localhost", "nothing was sent there"]).await?;
    assert_eq!(lab.asked_elsewhere(), [""; 0]);
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
        let lab = Lab::start().await?;
        asks_for(&lab, &bearer(realm));
        lab.ends(ErrorClass::Other, &["log in", "nothing was sent there"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn malformed_challenge_is_rejected() -> Result<()> {
    for challenge in
        ["Bearer realm=", "Bearer realm=\"", "Bearer service=\"x\"", "Bearer realm=\"not an address\""]
    {
        let lab = Lab::start().await?;
        asks_for(&lab, challenge);
        lab.ends(ErrorClass::Other, &["log in", "WWW-Authenticate can't be read"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn token_server_redirect_is_not_followed() -> Result<()> {
    let lab = Lab::start().await?;
    asks_for(&lab, &bearer(&format!("http://{}/token", lab.liar.host())));
    let location = format!("Location: {}", lab.elsewhere("/token"));
    lab.says("/token", &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(ErrorClass::Other, &["the token server answered HTTP 307"]).await?;
    assert_eq!(lab.asked_elsewhere(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn endless_token_is_rejected() -> Result<()> {
    let lie = Lie::ThenForEver(answer(&["200 OK"], b"{\"token\":\""), b"abcdef");
    token_server(lie, ErrorClass::Other, &["log in", "larger than 262144 bytes"]).await
}

#[tokio::test]
async fn token_with_header_injection_is_rejected() -> Result<()> {
    let lie =
        Lie::Says(answer(&["200 OK", "Connection: close"], b"{\"token\":\"x\\r\\nHost: evil.example\"}"));
    token_server(lie, ErrorClass::Other, &[]).await
}

#[tokio::test]
async fn invalid_token_response_is_rejected() -> Result<()> {
    for token in ["{}", "[]", "null", "<html>", "{\"token\":\"\"}", "{\"token\":7}"] {
        let lie = Lie::Says(answer(&["200 OK", "Connection: close"], token.as_bytes()));
        token_server(lie, ErrorClass::Other, &["log in", "the token server's answer"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn token_that_never_suffices_is_pull_denied() -> Result<()> {
    let lab = Lab::start().await?;
    asks_for(&lab, &bearer(&format!("http://{}/token", lab.liar.host())));
    lab.says("/token", &["200 OK", "Connection: close"], b"{\"token\":\"abc\",\"expires_in\":0}");
    lab.says("/manifests/", &["401 Unauthorized", "Connection: close"], b"");
    lab.ends(ErrorClass::PullDenied, &["pull image v1", "HTTP 401"]).await
}
