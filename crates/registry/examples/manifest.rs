//! Prints the platforms of an image by an anonymous pull:
//! `cargo run -p zstart-registry --example manifest -- public.ecr.aws/docker/library/busybox:1`.
#![expect(clippy::print_stdout, reason = "prints its result")]

use std::error::Error;

use futures::TryStreamExt as _;
use zstart_core::Reference;
use zstart_oci::{CONFIG_MAX, Document, ImageConfig};
use zstart_registry::auth::Credentials;
use zstart_registry::{ManifestKey, RegistryClient, RegistryOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The client uses the process's default TLS provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let reference: Reference = std::env::args().nth(1).ok_or("usage: manifest IMAGE")?.parse()?;
    let client = RegistryClient::new(RegistryOptions::default())?;
    let repository = client.repository(&reference, Credentials::Anonymous);
    let manifest = repository.manifest(ManifestKey::from(&reference)).await?;
    let platforms = match manifest.read()? {
        Document::Index(index) => index.entries.into_iter().filter_map(|entry| entry.platform).collect(),
        Document::Manifest(image) => {
            let mut content = repository.blob(image.config.digest()).await?;
            let mut config = Vec::new();
            while let Some(chunk) = content.try_next().await? {
                config.extend_from_slice(&chunk);
                if config.len() as u64 > CONFIG_MAX {
                    return Err("the config is too large".into());
                }
            }
            if !image.config.digest().matches(&config) {
                return Err("the config doesn't match its digest".into());
            }
            Vec::from_iter(ImageConfig::parse(&config)?.platform)
        }
    };
    for platform in platforms {
        println!("{platform}");
    }
    Ok(())
}
