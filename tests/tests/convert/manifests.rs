//! Conversion of a single manifest.

use anyhow::Result;
use serde_json::{Value, json};
use zstart_convert::{Level, Settings};
use zstart_core::variant::ContentHash;
use zstart_core::{VariantNames, keys};
use zstart_oci::media_type;
use zstart_tests::images::{Compression, Fixture};

use crate::conversion::Lab;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

/// An image with every kind of layer, and with unknown members.
fn image_of_all_layer_kinds() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 700_000)
        .layer_as(Compression::Plain, &[("etc/plain", b"plain ".repeat(300).as_slice())])
        .layer_as(Compression::Zstd, &[("etc/zstd", b"zstd ".repeat(300).as_slice())])
        .layer(&[])
        .entrypoint(&["/usr/bin/app"])
        .members(json!({
            "annotations": {"org.opencontainers.image.version": "1.2"},
            "x-unknown": {"b": [1, 2.50], "a": null},
        }))
}

#[tokio::test]
async fn docker_and_oci_images_become_oci_zstd_with_equal_files() -> Result<()> {
    let lab = Lab::start().await?;
    for (name, image) in [("docker", image_of_all_layer_kinds()), ("oci", image_of_all_layer_kinds().oci())] {
        let pushed = image.push(&lab.registry.host(), &format!("{name}:v1")).await?;
        let stored = RepositoryReader::new(&lab.registry, name);
        let before = stored.manifest("v1").await?;

        let made = lab.conversion(&format!("{name}:v1")).run().await?;
        let content = ContentHash::of([&made.image.digest], &made.image.settings);
        assert_eq!(made.tag, VariantNames::new(Some(&"v1".parse()?), &pushed).tag(&content));
        assert!(made.tag.as_str().starts_with(&format!("v1-zstd-{}-", pushed.short())));
        let variant = stored.manifest(made.tag.as_str()).await?;
        assert_eq!(variant.digest, made.image.digest);
        stored.require_same_files(&variant.json, &before.json).await?;

        assert_eq!(variant.json["x-unknown"], before.json["x-unknown"]);
        let annotations = &variant.json["annotations"];
        assert_eq!(annotations["org.opencontainers.image.version"], "1.2");
        assert_eq!(annotations[keys::SOURCE_DIGEST], json!(pushed));
        assert_eq!(annotations[keys::SETTINGS], json!(made.image.settings));
        let (from, to) = (&before.json["layers"], &variant.json["layers"]);
        for layer in [0, 1, 3] {
            assert_eq!(to[layer]["annotations"][keys::LAYER_SOURCE_DIGEST], from[layer]["digest"]);
        }
        assert_eq!(to[2]["digest"], from[2]["digest"], "the zstd layer is kept");
        assert_eq!(to[2]["mediaType"], media_type::OCI_TAR_ZSTD, "under OCI's type, Docker's too");

        let report = &made.image.platforms[0];
        assert_eq!((report.layers, report.converted_layers), (4, 3));
        assert_eq!(report.source_bytes, total(from));
        assert_eq!(report.variant_bytes, total(to));

        let after = stored.manifest("v1").await?;
        assert_eq!((after.digest, after.bytes), (pushed, before.bytes), "the source is untouched");
    }
    Ok(())
}

fn total(layers: &Value) -> u64 {
    layers.as_array().into_iter().flatten().filter_map(|layer| layer["size"].as_u64()).sum()
}

#[tokio::test]
async fn layer_compression_is_detected_from_its_bytes() -> Result<()> {
    let lab = Lab::start().await?;
    let plain = b"files, as a tar archive holds them ".repeat(2000);
    let packed = zstd::encode_all(&plain[..], 1)?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, &plain)?;
    let gzip = gzip.finish()?;
    let image = Fixture::new()
        .raw_layer(Compression::Gzip, plain.clone(), packed)
        .raw_layer(Compression::Gzip, plain.clone(), plain.clone())
        .raw_layer(Compression::Zstd, plain.clone(), gzip.clone())
        .raw_layer(Compression::Plain, plain, gzip);
    image.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let variant = stored.manifest(made.tag.as_str()).await?;
    stored.require_same_files(&variant.json, &source.json).await?;
    assert_eq!(source.json["layers"][3]["mediaType"], "application/vnd.docker.image.rootfs.diff.tar");
    assert_eq!(variant.json["layers"][0]["digest"], source.json["layers"][0]["digest"]);
    assert_eq!(made.image.platforms[0].converted_layers, 3);
    Ok(())
}

#[tokio::test]
async fn zstd_layers_are_reencoded_only_with_force() -> Result<()> {
    let lab = Lab::start().await?;
    image_of_all_layer_kinds().push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?;
    let first = lab.conversion("app:v1").run().await?;
    assert_eq!(first.image.platforms[0].converted_layers, 3);
    // A different level alone gives no new variant.
    let settings = Settings { level: Level::try_from(9)?, ..Settings::default() };
    let found = lab.conversion("app:v1").settings(settings.clone()).run().await?;
    assert_eq!((found.reused, &found.image.digest), (true, &first.image.digest));

    let forced = lab.conversion("app:v1").settings(settings).forced().run().await?;
    assert!(!forced.reused);
    assert_ne!(forced.tag, first.tag);
    assert_eq!(stored.digest(first.tag.as_str()).await?, first.image.digest, "pods run it");
    assert_eq!(forced.image.platforms[0].converted_layers, 4);
    let variant = stored.manifest(forced.tag.as_str()).await?;
    stored.require_same_files(&variant.json, &source.json).await?;
    let (from, to) = (&source.json["layers"][2], &variant.json["layers"][2]);
    assert_ne!(to["digest"], from["digest"]);
    assert_eq!(to["annotations"][keys::LAYER_SOURCE_DIGEST], from["digest"]);
    Ok(())
}

#[tokio::test]
async fn inlined_data_is_dropped_from_converted_layers_only() -> Result<()> {
    let lab = Lab::start().await?;
    let image = image_of_all_layer_kinds().oci();
    image.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?.json;
    let (mut config, mut layers) = (source["config"].clone(), source["layers"].clone());
    config["data"] = json!("aW5saW5lZA==");
    for layer in layers.as_array_mut().into_iter().flatten() {
        layer["data"] = json!("aW5saW5lZA==");
        layer["annotations"] = json!({"io.containers.estargz.uncompressed-size": "9", "own": "kept"});
    }
    image.members(json!({"config": config, "layers": layers})).push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let variant = stored.manifest(made.tag.as_str()).await?.json;
    assert_eq!(variant["config"], config, "byte for byte");
    for (layer, is_kept) in [(0, false), (1, false), (2, true), (3, false)] {
        let layer = &variant["layers"][layer];
        assert_eq!(layer.get("data").is_some(), is_kept, "{layer}");
        let annotations = &layer["annotations"];
        assert_eq!(annotations.get("io.containers.estargz.uncompressed-size").is_some(), is_kept, "{layer}");
        assert_eq!(annotations["own"], "kept", "{layer}");
    }
    Ok(())
}

#[tokio::test]
async fn repeated_layer_is_converted_once() -> Result<()> {
    let lab = Lab::start().await?;
    let twice = Fixture::new().layer(&[("a", b"the same")]).layer(&[("a", b"the same")]);
    twice.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let variant = stored.manifest(made.tag.as_str()).await?;
    stored.require_same_files(&variant.json, &source.json).await?;
    assert_eq!(text(&variant.json["layers"][0]["digest"])?, text(&variant.json["layers"][1]["digest"])?);
    let uploads = lab.writes().into_iter().filter(|call| call.starts_with("POST ")).count();
    assert_eq!(uploads, 1, "{:?}", lab.writes());
    Ok(())
}

#[tokio::test]
async fn image_is_copied_whole_to_another_repository() -> Result<()> {
    let lab = Lab::start().await?;
    let image = image_of_all_layer_kinds();
    image.push(&lab.registry.host(), "app:v1").await?;
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?;
    let elsewhere = format!("{}/mirror/app", lab.gateway.host());
    let made = lab.conversion("app:v1").into(&elsewhere).run().await?;
    let stored = RepositoryReader::new(&lab.registry, "mirror/app");
    let variant = stored.manifest(made.tag.as_str()).await?;
    stored.require_same_files(&variant.json, &source.json).await?;
    assert_eq!(RepositoryReader::new(&lab.registry, "app").tags().await?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn null_members_are_absent_and_stay_null() -> Result<()> {
    let lab = Lab::start().await?;
    let members = json!({"artifactType": null, "subject": null, "manifests": null, "x-null": null});
    let image = Fixture::new().oci().layer(&[("file", b"content")]).members(members);
    image.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let variant = stored.manifest(made.tag.as_str()).await?;
    let written = std::str::from_utf8(&variant.bytes)?;
    for member in ["artifactType", "subject", "manifests", "x-null"] {
        assert!(written.contains(&format!("\"{member}\":null")), "{written}");
    }
    assert!(lab.conversion("app:v1").run().await?.reused);
    Ok(())
}

#[tokio::test]
async fn image_without_layers_is_converted() -> Result<()> {
    let lab = Lab::start().await?;
    for (tag, layers) in [("empty", json!([])), ("null", Value::Null)] {
        let image = Fixture::new().oci().members(json!({"layers": layers}));
        image.push(&lab.registry.host(), &format!("app:{tag}")).await?;
        let made = lab.conversion(&format!("app:{tag}")).run().await?;
        assert_eq!((made.image.platforms[0].layers, made.reused), (0, false), "{tag}");
    }
    Ok(())
}
