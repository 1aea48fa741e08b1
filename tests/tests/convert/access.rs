//! Credentials and rights for pull and push.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::ErrorClass;
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::{Login, Registry};

use crate::conversion::{Conversion, Lab};
use zstart_tests::registry::repository_reader::RepositoryReader;

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 100_000).layer(&[("etc/app", b"configuration")])
}

#[tokio::test]
async fn basic_auth_needs_the_right_password() -> Result<()> {
    let login = Login::Basic { username: "user".into(), password: "right".into() };
    let registry = Registry::start_with(login).await?;
    let name = format!("{}/app:v1", registry.host());
    let reference = name.parse()?;
    zstart_tests::control_plane::install_crypto();
    let options = RegistryOptions { plain_http: vec![registry.host()], ..RegistryOptions::default() };
    let credentials = Credentials::basic("user", "right");
    let repository = RegistryClient::new(options)?.repository(&reference, credentials);
    image().prepare()?.store(&*repository, &"v1".parse()?).await?;

    let made = Conversion::of(&name).login("user", "right").run().await?;
    assert_eq!(made.image.platforms[0].converted_layers, 2);
    for conversion in [Conversion::of(&name), Conversion::of(&name).login("user", "wrong")] {
        let error = conversion.run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
        assert!(error.chain().contains(&format!("{}/app", registry.host())), "{}", error.chain());
    }
    Ok(())
}

#[tokio::test]
async fn tokens_are_requested_for_pull_and_for_push() -> Result<()> {
    let registry = Registry::start().await?;
    let pushed = image().push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    let conversion = Conversion::of(&format!("{}/app:v1", gateway.host()));

    let error = conversion.clone().login("user", "wrong").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());

    let made = conversion.login("user", "right").run().await?;
    let stored = RepositoryReader::new(&registry, "app");
    let variant = stored.manifest(made.tag.as_str()).await?;
    stored.require_same_files(&variant.json, &stored.manifest(pushed.as_str()).await?.json).await?;
    let calls = gateway.calls();
    let asked = |scope: &str| calls.iter().any(|call| call.contains("/token?") && call.ends_with(scope));
    assert!(asked("app%3Apull"), "{calls:?}");
    assert!(asked("app%3Apull%2Cpush"), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn missing_push_right_is_reported_and_writes_nothing() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let body = r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::POST, "/blobs/uploads/", Fault::Respond(status, vec![], body));
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::PushDenied, "{}", error.chain());
        assert!(error.chain().contains("DENIED: requested access"), "{}", error.chain());
        assert!(error.chain().contains(&format!("{}/app", lab.gateway.host())), "{}", error.chain());
    }
    assert_eq!(RepositoryReader::new(&lab.registry, "app").tags().await?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn push_denied_mid_upload_is_not_a_broken_connection() -> Result<()> {
    let lab = Lab::start().await?;
    // Larger than the buffers of connections and channels, so the refusal arrives during the upload.
    Fixture::new().large_layer("usr/bin/app", 24 << 20).push(&lab.registry.host(), "app:v1").await?;
    let refusal = Fault::Respond(StatusCode::FORBIDDEN, vec![], "quota exceeded");
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", refusal);
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PushDenied, "{}", error.chain());
    assert!(error.chain().contains("quota exceeded"), "{}", error.chain());
    Ok(())
}
