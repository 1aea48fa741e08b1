//! `zstart verify`, with variants that `zstart convert` made, unchanged and changed.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use http::Method;
use serde_json::{Value, json};
use zstart_core::{Digest, Reference};
use zstart_oci::{Document, RawManifest, media_type};
use zstart_registry::{ManifestKey, Store};
use zstart_tests::images::{Compression, Fixture, Index, open_repository};
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};
use zstart_tests::registry::{Login, Registry};
use zstart_verify::{Authorization, Endpoint, ImageReader as _, ReadError, RegistryImage, Selector};

use crate::command::{Finished, Zstart, finish};
use crate::exit_codes::require_failure;

/// A registry with the source `app:v1` and its variant `app:v1-zstd`.
struct Lab {
    zstart: Zstart,
    registry: Registry,
}

fn image() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 300_000)
        .layer_as(Compression::Zstd, &[("etc/zstd", b"already zstd")])
        .layer(&[("etc/app", b"configuration")])
}

fn index() -> Result<Index> {
    let attested = image().prepare()?.digest;
    let attestation = Fixture::new().oci().layer(&[("attestation", b"of amd64")]);
    let member = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": attested},
    });
    Index::new()
        .image(&image())?
        .image(&image().platform("linux", "arm64"))?
        .image(&image().platform("windows", "amd64"))?
        .image_with(&attestation, &member)
}

impl Lab {
    async fn start() -> Result<Self> {
        let (zstart, registry) = (Zstart::find()?, Registry::start().await?);
        index()?.prepare()?.push(&registry.host(), "app:v1").await?;
        let lab = Self { zstart, registry };
        let (source, variant) = lab.names();
        lab.zstart.print(&["convert", &source, &variant]).await?;
        Ok(lab)
    }

    fn names(&self) -> (String, String) {
        (self.name("v1"), self.name("v1-zstd"))
    }

    fn name(&self, tag: &str) -> String {
        format!("{}/app:{tag}", self.registry.host())
    }

    async fn verify(&self) -> Result<Finished> {
        let (source, variant) = self.names();
        self.zstart.run(&["verify", &source, &variant]).await
    }

    /// Requires exit code 6 and a message that contains all of these texts.
    async fn require_difference(&self, said: &[&str]) -> Result<()> {
        let ended = self.verify().await?;
        assert_eq!(ended.code, Some(6), "{ended:#?}");
        for text in said {
            assert!(ended.stderr.contains(text), "{text:?} is missing: {ended:#?}");
        }
        assert!(ended.stdout.contains("not equal: "), "{ended:#?}");
        Ok(())
    }

    /// Replaces the first layer of the variant's first manifest, and recomputes all digests.
    async fn replace_layer(&self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Result<()> {
        let reference: Reference = self.name("v1-zstd").parse()?;
        let repository = open_repository(&reference)?;
        let tag = "v1-zstd".parse()?;
        let top = repository.manifest(ManifestKey::Tag(&tag)).await?;
        let mut index: Value = serde_json::from_slice(&top.bytes)?;
        let entry: Digest = index["manifests"][0]["digest"].as_str().context("digest")?.parse()?;
        let manifest = repository.manifest(ManifestKey::Digest(&entry)).await?;
        let mut document: Value = serde_json::from_slice(&manifest.bytes)?;
        let Document::Manifest(parsed) = manifest.read()? else { anyhow::bail!("an index") };
        let layer = read_blob(&*repository, parsed.layers[0].digest()).await?;
        let changed = change(layer);
        let digest = Digest::sha256_of(&changed);
        document["layers"][0]["digest"] = json!(digest);
        document["layers"][0]["size"] = json!(changed.len());
        repository.put_blob(&digest, changed.into()).await?;
        let manifest = RawManifest::new(serde_json::to_vec(&document)?.into());
        repository.put_manifest(&manifest, media_type::OCI_MANIFEST, None).await?;
        index["manifests"][0]["digest"] = json!(manifest.digest);
        index["manifests"][0]["size"] = json!(manifest.bytes.len());
        let top = RawManifest::new(serde_json::to_vec(&index)?.into());
        repository.put_manifest(&top, media_type::OCI_INDEX, Some(&tag)).await?;
        Ok(())
    }
}

async fn read_blob(repository: &dyn Store, digest: &Digest) -> Result<Vec<u8>> {
    use futures::TryStreamExt as _;

    let mut content = Vec::new();
    let mut stream = repository.blob(digest).await?;
    while let Some(piece) = stream.try_next().await? {
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

#[tokio::test]
async fn converted_index_is_equal() -> Result<()> {
    let lab = Lab::start().await?;
    let ended = lab.verify().await?;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:#?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 9, "{}", ended.stdout);
    assert!(lines[0].starts_with("linux/amd64      layer 1/3     "), "{}", lines[0]);
    assert!(lines[0].contains("  gzip → zstd ") && lines[0].ends_with("  equal"), "{}", lines[0]);
    assert!(lines[1].contains("zstd, unchanged"), "{}", lines[1]);
    assert!(lines[3].starts_with("linux/arm64      layer 1/3"), "{}", lines[3]);
    assert!(lines[6].starts_with("windows/amd64    ") && lines[6].ends_with("unchanged"), "{}", lines[6]);
    assert!(lines[7].starts_with("unknown/unknown  ") && lines[7].contains("dropped"), "{}", lines[7]);
    let (source, variant) = lab.names();
    assert!(lines[8].starts_with(&format!("equal: {variant}@sha256:")), "{}", lines[8]);
    assert!(lines[8].contains(&format!(" unpacks to {source}@sha256:")), "{}", lines[8]);
    Ok(())
}

#[tokio::test]
async fn json_reports_every_layer() -> Result<()> {
    let lab = Lab::start().await?;
    let (source, variant) = lab.names();
    let printed =
        lab.zstart.print(&["verify", &source, &variant, "--platform", "linux/arm64", "--json"]).await?;
    let report: Value = serde_json::from_str(&printed)?;
    assert_eq!(report["equal"], true, "{report:#}");
    assert_eq!((&report["source"], &report["variant"]), (&json!(source), &json!(variant)));
    assert_eq!(report["differences"], json!([]));
    let platforms = report["platforms"].as_array().context("platforms")?;
    assert_eq!(platforms.len(), 1, "{report:#}");
    let layer = &platforms[0]["layers"][0];
    assert_eq!(layer["source"]["compression"], "gzip", "{layer:#}");
    assert_eq!(layer["variant"]["compression"], "zstd", "{layer:#}");
    assert_eq!(layer["diffId"], json!(image().diff_ids()[0]));
    assert_eq!(layer["variant"]["plainDigest"], layer["diffId"]);
    assert_eq!(layer["equal"], true);
    let outcomes: Vec<&Value> =
        report["entries"].as_array().context("entries")?.iter().map(|entry| &entry["outcome"]).collect();
    assert_eq!(outcomes, ["unchanged", "dropped", "notSelected"]);
    Ok(())
}

#[tokio::test]
async fn changed_byte_of_a_pushed_layer_exits_6() -> Result<()> {
    let lab = Lab::start().await?;
    lab.replace_layer(|layer| {
        let mut plain = zstd::decode_all(&layer[..]).unwrap_or_default();
        let middle = plain.len() / 2;
        plain[middle] ^= 1;
        zstd::encode_all(&plain[..], 3).unwrap_or_default()
    })
    .await?;
    lab.require_difference(&["is not equal to", "linux/amd64, layer 1: ", "config's diff_id is"]).await
}

#[tokio::test]
async fn appended_frame_of_a_pushed_layer_exits_6() -> Result<()> {
    let lab = Lab::start().await?;
    lab.replace_layer(|layer| [layer, zstd::encode_all(&b"more"[..], 3).unwrap_or_default()].concat())
        .await?;
    lab.require_difference(&["linux/amd64, layer 1: ", "unpacks to"]).await
}

#[tokio::test]
async fn truncated_frame_of_a_pushed_layer_exits_6() -> Result<()> {
    let lab = Lab::start().await?;
    lab.replace_layer(|layer| layer[..layer.len() - 5].to_vec()).await?;
    lab.require_difference(&["linux/amd64, layer 1: ", "can't be decoded"]).await
}

#[tokio::test]
async fn moved_source_tag_exits_6_and_says_so() -> Result<()> {
    let lab = Lab::start().await?;
    let (source, variant) = lab.names();
    let old = index()?.prepare()?.digest;
    Fixture::new().layer(&[("etc/app", b"newer")]).push(&lab.registry.host(), "app:v1").await?;
    lab.require_difference(&["the source's tag moved", old.as_str()]).await?;
    let pinned = format!("{}@{old}", source.trim_end_matches(":v1"));
    lab.zstart.print(&["verify", &pinned, &variant]).await?;
    Ok(())
}

#[tokio::test]
async fn layout_folders_are_compared() -> Result<()> {
    let zstart = Zstart::find()?;
    index()?.prepare()?.write(&zstart.folder().join("source"), "v1").await?;
    let (source, variant) = (zstart.oci("source:v1"), zstart.oci("variant:v1-zstd"));
    zstart.print(&["convert", &source, &variant]).await?;
    let printed = zstart.print(&["verify", &source, &variant]).await?;
    assert!(printed.lines().last().is_some_and(|line| line.starts_with("equal: ")), "{printed}");
    // The variant first: a source is no variant.
    require_failure(&zstart, &["verify", &variant, &source], 7, &["the source is a variant itself"]).await?;
    require_failure(&zstart, &["verify", &source, &zstart.oci("variant:v2")], 3, &["no image \"v2\""])
        .await?;
    require_failure(&zstart, &["verify", &source, "oci-archive:variant.tar"], 2, &["reads no archives"]).await
}

#[tokio::test]
async fn loopback_registry_is_read_without_the_proxy() -> Result<()> {
    let lab = Lab::start().await?;
    let (source, variant) = lab.names();
    let mut command = lab.zstart.command(&["verify", &source, &variant]);
    // Nothing listens there.
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "https_proxy"] {
        command.env(variable, "http://127.0.0.1:9");
    }
    let ended = finish(&mut command).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn bearer_token_of_the_login_is_the_only_one() -> Result<()> {
    let lab = Lab::start().await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    let auth = json!({"auths": {(gateway.host()): {"username": "user", "password": "right"}}});
    lab.zstart.docker_config(&auth)?;
    let recording = gateway.record();
    let (source, variant) = (format!("{}/app:v1", gateway.host()), format!("{}/app:v1-zstd", gateway.host()));
    lab.zstart.print(&["verify", &source, &variant]).await?;
    let tokens = recording.calls().iter().filter(|call| call.starts_with("GET /token")).count();
    assert_eq!(tokens, 2, "one login for each image: {:#?}", recording.calls());
    Ok(())
}

#[tokio::test]
async fn password_of_a_basic_registry_is_used() -> Result<()> {
    zstart_tests::control_plane::install_crypto();
    let login = Login::Basic { username: "user".into(), password: "right".into() };
    let registry = Registry::start_with(login).await?;
    let zstart = Zstart::find()?;
    image().prepare()?.write(&zstart.folder().join("source"), "v1").await?;
    let (source, variant) = (zstart.oci("source:v1"), format!("{}/app:v1-zstd", registry.host()));
    require_failure(&zstart, &["verify", &source, &variant], 4, &["error: "]).await?;
    zstart
        .docker_config(&json!({"auths": {(registry.host()): {"username": "user", "password": "right"}}}))?;
    zstart.print(&["convert", &source, &variant]).await?;
    zstart.print(&["verify", &source, &variant]).await?;
    Ok(())
}

#[tokio::test]
async fn unreachable_and_missing_images_keep_their_codes() -> Result<()> {
    let lab = Lab::start().await?;
    let (source, _) = lab.names();
    require_failure(&lab.zstart, &["verify", &source, &lab.name("v2")], 3, &["error: "]).await?;
    let arguments = ["verify", &source, &lab.name("v1-zstd"), "--platform", "linux/s390x"];
    require_failure(&lab.zstart, &arguments, 2, &["for linux/s390x"]).await?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    let missing = Fault::Respond(http::StatusCode::NOT_FOUND, vec![], "");
    gateway.fault(Method::GET, "/blobs/", missing);
    let variant = format!("{}/app:v1-zstd", gateway.host());
    require_failure(&lab.zstart, &["verify", &source, &variant], 3, &["the variant can't be read"]).await?;
    gateway.clear_faults();
    let failing = Fault::Respond(http::StatusCode::BAD_GATEWAY, vec![], "");
    gateway.fault(Method::GET, "/blobs/", failing);
    require_failure(&lab.zstart, &["verify", &source, &variant], 5, &["the registry answered 502"]).await
}

#[tokio::test]
async fn cut_layer_is_read_again() -> Result<()> {
    let lab = Lab::start().await?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    let (source, _) = lab.names();
    gateway.fault_times(1, Method::GET, "/blobs/", Fault::CutResponseAfter(10));
    let variant = format!("{}/app:v1-zstd", gateway.host());
    lab.zstart.print(&["verify", &source, &variant]).await?;
    assert!(gateway.all_faults_hit());
    Ok(())
}

#[tokio::test]
async fn flipped_bytes_are_a_wrong_digest() -> Result<()> {
    let lab = Lab::start().await?;
    let gateway = Gateway::start(&lab.registry.host()).await?;
    let (source, _) = lab.names();
    gateway.fault(Method::GET, "/blobs/", Fault::FlipBytes);
    let variant = format!("{}/app:v1-zstd", gateway.host());
    let ended = lab.zstart.run(&["verify", &source, &variant]).await?;
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(ended.stderr.contains("the variant's config sha256:"), "{ended:#?}");
    assert!(ended.stderr.contains("the bytes have digest"), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn endless_layer_ends_at_its_descriptors_size() -> Result<()> {
    let lab = Lab::start().await?;
    let server = RawFaultServer::start(&lab.registry.host()).await?;
    let (source, _) = lab.names();
    let head = http_response(&["200 OK", "Connection: close"], b"");
    server.respond(Method::GET, "/blobs/", RawResponse::ThenFlood(head, b"flood"));
    let variant = format!("{}/app:v1-zstd", server.host());
    let ended = lab.zstart.run(&["verify", &source, &variant]).await?;
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(ended.stdout.contains("more bytes than its descriptor's"), "{ended:#?}");
    Ok(())
}

/// Login that always returns the same.
struct FixedLogin(Authorization);

#[async_trait]
impl zstart_verify::Login for FixedLogin {
    async fn authorization(&self) -> Result<Authorization, ReadError> {
        Ok(self.0.clone())
    }
}

/// oci-client would follow a challenge to any host with the password.
#[tokio::test]
async fn authorization_is_sent_without_a_look_at_challenges() -> Result<()> {
    zstart_tests::control_plane::install_crypto();
    let registry = Registry::start().await?;
    let pushed = image().push(&registry.host(), "app:v1").await?;
    let server = RawFaultServer::start(&registry.host()).await?;
    for (authorization, header) in [
        (Authorization::Basic { user: "user".into(), password: "right".into() }, "basic dxnlcjpyawdoda=="),
        (Authorization::Bearer("Token".to_owned()), "bearer token"),
    ] {
        let before = server.request_heads().len();
        let endpoint = Endpoint { host: server.host(), plain_http: true };
        let selector = Selector::Tag("v1".to_owned());
        let image =
            RegistryImage::new(endpoint, "app".to_owned(), selector, Arc::new(FixedLogin(authorization)));
        assert_eq!(Digest::sha256_of(&image.top().await?), pushed);
        let heads = server.request_heads().split_off(before);
        let [head] = &heads[..] else { panic!("{heads:#?}") };
        assert!(head.starts_with("get /v2/app/manifests/v1 "), "{head}");
        assert!(head.contains(&format!("\r\nauthorization: {header}")), "{head}");
    }
    Ok(())
}
