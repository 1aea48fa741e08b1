//! The layer cache between two runs of `zstart convert`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_core::{Digest, VariantNames};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

use crate::command::{Zstart, finish};

/// An image on a base shared by all images of this file.
fn image(version: &str) -> Fixture {
    let base = Fixture::new().large_layer("usr/bin/app", 300_000).layer(&[("etc/app", b"configuration")]);
    base.layer(&[("app/version", version.as_bytes())])
}

struct CacheLab {
    zstart: Zstart,
    registry: Registry,
    gateway: Gateway,
}

impl CacheLab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let gateway = Gateway::start(&registry.host()).await?;
        Ok(Self { zstart: Zstart::find()?, registry, gateway })
    }

    /// Default path of the cache.
    fn file(&self) -> PathBuf {
        self.zstart.folder().join(".cache").join("zstart").join("layers.json")
    }

    fn stored(&self) -> RepositoryReader {
        RepositoryReader::new(&self.registry, "app")
    }

    /// Manifest of an image's variant.
    async fn variant(&self, version: &str) -> Result<Value> {
        let stored = self.stored();
        let names = VariantNames::new(Some(&version.parse()?), &stored.digest(version).await?);
        let tags = stored.tags().await?;
        let tag = tags.iter().find(|tag| tag.starts_with(names.prefix())).context("no variant")?;
        Ok(stored.manifest(tag).await?.json)
    }

    /// Pushes an image and returns its name.
    async fn push(&self, version: &str) -> Result<String> {
        image(version).push(&self.registry.host(), &format!("app:{version}")).await?;
        Ok(format!("{}/app:{version}", self.gateway.host()))
    }

    /// Pushes and converts an image, checks its variant, and returns the number of blobs read.
    async fn convert(&self, version: &str, more: &[&str]) -> Result<usize> {
        let name = self.push(version).await?;
        let recording = self.gateway.record();
        self.zstart.print(&[&["convert", &name], more].concat()).await?;
        let calls = recording.calls();
        let (stored, made) = (self.stored(), self.variant(version).await?);
        stored.require_same_files(&made, &stored.manifest(version).await?.json).await?;
        Ok(calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/blobs/")).count())
    }
}

/// Blobs read with a cached base: the config and the layer of this image alone.
const NEW_BLOBS: usize = 2;
/// Blobs read without a cache: the config and three layers.
const ALL_BLOBS: usize = 4;

#[tokio::test]
async fn cached_base_is_not_read_by_the_next_run() -> Result<()> {
    let lab = CacheLab::start().await?;
    assert_eq!(lab.convert("v1", &[]).await?, ALL_BLOBS);
    assert_eq!(lab.convert("v2", &[]).await?, NEW_BLOBS);
    let file = lab.file();
    ensure!(file.is_file(), "{}", file.display());
    // Without the cache, zstart reads the layers again.
    assert_eq!(lab.convert("v3", &["--no-layer-cache"]).await?, ALL_BLOBS);
    Ok(())
}

#[tokio::test]
async fn cache_path_follows_the_flag_and_xdg_cache_home() -> Result<()> {
    let lab = CacheLab::start().await?;
    let file = lab.zstart.folder().join("job").join("cache.json");
    let here = ["--layer-cache", &file.display().to_string()];
    assert_eq!(lab.convert("v1", &here).await?, ALL_BLOBS);
    assert_eq!(lab.convert("v2", &here).await?, NEW_BLOBS);
    ensure!(!lab.zstart.folder().join(".cache").exists(), "the cache is in the home folder");

    let name = lab.push("v3").await?;
    let folder = lab.zstart.folder().join("xdg");
    let mut command = lab.zstart.command(&["convert", &name]);
    let ended = command.env("XDG_CACHE_HOME", &folder).output().await?;
    ensure!(ended.status.success(), "{ended:?}");
    ensure!(folder.join("zstart").join("layers.json").is_file(), "XDG_CACHE_HOME");
    Ok(())
}

#[tokio::test]
async fn layers_finished_before_a_failure_are_reused() -> Result<()> {
    let lab = CacheLab::start().await?;
    let name = lab.push("v1").await?;
    let denied = Fault::Respond(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#);
    lab.gateway.fault(Method::PUT, "/manifests/", denied);
    let ended = lab.zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    lab.gateway.clear_faults();
    assert_eq!(lab.convert("v1", &[]).await?, 1, "the config");
    Ok(())
}

#[tokio::test]
async fn unusable_cache_is_a_warning_only() -> Result<()> {
    let lab = CacheLab::start().await?;
    lab.convert("v1", &[]).await?;
    let file = lab.file();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    let name = lab.push("v2").await?;
    let ended = lab.zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ensure!(ended.stderr.contains("other users own it or may write to it: remove it"), "{}", ended.stderr);
    assert_eq!(lab.convert("v3", &[]).await?, NEW_BLOBS, "the file was replaced");

    // A folder at the path: no entry is kept, and the conversion succeeds.
    let folder = lab.zstart.folder().join("folder");
    fs::create_dir(&folder)?;
    let here = ["--layer-cache", &folder.display().to_string()];
    assert_eq!(lab.convert("v4", &here).await?, ALL_BLOBS);
    Ok(())
}

#[tokio::test]
async fn wrong_or_stale_cache_entries_are_converted_again() -> Result<()> {
    let lab = CacheLab::start().await?;
    lab.convert("v1", &[]).await?;
    let file = lab.file();
    let mut cache: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let layers = cache["layers"].as_array_mut().context("layers")?;
    ensure!(layers.len() == 3, "{layers:#?}");
    for layer in layers {
        layer["diff_id"] = json!(Digest::sha256_of(b"other files"));
    }
    fs::write(&file, serde_json::to_vec(&cache)?)?;
    assert_eq!(lab.convert("v2", &[]).await?, ALL_BLOBS, "other files than the config's");
    assert_eq!(lab.convert("v3", &[]).await?, NEW_BLOBS, "the cache is right again");

    let made = lab.variant("v3").await?;
    lab.stored().delete_blob(text(&made["layers"][0]["digest"])?).await?;
    assert_eq!(lab.convert("v4", &[]).await?, NEW_BLOBS + 1, "the blob is gone");
    Ok(())
}

#[tokio::test]
async fn unrequested_or_disabled_cache_stays_silent() -> Result<()> {
    let lab = CacheLab::start().await?;
    // A home "folder" that is a file.
    let home = lab.zstart.folder().join("home");
    fs::write(&home, "")?;
    let name = lab.push("v1").await?;
    let mut command = lab.zstart.command(&["convert", &name]);
    let ended = finish(command.env("HOME", &home)).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ensure!(!ended.stderr.contains("layer cache"), "{}", ended.stderr);

    let file = lab.zstart.folder().join("cache.json");
    let name = lab.push("v2").await?;
    let mut command = lab.zstart.command(&["convert", &name, "--no-layer-cache"]);
    let ended = finish(command.env("ZSTART_LAYER_CACHE", &file)).await?;
    assert_eq!((ended.code, file.exists()), (Some(0), false), "{ended:#?}");
    let name = lab.push("v3").await?;
    let ended = finish(lab.zstart.command(&["convert", &name]).env("ZSTART_LAYER_CACHE", "")).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    Ok(())
}
