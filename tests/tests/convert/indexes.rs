//! Indexes: entries that are converted, kept or dropped.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_convert::{ErrorClass, PlatformSelection, Settings};
use zstart_core::{Digest, Platform, keys};
use zstart_oci::media_type;
use zstart_tests::images::{Compression, Fixture, Index};
use zstart_tests::registry::gateway::Fault;

use crate::conversion::Lab;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

const ATTESTATION_OF: &str = "vnd.docker.reference.digest";

fn image(architecture: &str) -> Fixture {
    Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 50_000)
}

/// An attestation entry as `BuildKit` writes it.
fn attestation(of: &Digest) -> (Fixture, Value) {
    let statement = Fixture::new().oci().layer(&[("statement", of.as_str().as_bytes())]);
    let entry = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {ATTESTATION_OF: of, "vnd.docker.reference.type": "attestation-manifest"},
    });
    (statement, entry)
}

/// Two selected platforms, one other, and attestations of a converted and of an unconverted image.
fn index() -> Result<Index> {
    let (amd64, arm64, s390x) = (image("amd64"), image("arm64"), image("s390x"));
    let (of_amd64, amd64_entry) = attestation(&amd64.prepare()?.digest);
    let (of_s390x, s390x_entry) = attestation(&s390x.prepare()?.digest);
    let own = json!({
        "platform": {"architecture": "arm64", "os": "linux", "variant": "v8", "os.features": ["x"]},
        "x-own": [1, 2], "annotations": {"kept": "yes"},
    });
    Index::new()
        .oci()
        .image(&amd64)?
        .image_with(&arm64, &own)?
        .image(&s390x)?
        .image_with(&of_amd64, &amd64_entry)?
        .image_with(&of_s390x, &s390x_entry)
}

fn platforms(architectures: &[&str]) -> Settings {
    let selected = architectures.iter().map(|architecture| Platform::new("linux", architecture)).collect();
    Settings { platforms: PlatformSelection::Only(selected), ..Settings::default() }
}

fn two_platforms() -> Settings {
    platforms(&["amd64", "arm64"])
}

#[tokio::test]
async fn selected_platforms_are_converted_and_others_kept() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?;
    let made = lab.conversion("app:v1").settings(two_platforms()).run().await?;
    assert_eq!(made.image.platforms.len(), 2);

    let variant = stored.manifest(made.tag.as_str()).await?;
    assert_eq!(variant.json["mediaType"], media_type::OCI_INDEX);
    assert_eq!(variant.json["annotations"][keys::SOURCE_DIGEST], json!(pushed));
    let before = source.json["manifests"].as_array().context("entries")?;
    let after = variant.json["manifests"].as_array().context("entries")?;
    assert_eq!(after.len(), 4, "the attestation of a converted image is dropped: {after:#?}");
    for (from, to) in before.iter().zip(after).take(2) {
        assert_eq!(to["platform"].to_string(), from["platform"].to_string(), "byte for byte");
        assert_eq!(
            (&to["x-own"], &to["annotations"]["kept"]),
            (&from["x-own"], &from["annotations"]["kept"])
        );
        assert_eq!(to["annotations"][keys::SOURCE_DIGEST], from["digest"]);
        assert_eq!(to["mediaType"], media_type::OCI_MANIFEST);
        let converted = stored.manifest(text(&to["digest"])?).await?;
        assert_eq!(to["size"], converted.bytes.len());
        let original = stored.manifest(text(&from["digest"])?).await?;
        stored.require_same_files(&converted.json, &original.json).await?;
    }
    assert_eq!(after[2], before[2], "s390x was not asked for");
    assert_eq!(after[3], before[4], "the attestation of s390x is unchanged");
    assert_eq!(stored.manifest("v1").await?.digest, pushed, "the source is untouched");
    Ok(())
}

#[tokio::test]
async fn kept_entries_are_copied_to_another_repository() -> Result<()> {
    let lab = Lab::start().await?;
    index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let elsewhere = format!("{}/mirror/app", lab.gateway.host());
    let made = lab.conversion("app:v1").into(&elsewhere).settings(two_platforms()).run().await?;
    let stored = RepositoryReader::new(&lab.registry, "mirror/app");
    let variant = stored.manifest(made.tag.as_str()).await?;
    for entry in variant.json["manifests"].as_array().context("entries")? {
        let manifest = stored.manifest(text(&entry["digest"])?).await?;
        for blob in manifest.json["layers"].as_array().context("layers")? {
            stored.blob(blob).await?;
        }
        stored.blob(&manifest.json["config"]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn platform_requested_later_is_added_to_the_variant() -> Result<()> {
    let lab = Lab::start().await?;
    index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let first = lab.conversion("app:v1").settings(platforms(&["amd64"])).run().await?;
    assert_eq!(first.image.platforms.len(), 1);
    let second = lab.conversion("app:v1").settings(two_platforms()).run().await?;
    assert_eq!((second.image.platforms.len(), second.reused), (2, false));
    assert_ne!(second.tag, first.tag);
    let stored = RepositoryReader::new(&lab.registry, "app");
    assert_eq!(stored.digest(first.tag.as_str()).await?, first.image.digest, "pods run it");
    // The larger variant also serves a smaller request.
    let third = lab.conversion("app:v1").settings(platforms(&["amd64"])).run().await?;
    assert_eq!((third.reused, third.image.digest), (true, second.image.digest));
    Ok(())
}

#[tokio::test]
async fn platforms_of_separate_requests_share_one_variant() -> Result<()> {
    let lab = Lab::start().await?;
    index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    lab.conversion("app:v1").settings(platforms(&["amd64"])).run().await?;
    let both = lab.conversion("app:v1").settings(platforms(&["arm64"])).run().await?;
    assert_eq!((both.image.platforms.len(), both.reused), (2, false));
    for architecture in ["amd64", "arm64"] {
        let found = lab.conversion("app:v1").settings(platforms(&[architecture])).run().await?;
        assert_eq!((found.reused, &found.image.digest), (true, &both.image.digest), "{architecture}");
    }
    Ok(())
}

#[tokio::test]
async fn variant_missing_a_manifest_is_rebuilt() -> Result<()> {
    let lab = Lab::start().await?;
    index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let first = lab.conversion("app:v1").settings(two_platforms()).run().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let variant = stored.manifest(first.tag.as_str()).await?;
    stored.delete_manifest(text(&variant.json["manifests"][1]["digest"])?).await?;
    let again = lab.conversion("app:v1").settings(two_platforms()).run().await?;
    assert_eq!((again.reused, again.image.digest), (false, first.image.digest));
    stored.manifest(text(&variant.json["manifests"][1]["digest"])?).await?;
    Ok(())
}

#[tokio::test]
async fn unreadable_entry_is_kept_and_the_rest_converted() -> Result<()> {
    let lab = Lab::start().await?;
    let odd = image("s390x").members(json!({"config": {"mediaType": media_type::OCI_CONFIG, "size": 2,
        "digest": Digest::sha256_of(b"{}")}}));
    let index = Index::new().oci().image(&image("amd64"))?.image(&odd)?.prepare()?;
    // The blob that it names as its config is no config.
    let blob = Fixture::new().oci().raw_layer(Compression::Plain, b"{}".to_vec(), b"{}".to_vec());
    blob.push(&lab.registry.host(), "app:blob").await?;
    index.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    assert_eq!(made.image.platforms.len(), 1);
    let stored = RepositoryReader::new(&lab.registry, "app");
    let (source, variant) = (stored.manifest("v1").await?, stored.manifest(made.tag.as_str()).await?);
    assert_eq!(variant.json["manifests"][1], source.json["manifests"][1]);

    // An entry that the registry doesn't have is kept as well: a sparse index.
    let entry = text(&source.json["manifests"][1]["digest"])?;
    let missing = Fault::Respond(StatusCode::NOT_FOUND, vec![], "");
    lab.gateway.fault(Method::GET, entry, missing);
    assert_eq!(lab.conversion("app:v1").forced().run().await?.image.digest, made.image.digest);
    Ok(())
}

#[tokio::test]
async fn platform_with_an_invalid_name_is_refused() -> Result<()> {
    let lab = Lab::start().await?;
    image("v 8").push(&lab.registry.host(), "app:v1").await?;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    assert!(error.chain().contains("no valid operating system and architecture"), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn index_platform_counts_for_a_config_without_one() -> Result<()> {
    let lab = Lab::start().await?;
    let platform = json!({"platform": {"os": "linux", "architecture": "amd64"}});
    let nowhere = image("app").platform("linux", "");
    let index = Index::new().oci().image_with(&nowhere, &platform)?;
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    let platforms: Vec<_> = made.image.platforms.iter().map(|made| made.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64"]);
    // Without an index, nothing says where the image runs.
    nowhere.push(&lab.registry.host(), "app:v2").await?;
    let error = lab.conversion("app:v2").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn platforms_are_selected_in_any_spelling() -> Result<()> {
    let lab = Lab::start().await?;
    let entry = |architecture: &str, variant: &str| json!({"platform": {"os": "linux", "architecture": architecture, "variant": variant}});
    let (first, second, third) = (entry("x86_64", ""), entry("arm64", "v8"), entry("arm", "v6"));
    let index = Index::new()
        .oci()
        .image_with(&image("a"), &first)?
        .image_with(&image("b"), &second)?
        .image_with(&image("c"), &third)?;
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let selected = ["linux/amd64", "Linux/AArch64", "linux/armhf"];
    let selected = selected.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    let settings = Settings { platforms: PlatformSelection::Only(selected), ..Settings::default() };
    let made = lab.conversion("app:v1").settings(settings).run().await?;
    let platforms: Vec<_> = made.image.platforms.iter().map(|made| made.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/x86_64", "linux/arm64/v8"], "as the index spells them");
    let stored = RepositoryReader::new(&lab.registry, "app");
    let variant = stored.manifest(made.tag.as_str()).await?.json;
    for (position, written) in [&first, &second, &third].into_iter().enumerate() {
        assert_eq!(variant["manifests"][position]["platform"], written["platform"]);
    }
    Ok(())
}

#[tokio::test]
async fn entries_of_one_platform_are_each_converted_in_place() -> Result<()> {
    let lab = Lab::start().await?;
    // Configs without a variant, as many images have them: the index's platform counts, as on nodes.
    let entries = [("v6", "a"), ("v7", "b"), ("v8", "c"), ("v7", "d")];
    let mut index = Index::new().oci();
    for (variant, name) in entries {
        let image = Fixture::new().oci().platform("linux", "arm").layer(&[(name, b"files")]);
        let platform = json!({"architecture": "arm", "os": "linux", "variant": variant, "os.version": "5"});
        index = index.image_with(&image, &json!({"platform": platform}))?;
    }
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let source = stored.manifest("v1").await?.json;
    let made = lab.conversion("app:v1").run().await?;
    let platforms: Vec<_> = made.image.platforms.iter().map(|made| made.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/arm/v6", "linux/arm/v7", "linux/arm/v8", "linux/arm/v7"]);
    let variant = stored.manifest(made.tag.as_str()).await?.json;
    for entry in 0..entries.len() {
        let (from, to) = (&source["manifests"][entry], &variant["manifests"][entry]);
        assert_eq!(to["annotations"][keys::SOURCE_DIGEST], from["digest"]);
        assert_eq!(to["platform"], from["platform"]);
    }
    assert!(lab.conversion("app:v1").run().await?.reused);

    let seventh =
        Settings { platforms: PlatformSelection::Only(vec!["linux/arm/v7".parse()?]), ..Settings::default() };
    let selected = lab.conversion("app:v1").settings(seventh).forced().run().await?;
    assert_eq!(selected.image.platforms.len(), 2);
    Ok(())
}

#[tokio::test]
async fn entry_without_a_platform_uses_its_config() -> Result<()> {
    let lab = Lab::start().await?;
    let nowhere = json!({"platform": null});
    let helm = image("amd64").members(json!({"config": {
        "mediaType": "application/vnd.cncf.helm.config.v1+json", "size": 2, "digest": Digest::sha256_of(b"{}"),
    }}));
    let blob = Fixture::new().oci().raw_layer(Compression::Plain, b"{}".to_vec(), b"{}".to_vec());
    blob.push(&lab.registry.host(), "app:blob").await?;
    let index = Index::new()
        .oci()
        .image_with(&image("amd64"), &nowhere)?
        .image_with(&image("arm64"), &nowhere)?
        .image_with(&helm, &nowhere)?;
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").settings(platforms(&["arm64"])).run().await?;
    assert_eq!(made.image.platforms.len(), 1);
    assert_eq!(made.image.platforms[0].platform, Platform::new("linux", "arm64"));
    let stored = RepositoryReader::new(&lab.registry, "app");
    let (source, variant) = (stored.manifest("v1").await?, stored.manifest(made.tag.as_str()).await?);
    for kept in [0, 2] {
        assert_eq!(variant.json["manifests"][kept], source.json["manifests"][kept]);
    }
    Ok(())
}

#[tokio::test]
async fn nested_index_is_kept_unchanged() -> Result<()> {
    let lab = Lab::start().await?;
    let inner = Index::new().oci().image(&image("arm64"))?.prepare()?;
    inner.push(&lab.registry.host(), "app:inner").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let inner = stored.manifest("inner").await?;
    let entry = json!({
        "mediaType": media_type::OCI_INDEX, "digest": inner.digest, "size": inner.bytes.len(),
        "platform": {"os": "linux", "architecture": "arm64"},
    });
    let outer = Index::new().oci().image(&image("amd64"))?.image_with(&image("s390x"), &entry)?;
    outer.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    assert_eq!(made.image.platforms.len(), 1);
    assert_eq!(stored.manifest(made.tag.as_str()).await?.json["manifests"][1], entry);
    Ok(())
}
