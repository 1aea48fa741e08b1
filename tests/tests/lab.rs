//! The lab itself, without root.

use anyhow::Result;
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use zstart_core::Reference;
use zstart_registry::auth::Credentials;
use zstart_registry::{Access, ErrorKind};
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::{Login, Registry};

async fn digest_of(image: &str, credentials: Credentials) -> Result<String> {
    zstart_tests::control_plane::install_crypto();
    let reference: Reference = image.parse()?;
    let options =
        RegistryOptions { plain_http: vec![reference.registry().to_owned()], ..RegistryOptions::default() };
    let repository = RegistryClient::new(options)?.repository(&reference, credentials);
    Ok(zstart_convert::resolve(&*repository, &reference).await?.digest().to_string())
}

#[tokio::test]
async fn concurrent_control_planes_are_isolated() -> Result<()> {
    let (one, other) = tokio::try_join!(ControlPlane::start(), ControlPlane::start())?;
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": "only-here"}}))?;
    Api::all(one.client().await?).create(&PostParams::default(), &namespace).await?;
    let elsewhere: Api<Namespace> = Api::all(other.client().await?);
    assert!(elsewhere.get_opt("only-here").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn registry_serves_a_pushed_image() -> Result<()> {
    let registry = Registry::start().await?;
    let pushed = Fixture::new().layer(&[("etc/hello", b"hello")]).push(&registry.host(), "app:v1").await?;
    let found = digest_of(&format!("{}/app:v1", registry.host()), Credentials::Anonymous).await?;
    assert_eq!(found, pushed.to_string());
    Ok(())
}

#[tokio::test]
async fn registry_with_login_rejects_other_credentials() -> Result<()> {
    let login = Login::Basic { username: "user".into(), password: "right".into() };
    let registry = Registry::start_with(login).await?;
    let image = format!("{}/app:v1", registry.host());
    for credentials in [Credentials::Anonymous, Credentials::basic("user", "wrong")] {
        let error = digest_of(&image, credentials).await.unwrap_err();
        let error: zstart_convert::Error = error.downcast()?;
        assert_eq!(error.class(), zstart_convert::ErrorClass::PullDenied, "{error}");
    }
    let error: zstart_convert::Error =
        digest_of(&image, Credentials::basic("user", "right")).await.unwrap_err().downcast()?;
    assert_eq!(error.class(), zstart_convert::ErrorClass::NotFound, "{error}");
    Ok(())
}

#[tokio::test]
async fn gateway_challenge_is_answered_with_a_token() -> Result<()> {
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("etc/hello", b"hello")]).push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    let image = format!("{}/app:v1", gateway.host());
    assert!(digest_of(&image, Credentials::basic("user", "right")).await.is_ok());
    let error: zstart_convert::Error =
        digest_of(&image, Credentials::basic("user", "wrong")).await.unwrap_err().downcast()?;
    assert_eq!(error.class(), zstart_convert::ErrorClass::PullDenied, "{error}");
    assert!(gateway.calls().iter().any(|call| call.contains("/token?") && call.contains("app%3Apull")));
    Ok(())
}

#[tokio::test]
async fn gateway_fault_lasts_until_cleared() -> Result<()> {
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("etc/hello", b"hello")]).push(&registry.host(), "app:v1").await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let image = format!("{}/app:v1", gateway.host());
    gateway.fault(Method::GET, "/manifests/", Fault::Respond(StatusCode::NOT_FOUND, vec![], ""));
    let error: zstart_convert::Error =
        digest_of(&image, Credentials::Anonymous).await.unwrap_err().downcast()?;
    let zstart_convert::Error::Repository(error) = error else { panic!("{error}") };
    assert_eq!((error.kind, error.operation.access), (ErrorKind::NotFound, Access::Pull));
    gateway.clear_faults();
    assert!(digest_of(&image, Credentials::Anonymous).await.is_ok());
    Ok(())
}
