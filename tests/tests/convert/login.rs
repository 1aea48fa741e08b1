//! Exchange of a password for a token, and the hosts that receive the password.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;
use http::{Method, StatusCode};
use zstart_convert::ErrorClass;
use zstart_registry::ManifestKey;
use zstart_registry::auth::{
    CredentialProvider, Credentials, ExpiringCredentials, Password, ProviderError, SharedProvider,
};
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};

use crate::conversion::Conversion;

/// A registry that requires tokens, with an image.
struct TokenLab {
    _registry: Registry,
    gateway: Arc<Gateway>,
}

impl TokenLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let image =
            Fixture::new().large_layer("usr/bin/app", 100_000).layer(&[("etc/app", b"configuration")]);
        image.push(&registry.host(), "app:v1").await?;
        let login = TokenLogin { username: "user".into(), password: "right".into() };
        let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
        Ok(Self { _registry: registry, gateway: Arc::new(gateway) })
    }

    fn conversion(&self) -> Conversion {
        Conversion::of(&format!("{}/app:v1", self.gateway.host())).login("user", "right")
    }
}

#[tokio::test]
async fn login_outage_is_not_taken_for_a_wrong_password() -> Result<()> {
    let lab = TokenLab::start().await?;
    let unavailable = || Fault::Respond(StatusCode::SERVICE_UNAVAILABLE, vec![], "");
    let pause = vec![("retry-after", "77".to_owned())];
    let patience = |status| Fault::Respond(status, pause.clone(), "");
    for path in ["/v2/", "/token"] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::GET, path, unavailable());
        let error = lab.conversion().run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Unavailable, "{path}: {}", error.chain());
        // A server error of `/v2/` alone doesn't decide: the error is that of the image's own request.
        assert!(path == "/v2/" || error.chain().contains("log in"), "{path}: {}", error.chain());

        for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
            lab.gateway.clear_faults();
            lab.gateway.fault(Method::GET, path, patience(status));
            let error = lab.conversion().run().await.unwrap_err();
            let ErrorClass::RateLimited { retry_after } = error.class() else { panic!("{}", error.chain()) };
            assert_eq!(retry_after.map(|pause| pause.as_secs()), Some(77), "{path}");
        }

        lab.gateway.clear_faults();
        lab.gateway.fault_times(1, Method::GET, path, unavailable());
        lab.conversion().forced().run().await?;
        assert!(lab.gateway.all_faults_hit(), "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn tag_lookup_honours_retry_after_of_the_token_server() -> Result<()> {
    let lab = TokenLab::start().await?;
    zstart_tests::control_plane::install_crypto();
    let options = RegistryOptions { plain_http: vec![lab.gateway.host()], ..RegistryOptions::default() };
    let name = format!("{}/app:v1", lab.gateway.host()).parse()?;
    let client = RegistryClient::new(options)?;
    for status in [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE] {
        lab.gateway.clear_faults();
        let patience = Fault::Respond(status, vec![("retry-after", "1".to_owned())], "");
        lab.gateway.fault_times(2, Method::GET, "/token", patience);
        let repository = client.repository(&name, Credentials::basic("user", "right"));
        repository.tag_digest(&"v1".parse()?).await?;
        assert!(lab.gateway.all_faults_hit(), "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn revoked_token_is_renewed() -> Result<()> {
    let lab = TokenLab::start().await?;
    let gateway = Arc::clone(&lab.gateway);
    let revoke = move || -> futures::future::BoxFuture<'static, ()> {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move { gateway.revoke_tokens() })
    };
    // None of these is the first request with its token.
    for (method, part, spared) in [
        (Method::GET, "/blobs/sha256", 0),
        (Method::HEAD, "/manifests/", 0),
        (Method::HEAD, "/blobs/", 0),
        (Method::POST, "/blobs/uploads/", 1),
        (Method::PUT, "/blobs/uploads/", 0),
        (Method::PUT, "/manifests/", 0),
    ] {
        lab.gateway.clear_faults();
        lab.gateway.fault_times(spared, method.clone(), part, Fault::PassThrough);
        lab.gateway.fault_times(1, method.clone(), part, Fault::RunFirst(Arc::new(revoke.clone())));
        lab.conversion().over("stable").run().await?;
        assert!(lab.gateway.all_faults_hit(), "{method} {part}");
    }
    Ok(())
}

#[tokio::test]
async fn password_is_not_sent_to_a_foreign_token_server() -> Result<()> {
    let lab = TokenLab::start().await?;
    let foreign = Gateway::start(&lab.gateway.host()).await?;
    let realm = foreign.host().replace("127.0.0.1", "localhost");
    let challenge = format!("Bearer realm=\"http://{realm}/token\",service=\"lab\"");
    let points_elsewhere =
        Fault::Respond(StatusCode::UNAUTHORIZED, vec![("www-authenticate", challenge)], "");
    lab.gateway.fault(Method::GET, "/v2/", points_elsewhere);
    let error = lab.conversion().run().await.unwrap_err();
    assert!(error.chain().contains("sends logins to localhost"), "{}", error.chain());
    assert_eq!(foreign.calls(), [""; 0], "the foreign host gets no request");
    Ok(())
}

#[tokio::test]
async fn listed_foreign_token_server_gets_the_password() -> Result<()> {
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("app", b"files")]).push(&registry.host(), "app:v1").await?;
    let (server, other_host) =
        (RawFaultServer::start(&registry.host()).await?, RawFaultServer::start(&registry.host()).await?);
    let challenge =
        format!("WWW-Authenticate: Bearer realm=\"http://localhost:{}/token\"", other_host.port());
    server.respond(
        Method::GET,
        "/v2/ ",
        RawResponse::Send(http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"")),
    );
    let token = http_response(&["200 OK", "Connection: close"], b"{\"token\":\"one\"}");
    other_host.respond(Method::GET, "/token", RawResponse::Send(token));
    let conversion = Conversion::of(&format!("{}/app:v1", server.host())).login("user", "secret");
    let error = conversion.run().await.unwrap_err();
    assert!(error.chain().contains("nothing was sent to that host"), "{}", error.chain());
    assert_eq!(other_host.request_heads(), [""; 0]);

    conversion.token_server("localhost").run().await?;
    assert!(other_host.request_heads().iter().all(|head| head.contains("authorization: basic ")));
    assert!(server.request_heads().iter().any(|head| head.contains("authorization: bearer one")));
    Ok(())
}

#[tokio::test]
async fn malformed_token_response_is_reported() -> Result<()> {
    let lab = TokenLab::start().await?;
    let endless: &'static str = Box::leak("x".repeat(1 << 20).into_boxed_str());
    for (answer, said) in [
        ("<html>", "not what the specification says"),
        ("{}", "has no token"),
        (r#"{"token":""}"#, "has no token"),
        (endless, "exceeds the limit"),
    ] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::GET, "/token", Fault::Respond(StatusCode::OK, vec![], answer));
        let error = lab.conversion().run().await.unwrap_err();
        assert!(error.chain().contains(said), "{}", error.chain());
    }
    Ok(())
}

/// Returns the first password, then one that others use already, then new ones.
#[derive(Debug)]
struct SharedCredentials;

#[async_trait]
impl CredentialProvider for SharedCredentials {
    async fn credentials(
        &self,
        refused: Option<&Password>,
    ) -> Result<Option<ExpiringCredentials>, ProviderError> {
        let number = refused.map_or(0, |refused| refused.password.len());
        let password = Password { username: "AWS".to_owned(), password: "x".repeat(number + 1) };
        let expires_at = Instant::now() + Duration::from_mins(1);
        Ok(Some(ExpiringCredentials { password, expires_at, is_new: number != 1 }))
    }
}

#[tokio::test]
async fn expired_shared_credentials_are_renewed_twice() -> Result<()> {
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("etc/app", b"configuration")]).push(&registry.host(), "app:v1").await?;
    let gateway = Gateway::start(&registry.host()).await?;
    zstart_tests::control_plane::install_crypto();
    let options = RegistryOptions { plain_http: vec![gateway.host()], ..RegistryOptions::default() };
    let name = format!("{}/app:v1", gateway.host()).parse()?;
    let credentials = Credentials::Provider(SharedProvider(Arc::new(SharedCredentials)));
    let repository = RegistryClient::new(options)?.repository(&name, credentials);
    let tag = "v1".parse()?;

    let digest = repository.tag_digest(&tag).await?;
    let expired = || Fault::Respond(StatusCode::FORBIDDEN, vec![], "Your authorization token has expired.");
    gateway.fault_times(2, Method::GET, "/manifests/", expired());
    assert_eq!(repository.manifest(ManifestKey::Tag(&tag)).await?.digest, digest);
    assert!(gateway.all_faults_hit());

    // The refusal of a password that was just issued is final.
    gateway.fault_times(4, Method::GET, "/manifests/", expired());
    let error = repository.manifest(ManifestKey::Tag(&tag)).await.unwrap_err();
    assert!(error.chain().contains("HTTP 403"), "{}", error.chain());
    let asked = gateway.calls().iter().filter(|call| call.contains("GET /v2/app/manifests/")).count();
    assert_eq!(asked, 3 + 2, "{:#?}", gateway.calls());
    Ok(())
}
