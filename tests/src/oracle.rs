//! `zstart verify`'s library as an oracle: compares what a test or benchmark converted, by code that the
//! converter doesn't use.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use zstart_core::Reference;
use zstart_verify::{
    Authorization, Digest, Endpoint, Images, Login, ReadError, RegistryImage, Report, Selector,
};

/// The lab's registries ask for no login.
struct NoLogin;

#[async_trait]
impl Login for NoLogin {
    async fn authorization(&self) -> Result<Authorization, ReadError> {
        Ok(Authorization::Anonymous)
    }
}

/// Requires that a variant unpacks to its source's bytes. Both are in the lab's registry at `host`
/// (`host:port`), also if their references name another registry.
pub async fn require_equal(host: &str, source: &Reference, variant: &Reference) -> Result<Report> {
    crate::control_plane::install_crypto();
    let (source_image, variant_image) = (image(host, source)?, image(host, variant)?);
    let images = Images { source: &source_image, variant: &variant_image };
    let report = zstart_verify::verify(images, &[]).await?;
    let differences: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    ensure!(report.is_equal(), "{variant} is not equal to {source}: {}", differences.join("; "));
    Ok(report)
}

fn image(host: &str, reference: &Reference) -> Result<RegistryImage> {
    let selector = match reference.digest() {
        Some(digest) => Selector::Digest(Digest::parse(digest.as_str()).context("no digest")?),
        None => Selector::Tag(reference.tag().context("no tag")?.to_string()),
    };
    let endpoint = Endpoint { host: host.to_owned(), plain_http: true };
    Ok(RegistryImage::new(endpoint, reference.repository().to_owned(), selector, Arc::new(NoLogin)))
}
