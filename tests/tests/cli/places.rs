//! Places of images: names and digests in layout folders, `docker://`, and layouts that skopeo wrote.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use zstart_core::Digest;
use zstart_tests::images::{Fixture, Prepared};
use zstart_tests::registry::Registry;
use zstart_tests::tools::{self, Tool};

use crate::command::{Zstart, finish};
use crate::exit_codes::require_failure;
use crate::layout::Layout;

pub(crate) fn image(name: &str) -> Fixture {
    Fixture::new().oci().large_layer(name, 100_000).layer(&[("etc/app", name.as_bytes())])
}

/// Writes images into the layout folder `images`, under these names; `None` is an image without a name.
async fn with_images(names: &[Option<&str>]) -> Result<(Zstart, Layout, Vec<Prepared>)> {
    let zstart = Zstart::find()?;
    let layout = Layout::new(zstart.folder(), "images");
    let mut images = Vec::new();
    for (position, name) in names.iter().enumerate() {
        let prepared = image(&format!("app{position}")).prepare()?;
        let tag = format!("image{position}");
        prepared.write(&zstart.folder().join("images"), &tag).await?;
        layout.rename(&tag, *name)?;
        images.push(prepared);
    }
    Ok((zstart, layout, images))
}

/// Name of the variant in the last line of a conversion: `TEXT: NAME@DIGEST`.
fn variant_name(output: &str) -> Result<&str> {
    let (_, name) = output.lines().last().and_then(|line| line.split_once(": ")).context("a name")?;
    Ok(name.rsplit_once('@').context("a digest")?.0)
}

#[tokio::test]
async fn image_without_a_name_is_converted_once() -> Result<()> {
    let (zstart, layout, images) = with_images(&[None]).await?;
    let source = zstart.oci("images");
    let before = zstart.json(&["inspect", &source]).await?;
    assert_eq!(before["digest"], json!(images[0].digest));

    let planned = zstart.print(&["convert", &source, "--dry-run"]).await?;
    let made = zstart.print(&["convert", &source]).await?;
    let name = variant_name(&made)?;
    let start = format!("{source}:sha256-{}-zstd-", images[0].digest.short());
    assert!(name.starts_with(&start), "{name}");
    assert_eq!(planned.lines().last(), Some(&*format!("would create {start}…")));
    let tag = name.strip_prefix(&format!("{source}:")).context("a tag")?;
    layout.require_zstd_layers(&layout.manifest(tag)?)?;
    // The folder holds two images now, and the command still means the source.
    let again = zstart.print(&["convert", &source]).await?;
    assert!(again.lines().last().is_some_and(|line| line.starts_with("already exists: ")), "{again}");
    assert_eq!(zstart.json(&["inspect", &source]).await?["digest"], before["digest"]);
    // The printed name selects the variant, with its digest and without.
    let whole = made.lines().last().and_then(|line| line.split_once(": ")).context("a name")?.1;
    for name in [name, whole] {
        let variant = zstart.json(&["inspect", name]).await?;
        assert_eq!(variant["variantOf"], before["digest"], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn variant_of_a_whole_reference_keeps_its_repository() -> Result<()> {
    let (zstart, layout, images) = with_images(&[Some("rancher/local:v1")]).await?;
    let named = zstart.oci("images:rancher/local:v1");
    let mut tag = String::new();
    for source in [zstart.oci("images"), named.clone()] {
        let made = zstart.print(&["convert", &source]).await?;
        let name = variant_name(&made)?.strip_prefix(&format!("{}:", zstart.oci("images")));
        name.context("a name")?.clone_into(&mut tag);
        assert!(tag.starts_with(&format!("rancher/local:v1-zstd-{}-", images[0].digest.short())), "{tag}");
        assert_eq!(layout.tags()?, ["rancher/local:v1", &tag]);
    }
    layout.require_zstd_layers(&layout.manifest(&tag)?)?;
    let variant = zstart.json(&["inspect", &zstart.oci(&format!("images:{tag}"))]).await?;
    assert_eq!(variant["variantOf"], json!(images[0].digest));
    require_failure(&zstart, &["convert", &named, &named], 2, &["never changes a source"]).await?;

    // A target may be a whole reference too.
    zstart.print(&["convert", &named, &zstart.oci("target:localhost:5000/app:v2")]).await?;
    zstart.print(&["convert", &named, &zstart.oci("target")]).await?;
    let target = Layout::new(zstart.folder(), "target");
    assert_eq!(target.tags()?, ["localhost:5000/app:v2", tag.split_once(':').context("tag")?.1]);
    let nameless = zstart.oci("target:rancher/local");
    require_failure(&zstart, &["convert", &named, &nameless], 2, &[&nameless, "REPOSITORY:TAG"]).await
}

#[tokio::test]
async fn force_never_replaces_the_source() -> Result<()> {
    let (zstart, layout, images) = with_images(&[Some("v1")]).await?;
    std::os::unix::fs::symlink(zstart.folder().join("images"), zstart.folder().join("link"))?;
    let registry = Registry::start().await?;
    image("app").push(&registry.host(), "app:v1").await?;
    let port = registry.host().rsplit_once(':').context("a port")?.1.to_owned();
    let source = zstart.oci("images:v1");
    let by_digest = format!("{}@{}", zstart.oci("images"), images[0].digest);
    let before = std::fs::read(zstart.folder().join("images/index.json"))?;
    for (source, target) in [
        (&*source, &*zstart.oci("images/:v1")),
        (&source, &zstart.oci("link:v1")),
        (&by_digest, &source),
        (&format!("127.0.0.1:{port}/app:v1"), &format!("localhost:{port}/app:v1")),
    ] {
        let said = [target, "names the source image sha256:"];
        require_failure(&zstart, &["convert", source, target, "--force"], 2, &said).await?;
        require_failure(&zstart, &["convert", source, target, "--force", "--dry-run"], 2, &said).await?;
    }
    ensure!(std::fs::read(zstart.folder().join("images/index.json"))? == before, "index.json changed");
    // Other images of a tag are replaced.
    image("other").prepare()?.write(&zstart.folder().join("images"), "v2").await?;
    zstart.print(&["convert", &source, &zstart.oci("link:v2"), "--force"]).await?;
    layout.require_zstd_layers(&layout.manifest("v2")?)
}

#[tokio::test]
async fn malformed_entries_hide_no_other_image() -> Result<()> {
    let (zstart, layout, _) = with_images(&[Some("v1")]).await?;
    let file = zstart.folder().join("images/index.json");
    let odd = r#"null,{"digest":"blake3:aa",  "size":-1}"#;
    let text =
        std::fs::read_to_string(&file)?.replacen("\"manifests\":[", &format!("\"manifests\":[{odd},"), 1);
    ensure!(text.contains(odd), "{text}");
    std::fs::write(&file, text)?;
    let made = zstart.print(&["convert", &zstart.oci("images:v1")]).await?;
    let tag = variant_name(&made)?.rsplit_once(':').context("a tag")?.1;
    layout.require_zstd_layers(&layout.manifest(tag)?)?;
    ensure!(std::fs::read_to_string(&file)?.contains(odd), "the entries changed");
    require_failure(&zstart, &["inspect", &zstart.oci("images:@1")], 2, &["entry 1", "malformed"]).await
}

#[tokio::test]
async fn writer_that_waits_for_another_one_says_so() -> Result<()> {
    let (zstart, layout, _) = with_images(&[Some("v1")]).await?;
    let folder = std::fs::File::open(zstart.folder().join("images"))?;
    folder.lock()?;
    let mut command = zstart.command(&["convert", &zstart.oci("images:v1"), &zstart.oci("images:v2")]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
    let mut said = String::new();
    while !said.contains("waiting for another writer") {
        said = lines.next_line().await?.context("the program ended without waiting")?;
    }
    drop(folder);
    while lines.next_line().await?.is_some() {}
    ensure!(child.wait().await?.success(), "the program failed");
    layout.require_zstd_layers(&layout.manifest("v2")?)
}

#[tokio::test]
async fn images_of_one_name_are_selected_by_digest() -> Result<()> {
    let (zstart, layout, images) = with_images(&[Some("v1"), Some("v1"), None]).await?;
    let (folder, v1) = (zstart.oci("images"), zstart.oci("images:v1"));
    let argument = |image: &Prepared| format!("{folder}@{}", image.digest);
    let arguments: Vec<String> = images.iter().map(argument).collect();
    let said = ["2 different images \"v1\"", &arguments[0], &arguments[1]];
    require_failure(&zstart, &["inspect", &v1], 2, &said).await?;
    require_failure(&zstart, &["convert", &v1], 2, &said).await?;
    let said = ["lists 3 images", &arguments[0], &arguments[1], &arguments[2]];
    require_failure(&zstart, &["convert", &folder], 2, &said).await?;
    // The printed arguments select.
    for (position, (argument, image)) in arguments.iter().zip(&images).enumerate() {
        assert_eq!(zstart.json(&["inspect", argument]).await?["digest"], json!(image.digest));
        let by_position = zstart.oci(&format!("images:@{position}"));
        assert_eq!(zstart.json(&["inspect", &by_position]).await?["digest"], json!(image.digest));
    }
    let made = zstart.print(&["convert", &arguments[1]]).await?;
    let tag = variant_name(&made)?.rsplit_once(':').context("a tag")?.1;
    assert!(tag.starts_with(&format!("sha256-{}-zstd-", images[1].digest.short())), "{tag}");
    layout.require_zstd_layers(&layout.manifest(tag)?)?;

    let missing = Digest::sha256_of(b"missing");
    require_failure(&zstart, &["inspect", &format!("{folder}@{missing}")], 3, &[missing.as_str()]).await?;
    require_failure(&zstart, &["inspect", &zstart.oci("images:v2")], 3, &["no image \"v2\""]).await?;
    require_failure(&zstart, &["inspect", &zstart.oci("images:@9")], 3, &["position 9"]).await
}

#[tokio::test]
async fn docker_prefix_names_the_registry() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let digest = image("app").push(&registry.host(), "app:v1").await?;
    let plain = format!("{}/app:v1", registry.host());
    let prefixed = format!("docker://{plain}");
    assert_eq!(zstart.print(&["inspect", &prefixed]).await?, zstart.print(&["inspect", &plain]).await?);
    let target = format!("docker://{}/copy:v2", registry.host());
    let made = zstart.json(&["convert", &prefixed, &target]).await?;
    assert_eq!((&made["source"], &made["sourceDigest"]), (&json!(plain), &json!(digest)));
    assert_eq!(made["variant"], json!(target.trim_start_matches("docker://")));
    Ok(())
}

#[tokio::test]
async fn places_of_other_tools_exit_2() -> Result<()> {
    let zstart = Zstart::find()?;
    for (place, said) in [
        ("docker-archive:app.tar", "skopeo copy docker-archive:app.tar oci:FOLDER"),
        ("docker-daemon:app:v1", "skopeo copy docker-daemon:app:v1 oci:FOLDER"),
        ("containers-storage:app:v1", "skopeo copy containers-storage:app:v1 oci:FOLDER"),
        ("dir:/tmp/app", "skopeo copy dir:/tmp/app oci:FOLDER"),
        ("oci-layout://app", "write oci:FOLDER"),
        ("oci://registry.example/app:v1", "docker://registry.example/app:v1"),
        ("oci:///tmp/app", "write oci:/tmp/app"),
        ("oci:", "oci:FOLDER@DIGEST"),
        ("oci-archive:-", "stdin"),
    ] {
        for command in ["convert", "inspect", "tune"] {
            require_failure(&zstart, &[command, place], 2, &[said]).await?;
        }
    }
    Ok(())
}

/// Copies an image with the engine of skopeo, which packs its layers with zstd.
pub(crate) async fn skopeo_copy(zstart: &Zstart, source: &str, target: &str) -> Result<()> {
    let mut command = Command::new(tools::find(Tool::Skopeo).await?);
    command.args([source, target, "3"]).env_clear().env("HOME", zstart.folder());
    let ended = finish(command.env("TMPDIR", zstart.folder())).await?;
    ensure!(ended.code == Some(0), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn layouts_written_by_skopeo_are_read() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    image("app").push(&registry.host(), "app:v1").await?;
    let origin = format!("docker://{}/app:v1", registry.host());
    let archive = |name: &str| format!("oci-archive:{}", zstart.folder().join(name).display());
    let (unnamed, named) = (zstart.oci("unnamed"), zstart.oci("named:rancher/local:v1"));
    let (unnamed_file, named_file) = (archive("unnamed.tar"), archive("named.tar:rancher/local:v1"));
    for place in [&unnamed, &named, &unnamed_file, &named_file] {
        skopeo_copy(&zstart, &origin, place).await?;
    }
    let written: Value = serde_json::from_slice(&std::fs::read(zstart.folder().join("unnamed/index.json"))?)?;
    assert_eq!(written["manifests"][0]["annotations"], Value::Null, "skopeo wrote no name");

    let expected = zstart.json(&["inspect", &unnamed]).await?;
    let digest = expected["digest"].as_str().context("digest")?;
    let by_digest = format!("{}@{digest}", archive("named.tar"));
    for place in
        [&*named, &zstart.oci("named"), &unnamed_file, &named_file, &archive("named.tar"), &by_digest]
    {
        let mut report = zstart.json(&["inspect", place]).await?;
        assert_eq!(report["reference"], json!(place));
        report["reference"] = expected["reference"].clone();
        assert_eq!(report, expected, "{place}");
    }
    for (source, target) in [(&unnamed, "a"), (&unnamed_file, "b"), (&named, "c"), (&named_file, "d")] {
        zstart.print(&["convert", source, &zstart.oci(&format!("{target}:zstd"))]).await?;
        let target = Layout::new(zstart.folder(), target);
        target.require_zstd_layers(&target.manifest("zstd")?)?;
    }
    // skopeo reads the variant that zstart writes under a whole reference.
    zstart.print(&["convert", &named, &zstart.oci("back:rancher/local:v2")]).await?;
    skopeo_copy(&zstart, &zstart.oci("back:rancher/local:v2"), &zstart.oci("again:v2")).await?;
    assert_eq!(Layout::new(zstart.folder(), "again").tags()?, ["v2"]);
    Ok(())
}
