//! `zstart inspect`.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_core::{Digest, units};
use zstart_tests::images::{Compression, Fixture, Index};
use zstart_tests::registry::Registry;

use crate::command::Zstart;
use crate::layout::{Layout, layer_bytes};

fn image() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 300_000)
        .layer_as(Compression::Plain, &[("etc/app", b"configuration")])
}

/// Lines of `inspect`, one per layer.
fn layer_lines(manifest: &Value, compressions: [&str; 2]) -> Result<String> {
    let mut lines = Vec::new();
    for (layer, compression) in manifest["layers"].as_array().context("layers")?.iter().zip(compressions) {
        let digest: Digest = layer["digest"].as_str().context("digest")?.parse()?;
        let size = units::size(layer["size"].as_u64().context("size")?);
        let made_of = &layer["annotations"]["dev.zstart.layer.source.digest"];
        let made_of = match made_of.as_str() {
            Some(made_of) => format!("  converted from {}", made_of.parse::<Digest>()?.short()),
            None => String::new(),
        };
        lines.push(format!("    {}  {compression:<5} {size:>9}{made_of}\n", digest.short()));
    }
    Ok(lines.concat())
}

#[tokio::test]
async fn variant_in_a_folder_is_compared_with_its_source() -> Result<()> {
    let zstart = Zstart::find()?;
    let prepared = image().prepare()?;
    prepared.write(&zstart.folder().join("images"), "v1").await?;
    let digest = prepared.digest;
    zstart.print(&["convert", &zstart.oci("images:v1"), &zstart.oci("images:fast")]).await?;
    let layout = Layout::new(zstart.folder(), "images");
    let (source, variant) = (layout.manifest("v1")?, layout.manifest("fast")?);
    let (from, to) = (layer_bytes(&source), layer_bytes(&variant));

    let reference = zstart.oci("images:v1");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    assert_eq!(
        zstart.print(&["inspect", &reference]).await?,
        format!(
            "{reference}\n  digest           {digest}\n  type             {docker}\n  variant          no\n  \
             linux/amd64      {digest}\n{}    2 layers, {}\n",
            layer_lines(&source, ["gzip", "none"])?,
            units::size(from)
        )
    );

    let (reference, fast) = (zstart.oci("images:fast"), layout.digest("fast")?);
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let settings = variant["annotations"]["dev.zstart.settings"].as_str().context("settings")?;
    assert_eq!(
        zstart.print(&["inspect", &reference]).await?,
        format!(
            "{reference}\n  digest           {fast}\n  type             {oci}\n  \
             variant of       {digest} ({settings})\n  linux/amd64      {fast}\n{}    \
             2 layers, {}; variant of {digest}, {} → {} ({} smaller)\n",
            layer_lines(&variant, ["zstd", "zstd"])?,
            units::size(to),
            units::size(from),
            units::size(to),
            units::saving(from, to)
        )
    );
    Ok(())
}

#[tokio::test]
async fn index_is_shown_platform_by_platform() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let arm = image().platform("linux", "arm64");
    let index = Index::new().image(&image())?.image(&arm)?.prepare()?;
    let digest = index.push(&registry.host(), "app:v1").await?;
    let made = zstart.json(&["convert", &format!("{}/app:v1", registry.host())]).await?;
    let variant = made["variant"].as_str().context("variant")?;
    let shown = zstart.json(&["inspect", variant]).await?;
    assert_eq!(shown["reference"], variant);
    assert_eq!((&shown["digest"], &shown["variantOf"]), (&made["variantDigest"], &json!(digest)));
    let platforms = [(image(), "linux/amd64"), (arm, "linux/arm64")];
    for (index, (source, platform)) in platforms.into_iter().enumerate() {
        let manifest = &shown["manifests"][index];
        let (bytes, before) =
            (&made["platforms"][index]["variantBytes"], &made["platforms"][index]["sourceBytes"]);
        assert_eq!((&manifest["platform"], &manifest["bytes"]), (&json!(platform), bytes));
        assert_eq!(manifest["variantOf"], json!({"digest": source.prepare()?.digest, "bytes": before}));
        assert_eq!(manifest["layers"][0]["compression"], "zstd");
        assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(2));
    }

    let shown = zstart.json(&["inspect", &format!("{}/app@{digest}", registry.host())]).await?;
    assert_eq!((&shown["digest"], shown.get("variantOf")), (&json!(digest), None));
    assert_eq!(shown["manifests"][1]["layers"][0]["compression"], "gzip");
    assert_eq!(shown["manifests"][1]["layers"][1]["compression"], "none");
    Ok(())
}

#[tokio::test]
async fn variant_without_its_source_is_reported() -> Result<()> {
    let zstart = Zstart::find()?;
    image().prepare()?.write(&zstart.folder().join("in"), "v1").await?;
    zstart.print(&["convert", &zstart.oci("in:v1"), &zstart.oci("out:v1")]).await?;
    // The only image of a folder needs no tag.
    let said = zstart.print(&["inspect", &zstart.oci("out")]).await?;
    let digest = image().prepare()?.digest;
    let missing = format!("; variant of {digest}, which is not in this repository");
    assert!(said.trim_end().ends_with(&missing), "{said}");
    Ok(())
}

#[tokio::test]
async fn missing_index_entry_is_reported_and_the_rest_shown() -> Result<()> {
    let zstart = Zstart::find()?;
    let other = Fixture::new().platform("linux", "arm64").layer(&[("etc/app", b"arm64")]);
    let missing = other.prepare()?.digest;
    let index = Index::new().image(&image())?.image(&other)?;
    index.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    std::fs::remove_file(zstart.folder().join("images/blobs/sha256").join(missing.hex()))?;
    let shown = zstart.print(&["inspect", &zstart.oci("images:v1")]).await?;
    assert!(shown.contains("linux/amd64") && shown.contains("2 layers"), "{shown}");
    assert!(shown.contains(&format!("linux/arm64      {missing}\n    not in this repository")), "{shown}");
    Ok(())
}

#[tokio::test]
async fn control_characters_of_an_image_are_replaced() -> Result<()> {
    let zstart = Zstart::find()?;
    let layer = json!({"mediaType": "text/\u{1b}[2Jplain", "digest": Digest::sha256_of(b"x"), "size": 1});
    let image = image().members(json!({"layers": [layer]}));
    image.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let shown = zstart.print(&["inspect", &zstart.oci("images:v1")]).await?;
    assert!(shown.contains("text/\u{fffd}[2Jplain"), "{shown:?}");
    Ok(())
}
