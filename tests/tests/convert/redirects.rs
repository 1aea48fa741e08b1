//! Registries that redirect readers and writers to separate storage.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::Router;
use axum::extract::{Request, State};
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use tokio::task::JoinHandle;
use zstart_convert::ErrorClass;
use zstart_core::sync::lock;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};

use crate::conversion::Conversion;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

/// A host other than the registry's.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A storage that serves one blob to every client and records each request.
struct Storage {
    address: String,
    /// For each request, whether it had credentials.
    with_credentials: Arc<Mutex<Vec<bool>>>,
    server: JoinHandle<()>,
}

type BlobAndLog = (Vec<u8>, Arc<Mutex<Vec<bool>>>);

impl Storage {
    async fn start(blob: Vec<u8>) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((HOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let with_credentials = Arc::default();
        let shared: BlobAndLog = (blob, Arc::clone(&with_credentials));
        let router = Router::new().fallback(serve).with_state(shared);
        let server = tokio::spawn(async move {
            // The server ends with the task, so its result is dropped.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, with_credentials, server })
    }

    fn requests(&self) -> Vec<bool> {
        lock(&self.with_credentials).clone()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(State((blob, seen)): State<BlobAndLog>, request: Request) -> Vec<u8> {
    let credentials = request.headers().contains_key(AUTHORIZATION);
    lock(&seen).push(credentials);
    blob
}

#[tokio::test]
async fn redirected_blob_is_fetched_without_credentials() -> Result<()> {
    let registry = Registry::start().await?;
    let image = Fixture::new().large_layer("usr/bin/app", 200_000);
    image.push(&registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&registry, "app");
    let source = stored.manifest("v1").await?.json;
    let layer = &source["layers"][0];
    let storage = Storage::start(stored.blob(layer).await?).await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    let elsewhere = vec![("location", format!("http://{}/bucket/blob?signature=hidden", storage.address))];
    let redirect = Fault::Respond(StatusCode::TEMPORARY_REDIRECT, elsewhere, "");
    gateway.fault(Method::GET, text(&layer["digest"])?, redirect);

    let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
    let made = conversion.run().await?;
    stored.require_same_files(&stored.manifest(made.tag.as_str()).await?.json, &source).await?;
    assert_eq!(storage.requests(), [false]);

    // The error names the host of the missing storage, without the signature in its address.
    drop(storage);
    let error = conversion.forced().run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable, "{}", error.chain());
    for text in [&*gateway.host(), &HOST.to_string()] {
        assert!(error.chain().contains(text), "{text}: {}", error.chain());
    }
    assert!(!error.chain().contains("hidden"), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn redirect_loop_ends_after_five_redirects() -> Result<()> {
    let registry = Registry::start().await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let itself = vec![("location", "/v2/app/manifests/v1".to_owned())];
    gateway.fault(Method::GET, "/manifests/", Fault::Respond(StatusCode::TEMPORARY_REDIRECT, itself, ""));
    let error = Conversion::of(&format!("{}/app:v1", gateway.host())).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Other);
    assert!(error.chain().contains("more than 5 redirects"), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn manifest_over_4_mib_is_rejected() -> Result<()> {
    let registry = Registry::start().await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let endless: &'static str = " ".repeat(5 << 20).leak();
    gateway.fault(Method::GET, "/manifests/", Fault::Respond(StatusCode::OK, vec![], endless));
    let error = Conversion::of(&format!("{}/app:v1", gateway.host())).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Other);
    assert!(error.chain().contains("exceeds the limit of 4194304 bytes"), "{}", error.chain());
    Ok(())
}
