//! Readers who are sent somewhere else.

use super::*;

async fn sends_layers_to(location: &str, class: ErrorClass, said: &[&str]) -> Result<()> {
    let lab = Lab::start().await?;
    let location = format!("Location: {location}");
    lab.says(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(class, said).await
}

#[tokio::test]
async fn a_redirect_to_the_metadata_service() -> Result<()> {
    for location in [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/latest/meta-data/",
        "http://[fd00:ec2::254]/latest/meta-data/",
    ] {
        sends_layers_to(location, ErrorClass::Other, &["where no registry may send its readers"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_to_no_address() -> Result<()> {
    for location in ["file:///etc/passwd", "ftp://localhost/x", "gopher://localhost:70/x", "javascript:1"] {
        sends_layers_to(location, ErrorClass::Other, &["the registry's Location"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_without_a_place() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(lab.layer(), &["302 Found", "Connection: close"], b"");
    lab.ends(ErrorClass::Other, &["the registry named no Location"]).await
}

#[tokio::test]
async fn redirects_in_a_circle() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(lab.layer(), &["307 Temporary Redirect", "Location: ?again", "Connection: close"], b"");
    lab.ends(ErrorClass::Other, &["more than 5 redirects"]).await
}

#[tokio::test]
async fn a_redirect_to_another_host_with_other_bytes() -> Result<()> {
    let lab = Lab::start().await?;
    lab.elsewhere.lie(
        Method::GET,
        "/stolen",
        Lie::Says(answer(&["200 OK", "Connection: close"], b"other bytes")),
    );
    let location = format!("Location: {}", lab.elsewhere("/stolen"));
    lab.says(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(ErrorClass::ContentMismatch, &[lab.layer(), "the repository served 11 bytes"]).await?;
    assert_eq!(lab.asked_elsewhere(), ["get /stolen"]);
    Ok(())
}

#[tokio::test]
async fn another_host_that_asks_for_a_password() -> Result<()> {
    let lab = Lab::start().await?;
    let challenge =
        ["401 Unauthorized", "WWW-Authenticate: Basic realm=\"give it to me\"", "Connection: close"];
    lab.elsewhere.lie(Method::GET, "/stolen", Lie::Says(answer(&challenge, b"")));
    let location = format!("Location: {}", lab.elsewhere("/stolen"));
    lab.says(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(ErrorClass::PullDenied, &["HTTP 401"]).await?;
    assert_eq!(lab.asked_elsewhere(), ["get /stolen"]);
    Ok(())
}

#[tokio::test]
async fn a_manifest_on_another_host() -> Result<()> {
    let lab = Lab::start().await?;
    lab.elsewhere.lie(Method::GET, "/stolen", Lie::Says(answer(&["200 OK", "Connection: close"], b"{}")));
    let location = format!("Location: {}", lab.elsewhere("/stolen"));
    lab.says("/manifests/v1", &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(ErrorClass::Refused, &["is malformed"]).await?;
    assert_eq!(lab.asked_elsewhere(), ["get /stolen"]);
    Ok(())
}
