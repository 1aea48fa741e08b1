//! What one run of `zstart convert` leaves for the next.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_core::{Digest, variant};
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};
use zstart_tests::registry::stored::{Stored, text};

use crate::command::{Zstart, finish};

/// An image on a base that all of them share.
fn image(version: &str) -> Fixture {
    let base = Fixture::new().large_layer("usr/bin/app", 300_000).layer(&[("etc/app", b"configuration")]);
    base.layer(&[("app/version", version.as_bytes())])
}

struct Lab {
    zstart: Zstart,
    registry: Registry,
    gateway: Gateway,
}

impl Lab {
    async fn start() -> Result<Self> {
        let registry = Registry::start().await?;
        let gateway = Gateway::start(&registry.host()).await?;
        Ok(Self { zstart: Zstart::find()?, registry, gateway })
    }

    /// Where the cache is, unless somebody says otherwise.
    fn file(&self) -> PathBuf {
        self.zstart.folder().join(".cache").join("zstart").join("layers.json")
    }

    fn stored(&self) -> Stored {
        Stored::new(&self.registry, "app")
    }

    /// The manifest that was made of an image.
    async fn variant(&self, version: &str) -> Result<Value> {
        let stored = self.stored();
        let tag = variant::tag_for(Some(&version.parse()?), &stored.digest(version).await?);
        Ok(stored.manifest(tag.as_str()).await?.json)
    }

    /// Pushes an image and answers its name.
    async fn push(&self, version: &str) -> Result<String> {
        image(version).push(&self.registry.host(), &format!("app:{version}")).await?;
        Ok(format!("{}/app:{version}", self.gateway.host()))
    }

    /// Pushes and converts an image, requires that its variant is right, and answers how many blobs were
    /// read for it.
    async fn convert(&self, version: &str, more: &[&str]) -> Result<usize> {
        let name = self.push(version).await?;
        let before = self.gateway.calls().len();
        self.zstart.print(&[&["convert", &name], more].concat()).await?;
        let calls = self.gateway.calls().split_off(before);
        let (stored, made) = (self.stored(), self.variant(version).await?);
        stored.require_same_files(&made, &stored.manifest(version).await?.json).await?;
        Ok(calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/blobs/")).count())
    }
}

/// The config, and the layer that no other image has.
const ONLY_WHAT_IS_NEW: usize = 2;
/// The config and three layers.
const EVERYTHING: usize = 4;

#[tokio::test]
async fn a_base_that_an_earlier_run_converted_is_not_read_again() -> Result<()> {
    let lab = Lab::start().await?;
    assert_eq!(lab.convert("v1", &[]).await?, EVERYTHING);
    assert_eq!(lab.convert("v2", &[]).await?, ONLY_WHAT_IS_NEW);
    let file = lab.file();
    ensure!(file.is_file(), "{}", file.display());
    // Whoever doesn't trust it reads what it stands for.
    assert_eq!(lab.convert("v3", &["--no-layer-cache"]).await?, EVERYTHING);
    Ok(())
}

#[tokio::test]
async fn the_cache_stands_where_the_user_wants_it() -> Result<()> {
    let lab = Lab::start().await?;
    let file = lab.zstart.folder().join("job").join("cache.json");
    let here = ["--layer-cache", &file.display().to_string()];
    assert_eq!(lab.convert("v1", &here).await?, EVERYTHING);
    assert_eq!(lab.convert("v2", &here).await?, ONLY_WHAT_IS_NEW);
    ensure!(!lab.zstart.folder().join(".cache").exists(), "it stands in the home folder");

    let name = lab.push("v3").await?;
    let folder = lab.zstart.folder().join("xdg");
    let mut command = lab.zstart.command(&["convert", &name]);
    let ended = command.env("XDG_CACHE_HOME", &folder).output().await?;
    ensure!(ended.status.success(), "{ended:?}");
    ensure!(folder.join("zstart").join("layers.json").is_file(), "XDG_CACHE_HOME");
    Ok(())
}

#[tokio::test]
async fn after_a_failure_the_layers_that_were_done_are_not_done_again() -> Result<()> {
    let lab = Lab::start().await?;
    let name = lab.push("v1").await?;
    let denied = Fault::Answer(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#);
    lab.gateway.fault(Method::PUT, "/manifests/", denied);
    let ended = lab.zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    lab.gateway.heal();
    assert_eq!(lab.convert("v1", &[]).await?, 1, "the config");
    Ok(())
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_a_warning_and_the_image_is_right() -> Result<()> {
    let lab = Lab::start().await?;
    lab.convert("v1", &[]).await?;
    let file = lab.file();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    let name = lab.push("v2").await?;
    let ended = lab.zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    ensure!(ended.stderr.contains("other users own it or may write to it: remove it"), "{}", ended.stderr);
    assert_eq!(lab.convert("v3", &[]).await?, ONLY_WHAT_IS_NEW, "it was replaced");

    // A folder in its place: nothing can be kept, and nothing is lost.
    let folder = lab.zstart.folder().join("folder");
    fs::create_dir(&folder)?;
    let here = ["--layer-cache", &folder.display().to_string()];
    assert_eq!(lab.convert("v4", &here).await?, EVERYTHING);
    Ok(())
}

#[tokio::test]
async fn what_the_cache_says_wrongly_or_no_longer_rightly_is_converted_again() -> Result<()> {
    let lab = Lab::start().await?;
    lab.convert("v1", &[]).await?;
    let file = lab.file();
    let mut cache: Value = serde_json::from_slice(&fs::read(&file)?)?;
    let layers = cache["layers"].as_array_mut().context("layers")?;
    ensure!(layers.len() == 3, "{layers:#?}");
    for layer in layers {
        layer["diff_id"] = json!(Digest::sha256_of(b"other files"));
    }
    fs::write(&file, serde_json::to_vec(&cache)?)?;
    assert_eq!(lab.convert("v2", &[]).await?, EVERYTHING, "other files than the config's");
    assert_eq!(lab.convert("v3", &[]).await?, ONLY_WHAT_IS_NEW, "the cache is right again");

    let made = lab.variant("v3").await?;
    lab.stored().delete_blob(text(&made["layers"][0]["digest"])?).await?;
    assert_eq!(lab.convert("v4", &[]).await?, ONLY_WHAT_IS_NEW + 1, "the blob is gone");
    Ok(())
}

#[tokio::test]
async fn nobody_is_bothered_about_a_cache_that_he_did_not_ask_for_or_refused() -> Result<()> {
    let lab = Lab::start().await?;
    // A home folder that is none.
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
