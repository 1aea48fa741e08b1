//! The authorization of a login, for another client.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_core::Reference;
use zstart_registry::auth::{Authorization, Credentials};
use zstart_registry::{ErrorKind, RegistryClient, RegistryOptions};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};

struct AuthorizationLab {
    _registry: Registry,
    gateway: Gateway,
}

impl AuthorizationLab {
    async fn start(login: Option<TokenLogin>) -> Result<Self> {
        let registry = Registry::start().await?;
        Fixture::new().layer(&[("app", b"files")]).push(&registry.host(), "app:v1").await?;
        let gateway = Gateway::start_with(&registry.host(), login).await?;
        Ok(Self { _registry: registry, gateway })
    }

    fn client(&self) -> Result<RegistryClient> {
        zstart_tests::control_plane::install_crypto();
        let options = RegistryOptions { plain_http: vec![self.gateway.host()], ..RegistryOptions::default() };
        Ok(RegistryClient::new(options)?)
    }

    fn reference(&self, image: &str) -> Result<Reference> {
        Ok(format!("{}/{image}", self.gateway.host()).parse()?)
    }
}

fn password() -> Credentials {
    Credentials::basic("user", "right")
}

#[tokio::test]
async fn pull_authorization_reads_the_image() -> Result<()> {
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let lab = AuthorizationLab::start(Some(login)).await?;
    // Some registries refuse HEAD.
    lab.gateway.fault(
        Method::HEAD,
        "/manifests/",
        Fault::Respond(StatusCode::METHOD_NOT_ALLOWED, vec![], ""),
    );
    let found = lab.client()?.pull_authorization(&lab.reference("app:v1")?, password()).await?;
    assert_eq!((found.host.clone(), found.is_plain_http), (lab.gateway.host(), true));
    let Authorization::Bearer(token) = &found.authorization else { panic!("{found:?}") };
    assert!(!format!("{found:#?}").contains(token.as_str()), "{found:#?}");
    let url = format!("http://{}/v2/app/manifests/v1", found.host);
    let read = reqwest::Client::new().get(url).bearer_auth(token.as_str()).send().await?;
    assert_eq!(read.status().as_u16(), 200);
    Ok(())
}

#[tokio::test]
async fn pull_authorization_needs_a_readable_image() -> Result<()> {
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let lab = AuthorizationLab::start(Some(login)).await?;
    let client = lab.client()?;
    let error = client.pull_authorization(&lab.reference("app:v2")?, password()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{}", error.chain());
    let wrong = Credentials::basic("user", "wrong");
    let error = client.pull_authorization(&lab.reference("app:v1")?, wrong).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn pull_authorization_without_a_challenge_is_what_was_given() -> Result<()> {
    let lab = AuthorizationLab::start(None).await?;
    let (client, reference) = (lab.client()?, lab.reference("app:v1")?);
    let found = client.pull_authorization(&reference, Credentials::Anonymous).await?;
    assert_eq!(found.authorization, Authorization::Anonymous);
    let found = client.pull_authorization(&reference, password()).await?;
    assert!(matches!(found.authorization, Authorization::Basic(_)), "{found:?}");
    Ok(())
}
