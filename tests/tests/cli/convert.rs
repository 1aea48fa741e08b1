//! `zstart convert`.

use anyhow::{Context as _, Result};
use serde_json::json;
use zstart_core::{Digest, units};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::Registry;

use crate::command::Zstart;
use crate::layout::{Layout, layer_bytes};

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 300_000).layer(&[("etc/app", b"configuration")])
}

async fn with_image(name: &str, tag: &str) -> Result<(Zstart, Digest)> {
    let zstart = Zstart::find()?;
    let image = image().prepare()?;
    image.write(&zstart.folder().join(name), tag).await?;
    Ok((zstart, image.digest))
}

#[tokio::test]
async fn folder_conversion_prints_platforms_and_result() -> Result<()> {
    let (zstart, digest) = with_image("source", "v1").await?;
    let (source, target) = (zstart.oci("source:v1"), zstart.oci("target:v1-zstd"));
    let ended = zstart.run(&["convert", &source, &target]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");

    let (before, after) = (Layout::new(zstart.folder(), "source"), Layout::new(zstart.folder(), "target"));
    let (original, variant) = (before.manifest("v1")?, after.manifest("v1-zstd")?);
    after.require_zstd_layers(&variant)?;
    assert_eq!((before.digest("v1")?, before.tags()?), (digest.to_string(), vec!["v1".to_owned()]));

    let (from, to) = (layer_bytes(&original), layer_bytes(&variant));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [platform, made] = lines[..] else { panic!("{}", ended.stdout) };
    let sizes = format!("{} → {}  ({} smaller)", units::size(from), units::size(to), units::saving(from, to));
    assert_eq!(platform, format!("linux/amd64        2 layers  {sizes}"));
    let took = made.strip_prefix("converted and verified in ").context("took")?;
    let (took, name) = took.split_once(": ").context("name")?;
    assert!(took.ends_with('s') && took.starts_with(|digit: char| digit.is_ascii_digit()), "{took}");
    assert_eq!(name, format!("{target}@{}", after.digest("v1-zstd")?));

    let progress: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(progress.len(), 2, "one line a layer: {}", ended.stderr);
    for layer in original["layers"].as_array().context("layers")? {
        let digest: Digest = layer["digest"].as_str().context("digest")?.parse()?;
        let size = units::size(layer["size"].as_u64().context("size")?);
        let start = format!("layer {}: {size} → ", digest.short());
        assert!(progress.iter().any(|line| line.starts_with(&start)), "{start}: {}", ended.stderr);
    }

    let again = zstart.print(&["convert", &source, &target]).await?;
    assert_eq!(again.lines().last(), Some(&*format!("already exists: {name}")));
    assert_eq!(again.lines().next(), Some(platform));
    Ok(())
}

#[tokio::test]
async fn json_reports_the_variant_in_the_source_folder() -> Result<()> {
    let (zstart, digest) = with_image("images", "v1").await?;
    let layout = Layout::new(zstart.folder(), "images");
    let source = zstart.oci("images:v1");
    let ended = zstart.run(&["convert", &source, "--json"]).await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "JSON comes alone");
    let mut made: serde_json::Value = serde_json::from_str(&ended.stdout)?;
    let tags = layout.tags()?;
    let [_, tag] = &tags[..] else { panic!("{tags:?}") };
    assert!(tag.starts_with(&format!("v1-zstd-{}-", digest.short())), "{tag}");
    let variant = layout.manifest(tag)?;
    assert!(made["milliseconds"].take().is_u64(), "{made:#}");
    assert_eq!(
        made,
        json!({
            "action": "converted",
            "source": source,
            "sourceDigest": digest,
            "variant": format!("{}:{tag}", zstart.oci("images")),
            "variantDigest": layout.digest(tag)?,
            "settings": variant["annotations"]["dev.zstart.settings"],
            "milliseconds": null,
            "platforms": [{
                "platform": "linux/amd64",
                "layers": 2,
                "layersToConvert": 2,
                "sourceBytes": layer_bytes(&layout.manifest("v1")?),
                "variantBytes": layer_bytes(&variant),
            }],
            "layersMadeBefore": 0,
            "unchanged": [],
        })
    );
    assert_eq!(zstart.json(&["convert", &source]).await?["action"], "reused");
    Ok(())
}

#[tokio::test]
async fn dry_run_prints_the_plan_and_writes_nothing() -> Result<()> {
    let (zstart, digest) = with_image("source", "v1").await?;
    let (source, target) = (zstart.oci("source:v1"), zstart.oci("target"));
    let said = zstart.print(&["convert", &source, &target, "--dry-run"]).await?;
    let original = Layout::new(zstart.folder(), "source").manifest("v1")?;
    let size = units::size(layer_bytes(&original));
    assert_eq!(
        said,
        format!(
            "linux/amd64        2 layers  {size}, 2 to convert\nwould create {target}:v1-zstd-{}-…\n",
            digest.short()
        )
    );
    let said = zstart.json(&["convert", &source, &target, "--dry-run"]).await?;
    assert_eq!((&said["action"], &said["variantDigest"]), (&json!("wouldConvert"), &json!(null)));
    let start = format!("{target}:v1-zstd-{}-", digest.short());
    assert_eq!((&said["variant"], &said["variantPrefix"]), (&json!(null), &json!(start)));
    assert!(!zstart.folder().join("target").exists());
    Ok(())
}

#[tokio::test]
async fn changed_level_gets_a_variant_of_its_own_with_force() -> Result<()> {
    let (zstart, _) = with_image("images", "v1").await?;
    let source = zstart.oci("images:v1");
    let layout = Layout::new(zstart.folder(), "images");
    let made = zstart.json(&["convert", &source]).await?;
    let name = |made: &serde_json::Value| -> Result<String> {
        let name = made["variant"].as_str().context("a name")?;
        Ok(name.rsplit_once(':').context("a tag")?.1.to_owned())
    };
    let old = name(&made)?;
    let first = layout.digest(&old)?;
    let found = zstart.json(&["convert", &source, "--level", "19"]).await?;
    assert_eq!((&found["action"], &found["variantDigest"]), (&json!("reused"), &json!(first)));

    let forced = zstart.json(&["convert", &source, "--level", "19", "--force"]).await?;
    assert_eq!(forced["action"], "converted");
    assert!(forced["settings"].as_str().is_some_and(|text| text.ends_with("level=19")), "{forced:#}");
    let tag = name(&forced)?;
    assert_eq!(layout.digest(&tag)?, forced["variantDigest"]);
    assert_eq!(layout.digest(&old)?, first, "the first tag stays");
    assert_eq!(layout.tags()?.len(), 3);
    // The command still means the source.
    let again = zstart.json(&["convert", &zstart.oci("images"), "--level", "19"]).await?;
    assert_eq!((&again["action"], name(&again)?), (&json!("reused"), tag.clone()));
    let smaller = layer_bytes(&layout.manifest(&tag)?) < layer_bytes(&layout.json(&first)?);
    assert!(smaller, "level 19 is smaller than level 3");
    layout.require_zstd_layers(&layout.manifest(&tag)?)
}

#[tokio::test]
async fn platform_flag_selects_the_converted_entries() -> Result<()> {
    let zstart = Zstart::find()?;
    let index = Index::new().oci().image(&image())?.image(&image().platform("linux", "arm64"))?;
    index.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let layout = Layout::new(zstart.folder(), "images");
    let said = zstart
        .print(&["convert", &zstart.oci("images:v1"), &zstart.oci("images:arm"), "--platform", "linux/arm64"])
        .await?;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("linux/arm64        2 layers  "), "{said}");
    assert_eq!(lines[1], "linux/amd64      unchanged: platform not selected");
    let (before, after) = (layout.manifest("v1")?, layout.manifest("arm")?);
    assert_eq!(after["manifests"][0], before["manifests"][0]);
    let converted = layout.json(after["manifests"][1]["digest"].as_str().context("digest")?)?;
    layout.require_zstd_layers(&converted)?;

    let ended = zstart.run(&["convert", &zstart.oci("images:v1"), "--platform", "linux/s390x"]).await?;
    assert_eq!(ended.code, Some(7));
    assert!(ended.stderr.contains("only linux/amd64, linux/arm64"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn zstd_image_needs_no_conversion() -> Result<()> {
    let zstart = Zstart::find()?;
    let zstd = Fixture::new().oci().layer_as(zstart_tests::images::Compression::Zstd, &[("a", b"b")]);
    zstd.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let source = zstart.oci("images:v1");
    let said = zstart.print(&["convert", &source]).await?;
    let nothing = format!("{source}: all layers are already zstd, nothing to convert");
    assert_eq!(said.lines().last(), Some(&*nothing));
    assert_eq!(Layout::new(zstart.folder(), "images").tags()?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn variant_digest_is_equal_in_registry_and_folder() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let digest = image().push(&registry.host(), "team/app:v1").await?;
    let source = format!("{}/team/app:v1", registry.host());
    let in_registry = zstart.json(&["convert", &source]).await?;
    let named = |made: &serde_json::Value| made["variant"].as_str().unwrap_or_default().to_owned();
    let start = format!("{}/team/app:v1-zstd-{}-", registry.host(), digest.short());
    assert!(named(&in_registry).starts_with(&start), "{in_registry:#}");
    let folder = zstart.json(&["convert", &source, &zstart.oci("out:v1")]).await?;
    assert_eq!(folder["variantDigest"], in_registry["variantDigest"]);
    let by_digest = format!("{}/team/app@{digest}", registry.host());
    let by_digest = zstart.json(&["convert", &by_digest]).await?;
    let start = format!("{}/team/app:sha256-{}-zstd-", registry.host(), digest.short());
    assert!(named(&by_digest).starts_with(&start), "{by_digest:#}");
    assert_eq!(by_digest["variantDigest"], in_registry["variantDigest"]);

    image().prepare()?.write(&zstart.folder().join("in"), "v1").await?;
    let up = format!("{}/mirror:zstd", registry.host());
    let up = zstart.json(&["convert", &zstart.oci("in:v1"), &up]).await?;
    assert_eq!(up["variantDigest"], in_registry["variantDigest"]);
    Ok(())
}

#[tokio::test]
async fn concurrent_conversions_into_one_folder_keep_all_tags() -> Result<()> {
    let (zstart, _) = with_image("source", "v1").await?;
    let source = zstart.oci("source:v1");
    let tags: Vec<String> = (0..12).map(|number| format!("v{number}")).collect();
    let targets = tags.iter().map(|tag| zstart.oci(&format!("target:{tag}")));
    let runs = targets.map(|target| {
        let (zstart, source) = (&zstart, &source);
        async move { zstart.print(&["convert", source, &target]).await }
    });
    futures::future::try_join_all(runs).await?;
    let layout = Layout::new(zstart.folder(), "target");
    let (mut found, mut wanted) = (layout.tags()?, tags);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    layout.require_zstd_layers(&layout.manifest("v7")?)
}
