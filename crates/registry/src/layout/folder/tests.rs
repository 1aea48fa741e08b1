//! Tests of layout folders.

use std::path::Path;

use futures::stream;
use sha2::{Digest as _, Sha512};
use zstart_oci::media_type;

use super::*;

async fn names(layout: &LayoutFolder) -> Vec<String> {
    layout.index().await.unwrap().names().collect()
}

#[tokio::test]
async fn tag_names_the_newest_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::new(folder.path());
    let tag: Tag = "v1".parse().unwrap();
    for text in [r#"{"layers":[]}"#, r#"{"layers":[ ]}"#] {
        let manifest = RawManifest::new(text.into());
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
        assert_eq!(layout.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
    }
    assert_eq!(names(&layout).await, ["v1"]);
}

#[tokio::test]
async fn blob_is_invisible_until_committed_under_its_digest() {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::new(folder.path());
    let content = || Box::pin(stream::iter([Ok("content".into())]));
    let digest = Digest::sha256_of(b"content");

    let mut upload = layout.start_upload().await.unwrap();
    upload.send(content()).await.unwrap();
    drop(upload);
    let mut upload = layout.start_upload().await.unwrap();
    upload.send(content()).await.unwrap();
    let error = upload.commit(&Digest::sha256_of(b"other")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContentMismatch);
    assert_eq!(layout.blob_presence(&digest).await, Presence::Absent);
    assert_eq!(std::fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 0);

    let mut upload = layout.start_upload().await.unwrap();
    upload.send(content()).await.unwrap();
    upload.commit(&digest).await.unwrap();
    let read: Vec<bytes::Bytes> = layout.blob(&digest).await.unwrap().try_collect().await.unwrap();
    assert_eq!(read.concat(), b"content");
}

#[tokio::test]
async fn sha512_content_is_stored_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::new(folder.path());
    let digest = |text: &str| Digest::from_sha512(Sha512::digest(text).into());
    let content = || Box::pin(stream::iter([Ok("content".into())]));
    let mut upload = layout.start_upload().await.unwrap();
    upload.send(content()).await.unwrap();
    upload.commit(&digest("content")).await.unwrap();
    assert_eq!(layout.blob_presence(&digest("content")).await, Presence::Present);
    let mut upload = layout.start_upload().await.unwrap();
    upload.send(content()).await.unwrap();
    let error = upload.commit(&digest("other")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ContentMismatch);

    let manifest = RawManifest { digest: digest("{}"), ..RawManifest::new("{}".into()) };
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, None).await.unwrap();
    let read = layout.manifest(ManifestKey::Digest(&manifest.digest)).await.unwrap();
    assert_eq!(read.bytes, manifest.bytes);
}

#[tokio::test]
async fn error_names_missing_tags_and_damaged_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::new(folder.path());
    let tag: Tag = "v1".parse().unwrap();
    let missing = layout.manifest(ManifestKey::Tag(&tag)).await.unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);

    let manifest = RawManifest::new("{}".into());
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
    let other: Tag = "v2".parse().unwrap();
    let missing = layout.manifest(ManifestKey::Tag(&other)).await.unwrap_err().chain();
    assert!(missing.contains("names no image \"v2\""), "{missing}");

    std::fs::write(layout.blob_path(&manifest.digest), "{ }").unwrap();
    let damaged = layout.manifest(ManifestKey::Tag(&tag)).await.unwrap_err();
    assert_eq!(damaged.kind, ErrorKind::ContentMismatch);
}

#[tokio::test]
async fn repository_shows_and_writes_its_own_names_only() {
    let folder = tempfile::tempdir().unwrap();
    let named = |repository: Option<&str>| {
        LayoutFolder::with_repository(folder.path(), repository.map(str::to_owned))
    };
    let (plain, rancher) = (named(None), named(Some("rancher/local")));
    let (tag, other): (Tag, Tag) = ("v1".parse().unwrap(), "v2".parse().unwrap());
    let manifests = [r#"{"a":1}"#, r#"{"a":2}"#].map(|text| RawManifest::new(text.into()));
    plain.put_manifest(&manifests[0], media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
    rancher.put_manifest(&manifests[1], media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
    assert_eq!(names(&plain).await, ["v1", "rancher/local:v1"]);
    for (store, manifest) in [(&plain, &manifests[0]), (&rancher, &manifests[1])] {
        assert_eq!(store.tags(10).await.unwrap(), std::slice::from_ref(&tag));
        assert_eq!(store.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
        assert!(store.find_manifest(ManifestKey::Tag(&other)).await.unwrap().is_none());
    }
    assert_eq!(rancher.location(), format!("oci:{}:rancher/local", folder.path().display()));
}

#[tokio::test]
async fn layout_without_its_marker_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, tag) = (LayoutFolder::new(folder.path()), "v1".parse().unwrap());
    let manifest = RawManifest::new("{}".into());
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
    std::fs::remove_file(folder.path().join("oci-layout")).unwrap();
    assert_eq!(layout.manifest(ManifestKey::Tag(&tag)).await.unwrap().digest, manifest.digest);
    // A writer adds it again.
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, None).await.unwrap();
    assert!(folder.path().join("oci-layout").is_file());
}

#[tokio::test]
async fn folder_that_is_no_layout_is_named_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let index = async |path: &Path| LayoutFolder::new(path).index().await.unwrap_err().chain();
    let missing = index(&folder.path().join("missing")).await;
    assert!(missing.contains("missing doesn't exist"), "{missing}");
    let empty = index(folder.path()).await;
    assert!(empty.contains("no index.json: it is no OCI layout"), "{empty}");
    std::fs::write(folder.path().join("index.json"), vec![b' '; zstart_oci::MANIFEST_MAX + 1]).unwrap();
    let huge = index(folder.path()).await;
    assert!(huge.contains("index.json exceeds the limit of 4194304 bytes"), "{huge}");
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion":"3"}"#).unwrap();
    let version = index(folder.path()).await;
    assert!(version.contains("has version \"3\""), "{version}");
    let file = index(&folder.path().join("index.json")).await;
    assert!(file.contains("is read as oci-archive:"), "{file}");
}

#[tokio::test]
async fn tag_of_two_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let layout = LayoutFolder::new(folder.path());
    let tags: [Tag; 2] = ["v1", "v2"].map(|tag| tag.parse().unwrap());
    for (tag, text) in tags.iter().zip([r#"{"a":1}"#, r#"{"a":2}"#]) {
        let manifest = RawManifest::new(text.into());
        layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(tag)).await.unwrap();
    }
    let index = folder.path().join("index.json");
    let text = std::fs::read_to_string(&index).unwrap().replace("\"v2\"", "\"v1\"");
    std::fs::write(&index, text).unwrap();
    let error = layout.manifest(ManifestKey::Tag(&tags[0])).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other);
    assert!(error.chain().contains("2 different images \"v1\""), "{}", error.chain());
    // A writer replaces both.
    let manifest = RawManifest::new("{}".into());
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tags[0])).await.unwrap();
    assert_eq!(layout.manifest(ManifestKey::Tag(&tags[0])).await.unwrap().digest, manifest.digest);
    assert_eq!(names(&layout).await, ["v1"]);
}

#[cfg(unix)]
#[tokio::test]
async fn named_pipe_in_a_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (layout, tag) = (LayoutFolder::new(folder.path()), "v1".parse().unwrap());
    let manifest = RawManifest::new("{}".into());
    layout.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(&tag)).await.unwrap();
    let index = folder.path().join("index.json");
    for path in [layout.blob_path(&manifest.digest), index, folder.path().join("oci-layout")] {
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = layout.manifest(ManifestKey::Tag(&tag)).await.unwrap_err().chain();
        assert!(error.contains(&format!("{} is no regular file", path.display())), "{error}");
    }
}
