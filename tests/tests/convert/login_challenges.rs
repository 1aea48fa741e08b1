//! Registries that ask for a login where others don't, or in another way.

use std::sync::Arc;

use anyhow::Result;
use futures::future::{BoxFuture, try_join_all};
use http::{Method, StatusCode};
use zstart_core::{Reference, Tag};
use zstart_registry::auth::{Authorization, Credentials};
use zstart_registry::{ErrorKind, ManifestKey, RegistryClient, RegistryOptions, Store};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};

use crate::conversion::Conversion;

/// A registry that requires tokens, with an image.
struct ChallengeLab {
    registry: Registry,
    gateway: Arc<Gateway>,
}

impl ChallengeLab {
    async fn start(login: Option<TokenLogin>) -> Result<Self> {
        let registry = Registry::start().await?;
        // The layer is larger than the buffers of a connection.
        let image =
            Fixture::new().large_layer("usr/bin/app", 2 << 20).layer(&[("etc/app", b"configuration")]);
        image.push(&registry.host(), "app:v1").await?;
        let gateway = Arc::new(Gateway::start_with(&registry.host(), login).await?);
        Ok(Self { registry, gateway })
    }

    fn conversion(&self) -> Conversion {
        Conversion::of(&format!("{}/app:v1", self.gateway.host())).forced()
    }
}

fn user() -> TokenLogin {
    TokenLogin { username: "user".into(), password: "right".into() }
}

fn respond(status: StatusCode, headers: &[(&'static str, &str)]) -> Fault {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Fault::Respond(status, headers, "")
}

fn open(host: &str, credentials: Credentials) -> Result<Arc<dyn Store>> {
    zstart_tests::control_plane::install_crypto();
    let options = RegistryOptions { plain_http: vec![host.to_owned()], ..RegistryOptions::default() };
    Ok(RegistryClient::new(options)?.repository(&reference(host)?, credentials))
}

fn reference(host: &str) -> Result<Reference> {
    Ok(format!("{host}/app:v1").parse()?)
}

async fn pull(store: &dyn Store, tag: &str) -> Result<(), zstart_registry::RegistryError> {
    let tag: Tag = tag.parse().expect("a tag");
    store.manifest(ManifestKey::Tag(&tag)).await.map(drop)
}

#[tokio::test]
async fn challenge_of_the_refused_request_counts() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    for (status, headers) in [
        (StatusCode::OK, &[][..]),
        (StatusCode::FORBIDDEN, &[]),
        (StatusCode::NOT_FOUND, &[]),
        (StatusCode::METHOD_NOT_ALLOWED, &[]),
        (StatusCode::INTERNAL_SERVER_ERROR, &[]),
        (StatusCode::UNAUTHORIZED, &[("www-authenticate", "Negotiate")]),
        (StatusCode::TEMPORARY_REDIRECT, &[]),
        (StatusCode::TEMPORARY_REDIRECT, &[("location", "/v2/")]),
        (StatusCode::TEMPORARY_REDIRECT, &[("location", "http://169.254.169.254/v2/")]),
    ] {
        lab.gateway.clear_faults();
        lab.gateway.fault_at(Method::GET, "/v2/", respond(status, headers));
        let recording = lab.gateway.record();
        let made = lab.conversion().login("user", "right").run().await;
        assert!(made.is_ok(), "{status} {headers:?}: {}", made.unwrap_err().chain());
        let calls = recording.calls();
        let logins = calls.iter().filter(|call| call.contains("/token?")).count();
        // Source, target, and the target for writing.
        assert_eq!(logins, 3, "{status} {headers:?}: {calls:#?}");
        let found = lab.pull_authorization().await?;
        assert!(matches!(found, Authorization::Bearer(_)), "{status} {headers:?}: {found:?}");
    }
    Ok(())
}

impl ChallengeLab {
    async fn pull_authorization(&self) -> Result<Authorization> {
        let host = self.gateway.host();
        let options = RegistryOptions { plain_http: vec![host.clone()], ..RegistryOptions::default() };
        let client = RegistryClient::new(options)?;
        let credentials = Credentials::basic("user", "right");
        Ok(client.pull_authorization(&reference(&host)?, credentials).await?.authorization)
    }
}

#[tokio::test]
async fn anonymous_challenge_of_a_request_counts() -> Result<()> {
    let lab = ChallengeLab::start(Some(TokenLogin::anonymous())).await?;
    lab.gateway.open_base();
    lab.conversion().run().await?;
    Ok(())
}

#[tokio::test]
async fn redirected_ping_is_followed() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    lab.gateway.fault_at(
        Method::GET,
        "/v2/",
        respond(StatusCode::MOVED_PERMANENTLY, &[("location", "/v2/moved")]),
    );
    let recording = lab.gateway.record();
    pull(&*open(&lab.gateway.host(), Credentials::basic("user", "right"))?, "v1").await?;
    let calls = recording.calls();
    assert_eq!(&calls[..2], ["GET /v2/", "GET /v2/moved"]);
    assert!(calls[2].starts_with("GET /token?") && calls.len() == 4, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn ping_redirected_elsewhere_gets_no_password() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    let foreign = RawFaultServer::start(&lab.registry.host()).await?;
    let other_host = format!("http://localhost:{}", foreign.port());
    for challenge in [format!("Bearer realm=\"{other_host}/token\""), "Basic realm=\"x\"".to_owned()] {
        let challenge = format!("WWW-Authenticate: {challenge}");
        let refusal = http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"");
        foreign.respond(Method::GET, "/v2/", RawResponse::Send(refusal));
        lab.gateway.clear_faults();
        let location = format!("{other_host}/v2/");
        lab.gateway.fault_at(
            Method::GET,
            "/v2/",
            respond(StatusCode::TEMPORARY_REDIRECT, &[("location", &location)]),
        );
        pull(&*open(&lab.gateway.host(), Credentials::basic("user", "right"))?, "v1").await?;
        let heads = foreign.request_heads();
        assert!(heads.iter().all(|head| head.starts_with("get /v2/ ")), "{heads:#?}");
        assert!(!heads.is_empty() && !heads.iter().any(|head| head.contains("authorization")), "{heads:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn write_answered_by_a_basic_challenge_gets_the_password() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    lab.gateway.require_password_for_writes();
    lab.conversion().login("user", "right").run().await?;
    let error = lab.conversion().login("user", "wrong").run().await.unwrap_err();
    assert!(error.chain().contains("token server refused: HTTP 401"), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn refused_stream_has_the_new_token_next_time() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    lab.gateway.open_base();
    let gateway = Arc::clone(&lab.gateway);
    let revoke = move || -> BoxFuture<'static, ()> {
        let gateway = Arc::clone(&gateway);
        Box::pin(async move { gateway.revoke_tokens() })
    };
    lab.gateway.fault_times(1, Method::PATCH, "/blobs/uploads/", Fault::RunFirst(Arc::new(revoke)));
    let recording = lab.gateway.record();
    lab.conversion().login("user", "right").run().await?;
    assert!(lab.gateway.all_faults_hit());
    let calls = recording.calls();
    let patches = calls.iter().filter(|call| call.starts_with("PATCH ")).count();
    // The refused one and its repetition.
    assert_eq!(patches, 2, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn concurrent_refusals_share_one_login() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    lab.gateway.open_base();
    let store = open(&lab.gateway.host(), Credentials::basic("user", "right"))?;
    let recording = lab.gateway.record();
    try_join_all((0..8).map(|_| pull(&*store, "v1"))).await?;
    let calls = recording.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/token?")).count(), 1, "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| *call == "GET /v2/").count(), 1, "{calls:#?}");
    Ok(())
}

/// A registry without logins behind a server that answers with these challenges.
struct RawChallengeLab {
    _registry: Registry,
    server: RawFaultServer,
}

impl RawChallengeLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        Fixture::new().layer(&[("app", b"files")]).push(&registry.host(), "app:v1").await?;
        let server = RawFaultServer::start(&registry.host()).await?;
        Ok(Self { _registry: registry, server })
    }

    /// Refuses requests for this path with these `WWW-Authenticate` headers.
    fn refuse(&self, path: &str, challenges: &[&str]) {
        let challenges: Vec<String> =
            challenges.iter().map(|challenge| format!("WWW-Authenticate: {challenge}")).collect();
        let mut head = vec!["401 Unauthorized", "Connection: close"];
        head.extend(challenges.iter().map(String::as_str));
        self.server.respond(Method::GET, path, RawResponse::Send(http_response(&head, b"")));
    }

    fn realm(&self) -> String {
        format!("http://{}/token", self.server.host())
    }

    fn requests(&self, front: &str) -> Vec<String> {
        let heads = self.server.request_heads();
        heads.into_iter().filter(|head| head.starts_with(front)).collect()
    }
}

#[tokio::test]
async fn unreadable_challenge_gives_way_to_a_usable_one() -> Result<()> {
    for challenges in [
        &["Basic realm=/"][..],
        &["Bearer realm=\"not an address\"", "Basic"],
        &["Bearer service=x, Basic realm=\"open"],
        &["Bearer realm=\"http://localhost:1/token\"", "Basic realm=\"foreign realm, own password\""],
    ] {
        let lab = RawChallengeLab::start().await?;
        lab.refuse("/v2/ ", challenges);
        pull(&*open(&lab.server.host(), Credentials::basic("user", "secret"))?, "v1").await?;
        let reads = lab.requests("get /v2/app/");
        assert!(!reads.is_empty(), "{challenges:?}");
        assert!(
            reads.iter().all(|head| head.contains("authorization: basic ")),
            "{challenges:?}: {reads:#?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn unreadable_challenge_of_a_request_is_reported() -> Result<()> {
    let lab = RawChallengeLab::start().await?;
    lab.refuse("/manifests/", &["Bearer realm=\"not an address\""]);
    let error = pull(&*open(&lab.server.host(), Credentials::Anonymous)?, "v1").await.unwrap_err();
    assert!(error.chain().contains("WWW-Authenticate header is not readable"), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn token_that_a_challenge_led_to_is_refused_once() -> Result<()> {
    let lab = RawChallengeLab::start().await?;
    let challenge = format!(
        "Bearer realm=\"{}\",scope=\"repository:inside/app:pull,push,delete aws\",error=\"insufficient_scope\"",
        lab.realm()
    );
    lab.refuse("/manifests/", &[&challenge]);
    let token =
        http_response(&["200 OK", "Connection: close"], b"{\"token\":\"one\",\"expires_in\":\"600\"}");
    lab.server.respond(Method::GET, "/token", RawResponse::Send(token));
    let error = pull(&*open(&lab.server.host(), Credentials::Anonymous)?, "v1").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{}", error.chain());
    assert_eq!(lab.requests("get /v2/app/").len(), 2);
    let exchanges = lab.requests("get /token");
    assert_eq!(exchanges.len(), 1, "{exchanges:#?}");
    let scopes = "?scope=repository%3ainside%2fapp%3apull&scope=aws&scope=repository%3aapp%3apull http";
    assert!(exchanges[0].contains(scopes), "{exchanges:#?}");
    Ok(())
}

#[tokio::test]
async fn server_error_of_the_ping_does_not_hide_a_missing_tag() -> Result<()> {
    let lab = ChallengeLab::start(None).await?;
    lab.gateway.fault_at(Method::GET, "/v2/", respond(StatusCode::BAD_GATEWAY, &[]));
    let store = open(&lab.gateway.host(), Credentials::basic("user", "right"))?;
    pull(&*store, "v1").await?;
    let error = pull(&*store, "v2").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{}", error.chain());
    // The target's tag is missing.
    Conversion::of(&format!("{}/app:v1", lab.gateway.host())).run().await?;
    Ok(())
}

#[tokio::test]
async fn denial_after_a_login_is_no_login_error() -> Result<()> {
    let foreign = "Bearer realm=\"http://localhost:1/token\"";
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let lab = ChallengeLab::start(Some(user())).await?;
        let denial = || respond(status, &[("www-authenticate", foreign)]);
        lab.gateway.fault(Method::GET, "/manifests/", denial());
        for has_password in [false, true] {
            if has_password {
                let basic = respond(StatusCode::UNAUTHORIZED, &[("www-authenticate", "Basic realm=\"lab\"")]);
                lab.gateway.fault_at(Method::GET, "/v2/", basic);
            }
            let store = open(&lab.gateway.host(), Credentials::basic("user", "right"))?;
            let error = pull(&*store, "v1").await.unwrap_err();
            let found = (error.kind, error.status);
            assert_eq!(found, (ErrorKind::Denied, Some(status.as_u16())), "{has_password} {}", error.chain());
        }
    }
    Ok(())
}

#[tokio::test]
async fn denial_without_a_login_is_no_login_error() -> Result<()> {
    let lab = ChallengeLab::start(None).await?;
    let foreign = ("www-authenticate", "Bearer realm=\"http://localhost:1/token\"");
    lab.gateway.fault(Method::GET, "/manifests/", respond(StatusCode::FORBIDDEN, &[foreign]));
    let store = open(&lab.gateway.host(), Credentials::basic("user", "right"))?;
    let error = pull(&*store, "v1").await.unwrap_err();
    assert_eq!((error.kind, error.status), (ErrorKind::Denied, Some(403)), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn challenge_chooses_neither_service_nor_foreign_rights() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    let challenge = format!(
        "Bearer realm=\"http://{}/token\",service=\"other\",\
         scope=\"registry:catalog:* repository:secret/other:pull,push\"",
        lab.gateway.host()
    );
    let refusal = respond(StatusCode::UNAUTHORIZED, &[("www-authenticate", &challenge)]);
    lab.gateway.fault_times(1, Method::POST, "/blobs/uploads/", refusal);
    lab.conversion().login("user", "right").run().await?;
    assert!(lab.gateway.all_faults_hit());
    let calls = lab.gateway.calls();
    let logins: Vec<&str> = calls.iter().filter_map(|call| call.strip_prefix("GET /token?")).collect();
    assert!(logins.iter().all(|login| login.starts_with("service=lab&")), "{logins:#?}");
    assert!(logins.iter().any(|login| login.contains("=repository%3Asecret%2Fother%3Apull&")), "{logins:#?}");
    assert!(!logins.iter().any(|login| login.contains("catalog")), "{logins:#?}");
    Ok(())
}

#[tokio::test]
async fn ping_redirected_to_another_port_gets_no_password() -> Result<()> {
    let lab = ChallengeLab::start(Some(user())).await?;
    let foreign = RawFaultServer::start(&lab.registry.host()).await?;
    let absolute = format!("http://{}/token", foreign.host());
    for realm in ["/token", absolute.as_str()] {
        let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\"");
        let refusal = http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"");
        foreign.respond(Method::GET, "/v2/", RawResponse::Send(refusal));
        lab.gateway.clear_faults();
        let location = format!("http://{}/v2/", foreign.host());
        let redirect = respond(StatusCode::TEMPORARY_REDIRECT, &[("location", &location)]);
        lab.gateway.fault_at(Method::GET, "/v2/", redirect);
        pull(&*open(&lab.gateway.host(), Credentials::basic("user", "right"))?, "v1").await?;
        let heads = foreign.request_heads();
        assert!(!heads.is_empty() && !heads.iter().any(|head| head.contains("authorization")), "{heads:#?}");
    }
    Ok(())
}
