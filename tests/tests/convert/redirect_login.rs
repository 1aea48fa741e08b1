//! Manifests and blobs that a registry redirects to another registry, which asks for a login of its own.

use anyhow::Result;
use futures::future::try_join_all;
use http::{Method, StatusCode};
use zstart_core::{Digest, Reference, Tag};
use zstart_registry::auth::Credentials;
use zstart_registry::{ErrorKind, ManifestKey, RegistryClient, RegistryError, RegistryOptions, Store};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};

use crate::conversion::Conversion;

/// A registry (`gateway`) that redirects to another one. `second` records the heads of the requests to the
/// other one, and passes them on to `other_gateway`.
struct RedirectLab {
    registry: Registry,
    gateway: Gateway,
    second: RawFaultServer,
    other_gateway: Gateway,
}

impl RedirectLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let image = Fixture::new().layer(&[("app", b"files")]);
        image.push(&registry.host(), "app:v1").await?;
        image.push(&registry.host(), "inside/app:v1").await?;
        let user = TokenLogin { username: "user".into(), password: "right".into() };
        let gateway = Gateway::start_with(&registry.host(), Some(user)).await?;
        let other_gateway = Gateway::start_with(&registry.host(), Some(TokenLogin::anonymous())).await?;
        let second = RawFaultServer::start(&other_gateway.host()).await?;
        Ok(Self { registry, gateway, second, other_gateway })
    }

    /// Redirects a path of repository `app` to repository `inside/app` of the other registry.
    fn redirect(&self, method: Method, path: &str) {
        let location = format!("http://{}/v2/inside/app/{path}", self.second.host());
        let redirect = Fault::Respond(StatusCode::TEMPORARY_REDIRECT, vec![("location", location)], "");
        self.gateway.fault_at(method, &format!("/v2/app/{path}"), redirect);
    }

    fn store(&self) -> Result<std::sync::Arc<dyn Store>> {
        zstart_tests::control_plane::install_crypto();
        let options = RegistryOptions { plain_http: vec![self.gateway.host()], ..RegistryOptions::default() };
        let reference: Reference = format!("{}/app:v1", self.gateway.host()).parse()?;
        Ok(RegistryClient::new(options)?.repository(&reference, Credentials::basic("user", "right")))
    }

    /// Requires that the other registry got its own tokens and nothing of the first one.
    fn require_no_leak(&self) {
        let heads = self.second.request_heads();
        assert!(!heads.is_empty());
        for head in heads {
            let sent: Vec<&str> = head.lines().filter(|line| line.starts_with("authorization")).collect();
            let own = format!("authorization: bearer token-{}-", self.other_gateway.host());
            assert!(sent.iter().all(|line| line.starts_with(&own)), "{head}");
        }
    }
}

async fn pull(store: &dyn Store) -> Result<(), RegistryError> {
    let tag: Tag = "v1".parse().expect("a tag");
    store.manifest(ManifestKey::Tag(&tag)).await.map(drop)
}

#[tokio::test]
async fn redirected_manifest_is_read_with_an_anonymous_token() -> Result<()> {
    let lab = RedirectLab::start().await?;
    for method in [Method::GET, Method::HEAD] {
        lab.redirect(method, "manifests/v1");
    }
    Conversion::of(&format!("{}/app:v1", lab.gateway.host())).login("user", "right").run().await?;
    lab.require_no_leak();
    let calls = lab.other_gateway.calls();
    let login = "GET /token?service=lab&scope=repository%3Ainside%2Fapp%3Apull";
    assert_eq!(calls.iter().filter(|call| *call == login).count(), 1, "{calls:#?}");
    // The first registry has its own tokens only, or it would refuse.
    assert!(lab.gateway.calls().iter().any(|call| call.starts_with("PUT /v2/app/manifests/v1-zstd-")));
    Ok(())
}

#[tokio::test]
async fn redirected_blob_shares_the_token_of_its_origin() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let store = lab.store()?;
    let tag: Tag = "v1".parse()?;
    let manifest = store.manifest(ManifestKey::Tag(&tag)).await?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.bytes)?;
    let config: Digest = serde_json::from_value(manifest["config"]["digest"].clone())?;
    lab.redirect(Method::GET, &format!("blobs/{config}"));
    drop(store.blob(&config).await?);
    lab.require_no_leak();
    let calls = lab.other_gateway.calls();
    assert!(calls.iter().any(|call| call.contains("/blobs/")), "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| call.contains("/token?")).count(), 1, "{calls:#?}");

    lab.other_gateway.revoke_tokens();
    drop(store.blob(&config).await?);
    let calls = lab.other_gateway.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/token?")).count(), 2, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn redirected_registry_that_refuses_its_token_is_asked_twice() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let token = Fault::Respond(StatusCode::OK, vec![], r#"{"token":"worthless"}"#);
    lab.other_gateway.fault(Method::GET, "/token", token);
    let error = pull(&*lab.store()?).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Denied, Some(401)), "{}", error.chain());
    let calls = lab.other_gateway.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/manifests/")).count(), 2, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn redirected_registry_that_issues_no_token_is_named() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    lab.other_gateway.fault(Method::GET, "/token", Fault::Respond(StatusCode::FORBIDDEN, vec![], ""));
    let error = pull(&*lab.store()?).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Denied, Some(403)), "{}", error.chain());
    let said = "at 127.0.0.1, to which the registry redirects its clients: token server refused: HTTP 403";
    assert!(error.chain().contains(said), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn redirected_registry_must_have_its_own_token_server() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let foreign = RawFaultServer::start(&lab.registry.host()).await?;
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://localhost:{}/token\"", foreign.port());
    let refusal = http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"");
    lab.second.respond(Method::GET, "/manifests/", RawResponse::Send(refusal));
    let error = pull(&*lab.store()?).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Denied, Some(401)), "{}", error.chain());
    assert_eq!(foreign.request_heads(), [""; 0]);
    lab.require_no_leak();
    Ok(())
}

#[tokio::test]
async fn storage_that_denies_access_is_asked_for_no_token() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let challenge = format!("Bearer realm=\"http://{}/token\"", lab.second.host());
    let denial = Fault::Respond(StatusCode::FORBIDDEN, vec![("www-authenticate", challenge)], "");
    lab.other_gateway.fault(Method::GET, "/manifests/", denial);
    let error = pull(&*lab.store()?).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Denied, Some(403)), "{}", error.chain());
    let calls = lab.other_gateway.calls();
    assert!(!calls.iter().any(|call| call.contains("/token")), "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn redirected_registry_offers_a_second_token_server() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let challenges = format!(
        "Bearer realm=\"http://localhost:1/token\", Bearer realm=\"http://{}/token\"",
        lab.second.host()
    );
    let refusal = Fault::Respond(StatusCode::UNAUTHORIZED, vec![("www-authenticate", challenges)], "");
    lab.other_gateway.fault_times(1, Method::GET, "/manifests/", refusal);
    pull(&*lab.store()?).await?;
    assert!(lab.other_gateway.all_faults_hit());
    lab.require_no_leak();
    Ok(())
}

#[tokio::test]
async fn concurrent_redirected_reads_share_one_login() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let store = lab.store()?;
    try_join_all((0..8).map(|_| pull(&*store))).await?;
    let calls = lab.other_gateway.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/token?")).count(), 1, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn read_returns_from_another_origin_without_credentials() -> Result<()> {
    let lab = RedirectLab::start().await?;
    lab.redirect(Method::GET, "manifests/v1");
    let location = format!("http://{}/v2/inside/app/manifests/v1", lab.gateway.host());
    let back = Fault::Respond(StatusCode::TEMPORARY_REDIRECT, vec![("location", location)], "");
    lab.other_gateway.fault(Method::GET, "/manifests/", back);
    // Only a token of its user opens the registry.
    let error = pull(&*lab.store()?).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.chain());
    Ok(())
}
