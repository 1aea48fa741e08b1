//! Readers who are sent somewhere else.

use super::*;

async fn sends_layers_to(location: &str, class: ErrorClass, said: &[&str]) -> Result<()> {
    let lab = Lab::start().await?;
    let location = format!("Location: {location}");
    lab.says(lab.layer(), &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(class, said).await
}

#[tokio::test]
async fn redirect_to_the_metadata_service_is_rejected() -> Result<()> {
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
async fn redirect_to_another_scheme_is_rejected() -> Result<()> {
    for location in ["file:///etc/passwd", "ftp://localhost/x", "gopher://localhost:70/x", "javascript:1"] {
        sends_layers_to(location, ErrorClass::Other, &["the registry's Location"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn redirect_without_location_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(lab.layer(), &["302 Found", "Connection: close"], b"");
    lab.ends(ErrorClass::Other, &["the registry named no Location"]).await
}

#[tokio::test]
async fn redirect_loop_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    lab.says(lab.layer(), &["307 Temporary Redirect", "Location: ?again", "Connection: close"], b"");
    lab.ends(ErrorClass::Other, &["more than 5 redirects"]).await
}

#[tokio::test]
async fn redirected_layer_is_still_hashed() -> Result<()> {
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
async fn redirect_target_gets_no_password() -> Result<()> {
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
async fn redirected_manifest_is_still_validated() -> Result<()> {
    let lab = Lab::start().await?;
    lab.elsewhere.lie(Method::GET, "/stolen", Lie::Says(answer(&["200 OK", "Connection: close"], b"{}")));
    let location = format!("Location: {}", lab.elsewhere("/stolen"));
    lab.says("/manifests/v1", &["307 Temporary Redirect", &location, "Connection: close"], b"");
    lab.ends(ErrorClass::Refused, &["is malformed"]).await?;
    assert_eq!(lab.asked_elsewhere(), ["get /stolen"]);
    Ok(())
}
