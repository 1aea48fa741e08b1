//! Exchange of an identity token, as `az acr login` stores one, for tokens of repositories.

use anyhow::Result;
use http::Method;
use zstart_convert::ErrorClass;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};

use crate::conversion::Conversion;

const TOKEN: &str = "very-secret";

struct IdentityLab {
    _registry: Registry,
    server: RawFaultServer,
}

impl IdentityLab {
    /// A registry that answers `/v2/` with this challenge.
    async fn start(challenge: impl FnOnce(&RawFaultServer) -> String) -> Result<Self> {
        let registry = Registry::start().await?;
        Fixture::new().layer(&[("app", b"files")]).push(&registry.host(), "app:v1").await?;
        let server = RawFaultServer::start(&registry.host()).await?;
        let challenge = format!("WWW-Authenticate: {}", challenge(&server));
        let refusal = http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"");
        server.respond(Method::GET, "/v2/ ", RawResponse::Send(refusal));
        Ok(Self { _registry: registry, server })
    }

    fn conversion(&self) -> Conversion {
        Conversion::of(&format!("{}/app:v1", self.server.host())).identity_token(TOKEN)
    }
}

fn answer(status: &str, body: &str) -> RawResponse {
    RawResponse::Send(http_response(&[status, "Connection: close"], body.as_bytes()))
}

#[tokio::test]
async fn identity_token_is_posted_to_the_token_server_only() -> Result<()> {
    let lab = IdentityLab::start(|server| {
        format!("Bearer realm=\"http://{}/token\",service=\"lab\"", server.host())
    })
    .await?;
    lab.server.respond(Method::POST, "/token ", answer("200 OK", r#"{"access_token":"one"}"#));
    lab.conversion().run().await?;
    let (exchanges, others): (Vec<_>, Vec<_>) =
        lab.server.request_heads().into_iter().partition(|head| head.contains("/token"));
    // One token to read the source, one to read the target, one to write.
    assert_eq!(exchanges.len(), 3, "{exchanges:#?}");
    for head in &exchanges {
        assert!(head.starts_with("post /token ") && !head.contains("authorization"), "{head}");
        assert!(head.contains("content-type: application/x-www-form-urlencoded"), "{head}");
    }
    assert!(others.iter().any(|head| head.contains("authorization: bearer one")), "{others:#?}");
    assert!(!others.iter().any(|head| head.contains(TOKEN)), "{others:#?}");
    Ok(())
}

#[tokio::test]
async fn identity_token_is_not_sent_to_a_foreign_token_server() -> Result<()> {
    let foreign = RawFaultServer::start("127.0.0.1:1").await?;
    let port = foreign.port();
    let lab = IdentityLab::start(|_| format!("Bearer realm=\"http://localhost:{port}/token\"")).await?;
    let error = lab.conversion().run().await.unwrap_err();
    assert!(error.chain().contains("nothing was sent to that host"), "{}", error.chain());
    assert_eq!(foreign.request_heads(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn identity_token_for_a_basic_registry_is_explained() -> Result<()> {
    let lab = IdentityLab::start(|_| "Basic realm=\"lab\"".to_owned()).await?;
    let error = lab.conversion().run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    assert!(error.chain().contains("log in with a user name and a password"), "{}", error.chain());
    assert!(!lab.server.request_heads().iter().any(|head| head.contains("authorization")));
    Ok(())
}

#[tokio::test]
async fn refused_identity_token_is_pull_denied() -> Result<()> {
    let lab = IdentityLab::start(|server| format!("Bearer realm=\"http://{}/token\"", server.host())).await?;
    lab.server.respond(Method::POST, "/token ", answer("401 Unauthorized", r#"{"error":"invalid_grant"}"#));
    let error = lab.conversion().run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    let chain = error.chain();
    assert!(chain.contains("token server refused: HTTP 401") && !chain.contains(TOKEN), "{chain}");
    Ok(())
}
