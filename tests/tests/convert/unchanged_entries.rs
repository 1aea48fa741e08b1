//! Entries of an index that can't be converted: unknown or missing ones.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tempfile::TempDir;
use zstart_convert::progress::Silent;
use zstart_convert::{
    Error, ErrorClass, Job, LayerCache, Settings, VariantImage, VariantTagging, execute, plan, resolve,
    verify,
};
use zstart_core::{Digest, Tag};
use zstart_oci::{RawManifest, media_type};
use zstart_registry::ManifestKey;
use zstart_registry::{LayoutFolder, Store};
use zstart_tests::images::Fixture;

/// A layout folder with an index of a convertible image and one more entry. Folders accept entries that
/// registries refuse.
struct Source {
    folder: TempDir,
    layout: LayoutFolder,
    entry: Value,
}

impl Source {
    /// Creates an index whose second entry has this content.
    async fn listing(content: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let layout = LayoutFolder::new(folder.path());
        let image = Fixture::new().oci().layer(&[("app", b"files")]).prepare()?;
        image.write(folder.path(), "image").await?;
        let image = layout.manifest(ManifestKey::Digest(&image.digest)).await?;
        let other = RawManifest::new(content.to_owned().into());
        let entry = json!({
            "mediaType": "application/x-other", "digest": other.digest, "size": other.bytes.len(),
            "platform": {"os": "linux", "architecture": "s390x"},
        });
        let index = json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [
            {"mediaType": media_type::OCI_MANIFEST, "digest": image.digest, "size": image.bytes.len(),
             "platform": {"os": "linux", "architecture": "amd64"}},
            entry,
        ]});
        let index = RawManifest::new(serde_json::to_vec(&index)?.into());
        layout.put_manifest(&other, "application/x-other", None).await?;
        layout.put_manifest(&index, media_type::OCI_INDEX, Some(&tag("v1"))).await?;
        Ok(Self { folder, layout, entry })
    }

    /// Creates a sparse index: the second entry's content is missing.
    async fn sparse() -> Result<Self> {
        let source = Self::listing("{}").await?;
        let digest: Digest = serde_json::from_value(source.entry["digest"].clone())?;
        let folder = source.folder.path().join("blobs").join(digest.algorithm().as_str());
        std::fs::remove_file(folder.join(digest.hex()))?;
        Ok(source)
    }

    async fn convert_into(&self, target: &LayoutFolder) -> Result<VariantImage, Error> {
        let (from, to, settings) = (tag("v1"), tag("v1-zstd"), Settings::default());
        let key = ManifestKey::Tag(&from);
        let plan = plan(&self.layout, &resolve(&self.layout, key).await?, &settings).await?;
        let job = Job {
            source: &self.layout,
            target,
            settings: &settings,
            layer_cache: &LayerCache::default(),
            progress: &Silent,
        };
        let image = execute(job, key, VariantTagging::Chosen(&to), &plan).await?.image;
        verify(target, &to, &plan, &image).await?;
        Ok(image)
    }
}

fn tag(text: &str) -> Tag {
    text.parse().expect("a tag")
}

/// Entries of a variant's index.
async fn entries(layout: &LayoutFolder, image: &VariantImage) -> Result<Vec<Value>> {
    let index = layout.manifest(ManifestKey::Digest(&image.digest)).await?;
    let index: Value = serde_json::from_slice(&index.bytes)?;
    Ok(index["manifests"].as_array().context("entries")?.clone())
}

#[tokio::test]
async fn unknown_entry_is_copied_byte_for_byte() -> Result<()> {
    for content in [r#"{"schemaVersion": 2, "mediaType": "application/x-other"}"#, "{}", "not JSON"] {
        let source = Source::listing(content).await?;
        let elsewhere = TempDir::new()?;
        let target = LayoutFolder::new(elsewhere.path());
        let image = source.convert_into(&target).await?;
        assert_eq!(image.platforms.len(), 1, "{content}");
        assert_eq!(entries(&target, &image).await?[1], source.entry, "{content}");
        let digest: Digest = serde_json::from_value(source.entry["digest"].clone())?;
        assert_eq!(target.manifest(ManifestKey::Digest(&digest)).await?.bytes, content);
    }
    Ok(())
}

#[tokio::test]
async fn missing_entry_stays_listed_but_blocks_other_targets() -> Result<()> {
    let source = Source::sparse().await?;
    let image = source.convert_into(&source.layout).await?;
    assert_eq!(entries(&source.layout, &image).await?[1], source.entry);

    let elsewhere = TempDir::new()?;
    let target = LayoutFolder::new(elsewhere.path());
    let error = source.convert_into(&target).await.unwrap_err();
    assert!(matches!(error, Error::EntryMissing { .. }), "{}", error.chain());
    assert_eq!(error.class(), ErrorClass::Refused);
    let digest = source.entry["digest"].as_str().context("digest")?;
    assert!(error.chain().contains(digest), "{}", error.chain());
    assert!(target.tags(1).await?.is_empty());
    Ok(())
}
