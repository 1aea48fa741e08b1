//! Times the conversion of an image of which only the top layer changed, right after the conversion of its
//! predecessor: in separate processes and in one process.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use zstart_convert::progress::Silent;
use zstart_convert::{Job, LayerCache, Level, Settings, VariantTagging};
use zstart_core::{Digest, Reference, Tag, VariantNames};
use zstart_oci::{RawManifest, media_type};

use super::measure::measure;
use crate::images::{Fixture, open_repository, push_layout};
use crate::registry::Registry;
use crate::registry::repository_reader::RepositoryReader;

/// Durations of the first and the second conversion.
pub(super) struct IncrementalTimes {
    /// Separate processes on different machines: the second one knows the repository only.
    pub(super) other_machine: [Duration; 2],
    /// Separate processes on one machine: the second one has the layer cache.
    pub(super) layer_cache: [Duration; 2],
    /// One process for both, as in the controller.
    pub(super) one_process: [Duration; 2],
}

/// Measures all three variants with the image in an OCI layout folder, each in its own repository.
pub(super) async fn run(zstart: &Path, folder: &Path, tag: &Tag, level: i32) -> Result<IncrementalTimes> {
    let registry = Registry::start().await?;
    let images = |repository: &str| -> Result<[Reference; 2]> {
        let name = format!("{}/{repository}", registry.host());
        Ok([format!("{name}:v1").parse()?, format!("{name}:v2").parse()?])
    };
    for repository in ["other-machine", "layer-cache", "one-process"] {
        let [first, second] = images(repository)?;
        push_layout(folder, tag, &first).await?;
        push_with_other_top_layer(&registry, repository, &second).await?;
    }
    let [home, other, shared] = [temporary_home()?, temporary_home()?, temporary_home()?];
    let other_machine =
        convert_in_new_processes(zstart, [&home, &other], &images("other-machine")?, level).await?;
    let layer_cache =
        convert_in_new_processes(zstart, [&shared, &shared], &images("layer-cache")?, level).await?;

    let [first, second] = images("one-process")?;
    let settings = Settings { level: Level::try_from(level)?, ..Settings::default() };
    let shared_cache = LayerCache::default();
    let one_process = [
        convert_in_this_process(&first, &settings, &shared_cache).await?,
        convert_in_this_process(&second, &settings, &shared_cache).await?,
    ];
    Ok(IncrementalTimes { other_machine, layer_cache, one_process })
}

fn temporary_home() -> Result<TempDir> {
    Ok(TempDir::with_prefix("zstart-bench-")?)
}

/// Converts two images, each with the home folder given for it.
async fn convert_in_new_processes(
    zstart: &Path,
    homes: [&TempDir; 2],
    images: &[Reference; 2],
    level: i32,
) -> Result<[Duration; 2]> {
    let mut took = [Duration::ZERO; 2];
    for ((home, image), took) in homes.into_iter().zip(images).zip(&mut took) {
        let mut command = Command::new(zstart);
        command.args(["convert", &image.to_string(), "--level", &level.to_string()]);
        command.env_clear().env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::null());
        *took = measure(command).await?.wall;
    }
    Ok(took)
}

async fn convert_in_this_process(
    image: &Reference,
    settings: &Settings,
    layer_cache: &LayerCache,
) -> Result<Duration> {
    let repository = open_repository(image)?;
    let started = Instant::now();
    let resolved = zstart_convert::resolve(&*repository, image).await?;
    let plan = zstart_convert::plan(&*repository, &resolved, settings).await?;
    let names = VariantNames::of(image, resolved.digest());
    let job = Job { source: &*repository, target: &*repository, settings, layer_cache, progress: &Silent };
    let tagging = VariantTagging::Derived { names: &names, listing: None };
    let made = zstart_convert::execute(job, image, tagging, &plan).await?;
    zstart_convert::verify_pushed(&*repository, &made.tag, &plan, &made.image).await?;
    Ok(started.elapsed())
}

/// Pushes image `v1` of a repository again, with its top layer replaced.
async fn push_with_other_top_layer(registry: &Registry, repository: &str, to: &Reference) -> Result<()> {
    let top = Fixture::new().layer(&[("app/version", b"2")]);
    top.push(&registry.host(), &format!("{repository}:top")).await?;
    let stored = RepositoryReader::new(registry, repository);
    let (mut config, mut manifest) = image(&stored, "v1").await?;
    let (top_config, top_manifest) = image(&stored, "top").await?;
    *last(&mut config["rootfs"]["diff_ids"])? = top_config["rootfs"]["diff_ids"][0].clone();
    *last(&mut manifest["layers"])? = top_manifest["layers"][0].clone();

    let config: Bytes = serde_json::to_vec(&config)?.into();
    let digest = Digest::sha256_of(&config);
    manifest["config"] = json!({
        "mediaType": media_type::OCI_CONFIG, "digest": digest, "size": config.len(),
    });
    let repository = open_repository(to)?;
    super::put_blob(&*repository, config, &digest).await?;
    let manifest = RawManifest::new(serde_json::to_vec(&manifest)?.into());
    repository.put_manifest(&manifest, &manifest.media_type()?, to.tag()).await?;
    Ok(())
}

/// Config and manifest of an image.
async fn image(stored: &RepositoryReader, tag: &str) -> Result<(Value, Value)> {
    let manifest = stored.manifest(tag).await?.json;
    Ok((serde_json::from_slice(&stored.blob(&manifest["config"]).await?)?, manifest))
}

fn last(list: &mut Value) -> Result<&mut Value> {
    let list = list.as_array_mut().context("the member is no list")?;
    ensure!(list.len() > 1, "the image has no layer below its top layer");
    list.last_mut().context("the list is empty")
}
