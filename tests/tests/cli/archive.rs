//! Tar archives of layouts as sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use zstart_core::Digest;
use zstart_oci::media_type;
use zstart_tests::images::{Fixture, Index};

use crate::command::Zstart;
use crate::exit_codes::require_failure;
use crate::layout::Layout;
use crate::places::image;

const CREATED: &str = "org.opencontainers.image.created";

/// The index that BuildKit builds for one platform: image and attestation.
fn buildkit_index() -> Result<Index> {
    let app = image("app");
    let statement = Fixture::new().oci().layer(&[("statement", b"{}")]);
    let attestation = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.digest": app.prepare()?.digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
    });
    Index::new().oci().image(&app)?.image_with(&statement, &attestation)
}

/// Writes a layout folder into an archive as containerd's exporter does, which `docker buildx build -o
/// type=oci` uses (containerd, `core/images/archive/exporter.go`): folders with a slash, entries sorted by
/// name, ustar headers.
fn write_as_buildkit(folder: &Path, file: &Path) -> Result<()> {
    let mut archive = tar::Builder::new(File::create(file)?);
    let mut names = vec![PathBuf::from("blobs"), PathBuf::from("blobs/sha256")];
    for entry in fs::read_dir(folder.join("blobs/sha256"))? {
        names.push(Path::new("blobs/sha256").join(entry?.file_name()));
    }
    names.extend([PathBuf::from("index.json"), PathBuf::from("oci-layout")]);
    names.sort();
    for name in names {
        let mut header = tar::Header::new_ustar();
        let path = folder.join(&name);
        if path.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, format!("{}/", name.display()), std::io::empty())?;
        } else {
            let content = fs::read(&path)?;
            header.set_mode(0o444);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, &name, &content[..])?;
        }
    }
    archive.into_inner()?.sync_all()?;
    Ok(())
}

/// `oci-archive:FILE` for a file in the home folder.
fn argument(zstart: &Zstart, name: &str) -> String {
    format!("oci-archive:{}", zstart.folder().join(name).display())
}

/// A layout folder `layout` with the image `v1` as `tar` packs it into `layout.tar`.
async fn with_archive() -> Result<Zstart> {
    let zstart = Zstart::find()?;
    image("app").prepare()?.write(&zstart.folder().join("layout"), "v1").await?;
    pack(&zstart, "layout.tar", &["."])?;
    Ok(zstart)
}

/// Packs the folder `layout` with GNU tar.
fn pack(zstart: &Zstart, file: &str, arguments: &[&str]) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.current_dir(zstart.folder().join("layout")).arg("-cf").arg(zstart.folder().join(file));
    ensure!(tar.args(arguments).status()?.success(), "tar {arguments:?}");
    Ok(())
}

#[tokio::test]
async fn buildkit_archive_is_converted_like_its_folder() -> Result<()> {
    let zstart = Zstart::find()?;
    let (folder, file) = (zstart.folder().join("layout"), zstart.folder().join("image.tar"));
    let prepared = buildkit_index()?.prepare()?;
    prepared.write(&folder, "v1").await?;
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json"))?)?;
    let annotations = json!({
        "io.containerd.image.name": "docker.io/library/app:v1",
        CREATED: "2026-11-26T12:00:00Z",
        "org.opencontainers.image.ref.name": "v1",
    });
    let mut entry = index["manifests"][0].clone();
    entry["annotations"] = annotations;
    let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry]});
    fs::write(folder.join("index.json"), index.to_string())?;
    write_as_buildkit(&folder, &file)?;

    let archive = argument(&zstart, "image.tar");
    let (by_tag, by_name) = (format!("{archive}:v1"), format!("{archive}:docker.io/library/app:v1"));
    let by_digest = format!("{archive}@{}", prepared.digest);
    for (source, target) in [(&archive, "a"), (&by_tag, "b"), (&by_name, "c"), (&by_digest, "d")] {
        let made = zstart.json(&["convert", source, &zstart.oci(&format!("{target}:zstd"))]).await?;
        assert_eq!(made["sourceDigest"], json!(prepared.digest));
        assert_eq!(made["unchanged"][0]["reason"], "dropped: attests an image that is converted");
    }
    let from_folder = zstart.json(&["convert", &zstart.oci("layout:v1")]).await?;
    let variant = Layout::new(zstart.folder(), "a");
    assert_eq!(variant.digest("zstd")?, from_folder["variantDigest"].as_str().unwrap_or_default());
    let converted = variant.manifest("zstd")?;
    let converted = variant.json(converted["manifests"][0]["digest"].as_str().unwrap_or_default())?;
    variant.require_zstd_layers(&converted)?;
    let report = zstart.json(&["inspect", &archive]).await?;
    assert_eq!(report["digest"], json!(prepared.digest));
    Ok(())
}

#[tokio::test]
async fn archives_of_all_tar_formats_are_read() -> Result<()> {
    let zstart = with_archive().await?;
    let expected = zstart.json(&["inspect", &zstart.oci("layout")]).await?;
    for format in ["gnu", "oldgnu", "pax", "posix", "ustar", "v7"] {
        for (name, top) in [("dotted", &["."][..]), ("plain", &["blobs", "index.json", "oci-layout"])] {
            let file = format!("{format}-{name}.tar");
            pack(&zstart, &file, &[&["--format", format][..], top].concat())?;
            let report = zstart.json(&["inspect", &argument(&zstart, &file)]).await?;
            assert_eq!(report["digest"], expected["digest"], "{file}");
            assert_eq!(report["manifests"], expected["manifests"], "{file}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn archive_is_read_only() -> Result<()> {
    let zstart = with_archive().await?;
    let archive = argument(&zstart, "layout.tar");
    let before = fs::read(zstart.folder().join("layout.tar"))?;
    require_failure(&zstart, &["convert", &archive], 2, &[&archive, "name a target", "oci:FOLDER"]).await?;
    let source = zstart.oci("layout");
    let target = argument(&zstart, "new.tar:v1");
    require_failure(&zstart, &["convert", &source, &target], 2, &[&target, "writes none", "oci:FOLDER"])
        .await?;
    zstart.print(&["convert", &archive, &zstart.oci("target")]).await?;
    ensure!(fs::read(zstart.folder().join("layout.tar"))? == before, "the archive changed");
    Ok(())
}

#[tokio::test]
async fn unreadable_archives_are_named_with_their_reason() -> Result<()> {
    let zstart = with_archive().await?;
    let whole = fs::read(zstart.folder().join("layout.tar"))?;
    let write = |name: &str, content: &[u8]| -> Result<String> {
        fs::write(zstart.folder().join(name), content)?;
        Ok(argument(&zstart, name))
    };
    let inspect = async |archive: &str, code: i32, said: &[&str]| {
        require_failure(&zstart, &["inspect", archive], code, said).await
    };
    pack(&zstart, "layout.tar.gz", &["--gzip", "."])?;
    let gzip = argument(&zstart, "layout.tar.gz");
    inspect(&gzip, 1, &[&gzip, "compressed with gzip", "gzip -dc"]).await?;
    let zstd = write("layout.tar.zst", &zstd::encode_all(&whole[..], 3)?)?;
    inspect(&zstd, 1, &["compressed with zstd", "zstd -dc"]).await?;
    let docker = write("docker.tar", &docker_archive()?)?;
    inspect(&docker, 3, &["no index.json", "skopeo copy docker-archive:FILE oci:FOLDER"]).await?;
    let text = write("text", "no archive ".repeat(100).as_bytes())?;
    inspect(&text, 1, &["no tar archive"]).await?;
    let missing = argument(&zstart, "missing.tar");
    inspect(&missing, 3, &[&missing, "No such file"]).await?;
    inspect(&argument(&zstart, "layout"), 1, &["is a folder", "oci:"]).await?;
    let file = zstart.folder().join("layout.tar").display().to_string();
    inspect(&format!("oci:{file}"), 1, &[&format!("oci-archive:{file}")]).await?;
    let truncated = write("truncated.tar", &whole[..whole.len() / 2])?;
    inspect(&truncated, 1, &["truncated"]).await?;

    // One byte of a layer, which is no header.
    let layout = Layout::new(zstart.folder(), "layout");
    let manifest = layout.manifest("v1")?;
    let digest: Digest = manifest["layers"][0]["digest"].as_str().unwrap_or_default().parse()?;
    let layer = fs::read(zstart.folder().join("layout/blobs/sha256").join(digest.hex()))?;
    let offset = whole.windows(layer.len()).position(|window| window == layer).unwrap_or_default();
    let mut changed = whole.clone();
    changed[offset + layer.len() / 2] ^= 1;
    let changed = write("changed.tar", &changed)?;
    let convert = ["convert", &changed, &zstart.oci("target:zstd")];
    require_failure(&zstart, &convert, 6, &[digest.as_str()]).await?;
    assert_eq!(Layout::new(zstart.folder(), "target").tags()?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn printed_command_decompresses_an_archive_of_any_name() -> Result<()> {
    let zstart = with_archive().await?;
    pack(&zstart, "packed.tar", &["--gzip", "."])?;
    let refused = zstart.run(&["inspect", &argument(&zstart, "packed.tar")]).await?;
    let command = refused.stderr.split('`').nth(1).unwrap_or_default().to_owned();
    let command = command.replace("FILE", "packed.tar").replace("NEW.tar", "unpacked.tar");
    let mut shell = Command::new("sh");
    ensure!(shell.current_dir(zstart.folder()).args(["-c", &command]).status()?.success(), "{command}");
    let report = zstart.json(&["inspect", &argument(&zstart, "unpacked.tar")]).await?;
    assert_eq!(report["digest"], zstart.json(&["inspect", &zstart.oci("layout")]).await?["digest"]);
    Ok(())
}

/// An archive with the files of `docker save` before version 25.
fn docker_archive() -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    archive.append_data(&mut header, "manifest.json", &b"[]"[..])?;
    Ok(archive.into_inner()?)
}
