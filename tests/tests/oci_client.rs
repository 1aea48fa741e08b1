//! Reasons why the converter's transport isn't oci-client, each as a test against the pinned version.
//!
//! A test that fails tells good news: upstream mended the defect. docs/decisions.md lists them.

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode};
use oci_client::client::{ClientConfig, ClientProtocol, LayerDescriptor};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use zstart_core::Digest;
use zstart_oci::media_type;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};

const ACCEPT: [&str; 1] = [media_type::DOCKER_MANIFEST];

/// A registry with the image `app:v1` behind a gateway.
struct Lab {
    registry: Registry,
    gateway: Gateway,
    client: Client,
}

impl Lab {
    async fn start() -> Result<Self> {
        Self::start_with(None).await
    }

    async fn start_with(login: Option<TokenLogin>) -> Result<Self> {
        zstart_tests::control_plane::install_crypto();
        let registry = Registry::start().await?;
        Fixture::new().large_layer("usr/bin/app", 300_000).push(&registry.host(), "app:v1").await?;
        let gateway = Gateway::start_with(&registry.host(), login).await?;
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        Ok(Self { registry, gateway, client: Client::try_from(config)? })
    }

    async fn start_with_login() -> Result<Self> {
        Self::start_with(Some(TokenLogin { username: "user".into(), password: "right".into() })).await
    }

    fn image(&self) -> Reference {
        Reference::with_tag(self.gateway.host(), "app".to_owned(), "v1".to_owned())
    }

    async fn pull(&self, auth: &RegistryAuth) -> Result<Bytes, OciDistributionError> {
        Ok(self.client.pull_manifest_raw(&self.image(), auth, &ACCEPT).await?.0)
    }

    /// Uploads a blob of these pieces. Returns the requests.
    async fn push(&self, pieces: Vec<Bytes>) -> (Result<String, OciDistributionError>, Vec<String>) {
        let recording = self.gateway.record();
        let digest = Digest::sha256_of(&pieces.concat());
        let content = stream::iter(pieces.into_iter().map(Ok));
        let pushed = self.client.push_blob_stream(&self.image(), content, digest.as_str(), None).await;
        (pushed, recording.calls())
    }
}

fn password(password: &str) -> RegistryAuth {
    RegistryAuth::Basic("user".to_owned(), password.to_owned())
}

fn count(calls: &[String], start: &str) -> usize {
    calls.iter().filter(|call| call.starts_with(start)).count()
}

/// Message of a test that fails because upstream mended the defect.
fn mended(property: &str) -> String {
    format!("oci-client now {property}: see docs/decisions.md")
}

#[tokio::test]
async fn chunk_answered_201_ends_the_upload() -> Result<()> {
    let lab = Lab::start().await?;
    let location = format!("http://{}/v2/app/blobs/uploads/1", lab.gateway.host());
    let response = Fault::Respond(StatusCode::CREATED, vec![("Location", location)], "");
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", response);
    let (pushed, _) = lab.push(vec![Bytes::from_static(b"content")]).await;
    let refused = matches!(pushed, Err(OciDistributionError::SpecViolationError(_)));
    assert!(refused, "{}", mended("accepts 201 for a chunk, as ECR answers"));
    Ok(())
}

#[tokio::test]
async fn chunks_are_smaller_than_ecr_accepts() -> Result<()> {
    let lab = Lab::start().await?;
    let (pushed, calls) = lab.push(vec![vec![7; 10 << 20].into()]).await;
    pushed?;
    assert_eq!(count(&calls, "PATCH "), 3, "{}", mended("sends chunks of more than 4 MiB"));
    Ok(())
}

#[tokio::test]
async fn every_piece_of_a_stream_is_a_request() -> Result<()> {
    let lab = Lab::start().await?;
    let (pushed, calls) = lab.push(vec![Bytes::from_static(b"piece"); 20]).await;
    pushed?;
    assert_eq!(count(&calls, "PATCH "), 20, "{}", mended("joins the pieces of a stream"));
    Ok(())
}

#[tokio::test]
async fn push_by_digest_without_location_panics() -> Result<()> {
    let lab = Lab::start().await?;
    lab.gateway.fault(Method::PUT, "/manifests/", Fault::Respond(StatusCode::CREATED, vec![], ""));
    let digest = Digest::sha256_of(b"{}").to_string();
    let image = Reference::with_digest(lab.gateway.host(), "app".to_owned(), digest);
    let client = lab.client.clone();
    let push = tokio::spawn(async move {
        client
            .push_manifest_raw(&image, b"{}".to_vec(), HeaderValue::from_static(media_type::OCI_MANIFEST))
            .await
    });
    let is_panic = push.await.is_err_and(|error| error.is_panic());
    assert!(is_panic, "{}", mended("pushes by digest without a Location"));
    Ok(())
}

#[tokio::test]
async fn refused_login_becomes_an_anonymous_request() -> Result<()> {
    let lab = Lab::start_with_login().await?;
    let recording = lab.gateway.record();
    let error = lab.pull(&password("wrong")).await.err().context("a wrong password was accepted")?;
    let calls = recording.calls();
    let is_hidden = !matches!(error, OciDistributionError::AuthenticationFailure(_));
    assert!(
        is_hidden && count(&calls, "GET /v2/app/manifests/") == 1,
        "{}: {error}, {calls:?}",
        mended("reports a refused login")
    );
    Ok(())
}

#[tokio::test]
async fn first_credentials_are_kept_for_good() -> Result<()> {
    let lab = Lab::start_with_login().await?;
    assert!(lab.pull(&password("wrong")).await.is_err());
    let second = lab.pull(&password("right")).await;
    assert!(second.is_err(), "{}", mended("replaces credentials"));
    Ok(())
}

#[tokio::test]
async fn revoked_token_is_not_renewed() -> Result<()> {
    let lab = Lab::start_with_login().await?;
    lab.pull(&password("right")).await?;
    lab.gateway.revoke_tokens();
    let recording = lab.gateway.record();
    let second = lab.pull(&password("right")).await;
    let is_kept = second.is_err() && count(&recording.calls(), "GET /token") == 0;
    assert!(is_kept, "{}", mended("logs in again after 401"));
    Ok(())
}

#[tokio::test]
async fn rate_limit_is_not_waited_for() -> Result<()> {
    let lab = Lab::start().await?;
    let response = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, vec![("Retry-After", "0".to_owned())], "");
    lab.gateway.fault_times(1, Method::GET, "/manifests/", response);
    let pulled = lab.pull(&RegistryAuth::Anonymous).await;
    assert!(pulled.is_err(), "{}", mended("retries after 429"));
    Ok(())
}

#[tokio::test]
async fn cut_download_is_not_continued() -> Result<()> {
    let lab = Lab::start().await?;
    let manifest: serde_json::Value = serde_json::from_slice(&lab.pull(&RegistryAuth::Anonymous).await?)?;
    let layer = manifest["layers"][0]["digest"].as_str().context("digest")?;
    lab.gateway.fault_times(1, Method::GET, "/blobs/", Fault::CutResponseAfter(50_000));
    let is_cut = match lab.client.pull_blob_stream(&lab.image(), layer).await {
        Ok(blob) => blob.stream.try_collect::<Vec<_>>().await.is_err(),
        // The connection may end before the client reads the head.
        Err(_) => true,
    };
    assert!(is_cut, "{}", mended("continues a download that was cut"));
    Ok(())
}

#[tokio::test]
async fn password_follows_the_realm_to_any_host() -> Result<()> {
    let lab = Lab::start().await?;
    let other = RawFaultServer::start(&lab.registry.host()).await?;
    let token = http_response(&["200 OK", "Content-Length: 13"], br#"{"token":"x"}"#);
    other.respond(Method::GET, "/token", RawResponse::Send(token));
    let challenge = format!("Bearer realm=\"http://localhost:{}/token\"", other.port());
    let response = Fault::Respond(StatusCode::UNAUTHORIZED, vec![("WWW-Authenticate", challenge)], "");
    lab.gateway.fault_times(1, Method::GET, "/v2/", response);
    // The token of the other host is of no use; its loss is.
    let _ = lab.pull(&password("right")).await;
    let is_sent = other.request_heads().iter().any(|head| head.contains("\r\nauthorization: basic "));
    assert!(is_sent, "{}", mended("keeps a password from token servers on other hosts"));
    Ok(())
}

#[tokio::test]
async fn layer_urls_are_followed_to_any_host() -> Result<()> {
    let lab = Lab::start().await?;
    let other = RawFaultServer::start(&lab.registry.host()).await?;
    let digest = Digest::sha256_of(b"absent");
    let urls = Some(vec![format!("http://localhost:{}/elsewhere", other.port())]);
    let layer = LayerDescriptor { digest: digest.as_str(), urls: &urls };
    // The other host has no such file.
    let _ = lab.client.pull_blob_stream(&lab.image(), &layer).await;
    let is_followed = other.request_heads().iter().any(|head| head.starts_with("get /elsewhere"));
    assert!(is_followed, "{}", mended("ignores the URLs of foreign layers"));
    Ok(())
}

#[tokio::test]
async fn manifest_of_any_size_is_kept_in_memory() -> Result<()> {
    let lab = Lab::start().await?;
    let server = RawFaultServer::start(&lab.registry.host()).await?;
    let size = 32 << 20;
    let head = format!("Content-Length: {size}");
    let response = http_response(&["200 OK", &head], &vec![b' '; size]);
    server.respond(Method::GET, "/manifests/", RawResponse::Send(response));
    let image = Reference::with_tag(server.host(), "app".to_owned(), "v1".to_owned());
    let pulled = lab.client.pull_manifest_raw(&image, &RegistryAuth::Anonymous, &ACCEPT).await;
    let is_whole = pulled.is_ok_and(|(manifest, _)| manifest.len() == size);
    assert!(is_whole, "{}", mended("limits the size of a manifest"));
    Ok(())
}

#[tokio::test]
async fn tag_list_ends_with_its_first_page() -> Result<()> {
    let lab = Lab::start().await?;
    let next = format!("<http://{}/v2/app/tags/list?last=v1>; rel=\"next\"", lab.gateway.host());
    let page = Fault::Respond(StatusCode::OK, vec![("Link", next)], r#"{"name":"app","tags":["v1"]}"#);
    lab.gateway.fault_times(1, Method::GET, "/tags/list", page);
    let recording = lab.gateway.record();
    let tags = lab.client.list_tags(&lab.image(), &RegistryAuth::Anonymous, None, None).await?;
    let is_first = tags.tags == ["v1"] && count(&recording.calls(), "GET /v2/app/tags/list") == 1;
    assert!(is_first, "{}", mended("follows Link in tag lists"));
    Ok(())
}
