//! Redirects to other hosts and addresses.

use super::*;

async fn layer_redirect_fails(location: &str, class: ErrorClass, expected: &[&str]) -> Result<()> {
    let lab = HostileLab::start().await?;
    let location = format!("Location: {location}");
    lab.respond_to_get(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(class, expected).await
}

#[tokio::test]
async fn redirect_to_the_metadata_service_is_rejected() -> Result<()> {
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
    ] {
        layer_redirect_fails(location, ErrorClass::Other, &["zstart never connects there"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn redirect_to_another_scheme_is_rejected() -> Result<()> {
    for location in ["file:///etc/passwd", "ftp://localhost/x", "gopher://localhost:70/x", "javascript:1"] {
        layer_redirect_fails(location, ErrorClass::Other, &["registry's Location header"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn redirect_without_location_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(lab.layer(), &["302 Found", "Connection: close"], b"");
    lab.fails_with(ErrorClass::Other, &["Location header is missing"]).await
}

#[tokio::test]
async fn redirect_loop_is_rejected() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.respond_to_get(
        lab.layer(),
        &["307 Temporary Redirect", "Location: ?again", "Connection: close"],
        b"",
    );
    lab.fails_with(ErrorClass::Other, &["more than 5 redirects"]).await
}

#[tokio::test]
async fn redirected_layer_is_still_hashed() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.other_host.respond(
        Method::GET,
        "/stolen",
        RawResponse::Send(http_response(&["200 OK", "Connection: close"], b"other bytes")),
    );
    let location = format!("Location: {}", lab.other_host_url("/stolen"));
    lab.respond_to_get(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(ErrorClass::ContentMismatch, &[lab.layer(), "the repository served 11 bytes"]).await?;
    assert_eq!(lab.requests_to_other_host(), ["get /stolen"]);
    Ok(())
}

#[tokio::test]
async fn redirect_target_gets_no_password() -> Result<()> {
    let lab = HostileLab::start().await?;
    let challenge =
        ["401 Unauthorized", "WWW-Authenticate: Basic realm=\"give it to me\"", "Connection: close"];
    lab.other_host.respond(Method::GET, "/stolen", RawResponse::Send(http_response(&challenge, b"")));
    let location = format!("Location: {}", lab.other_host_url("/stolen"));
    lab.respond_to_get(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(ErrorClass::PullDenied, &["HTTP 401"]).await?;
    assert_eq!(lab.requests_to_other_host(), ["get /stolen"]);
    Ok(())
}

#[tokio::test]
async fn redirect_target_cannot_name_a_foreign_token_server() -> Result<()> {
    let lab = HostileLab::start().await?;
    // The registry's own token server is foreign there.
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", lab.server.host());
    let head = ["401 Unauthorized", &challenge, "Connection: close"];
    lab.other_host.respond(Method::GET, "/stolen", RawResponse::Send(http_response(&head, b"")));
    let location = format!("Location: {}", lab.other_host_url("/stolen"));
    lab.respond_to_get(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(ErrorClass::PullDenied, &["HTTP 401"]).await?;
    assert_eq!(lab.requests_to_other_host(), ["get /stolen"]);
    Ok(())
}

#[tokio::test]
async fn redirected_manifest_is_still_validated() -> Result<()> {
    let lab = HostileLab::start().await?;
    lab.other_host.respond(
        Method::GET,
        "/stolen",
        RawResponse::Send(http_response(&["200 OK", "Connection: close"], b"{}")),
    );
    let location = format!("Location: {}", lab.other_host_url("/stolen"));
    lab.respond_to_get("/manifests/v1", &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.fails_with(ErrorClass::Refused, &["is malformed"]).await?;
    assert_eq!(lab.requests_to_other_host(), ["get /stolen"]);
    Ok(())
}
