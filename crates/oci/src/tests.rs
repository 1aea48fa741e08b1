//! Tests of parsing and editing OCI documents.

use zstart_core::{Digest, keys};

use super::*;

const INDEX: &str = r#"{"schemaVersion": 2,
 "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
 "x-unknown": {"b": 1.50, "a": "\u0026"},
 "manifests": [{"mediaType":"application/vnd.docker.distribution.manifest.v2+json","size":7,
  "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "platform": {"os":"linux", "architecture":"arm64",  "os.features": ["a"]}, "x-own": [1,  2]}]}"#;

fn digest(seed: &str) -> Digest {
    Digest::sha256_of(seed.as_bytes())
}

fn read(text: &str) -> Result<Document, ManifestError> {
    RawManifest::new(text.to_owned().into()).read()
}

#[test]
fn unknown_members_keep_their_bytes() {
    let Document::Index(index) = read(INDEX).unwrap() else { panic!("not an index") };
    let entry = index.entries[0].descriptor.converted(digest("new"), 9).unwrap();
    let converted = index.converted(&digest("source"), "v1", &[entry]).unwrap();
    let text = std::str::from_utf8(&converted.bytes).unwrap();
    assert!(text.contains(r#""x-unknown":{"b": 1.50, "a": "\u0026"}"#), "{text}");
    assert!(text.contains(r#""platform":{"os":"linux", "architecture":"arm64",  "os.features": ["a"]}"#));
    assert!(text.contains(r#""x-own":[1,  2]"#), "{text}");
    let Document::Index(again) = converted.read().unwrap() else { panic!("not an index") };
    assert_eq!(again.entries[0].platform.as_ref().unwrap().to_string(), "linux/arm64");
    assert_eq!(again.annotations().unwrap()[keys::SOURCE_DIGEST], digest("source").to_string());
    assert_eq!(
        again.entries[0].descriptor.annotations().unwrap()[keys::SOURCE_DIGEST],
        index.entries[0].descriptor.digest().to_string()
    );
}

#[test]
fn manifest_of_400000_members_is_read_in_linear_time() {
    // About as many members as fit into a manifest of MANIFEST_MAX. Comparing all pairs would need minutes.
    let members: Vec<String> = (0..400_000).map(|number| format!("\"{number:x}\":0")).collect();
    let text = format!("{{{}}}", members.join(","));
    assert!(text.len() < crate::MANIFEST_MAX);
    assert!(read(&text).is_err(), "the object is no manifest");
    let twice = text.replacen("\"1\":0", "\"2\":0", 1);
    assert!(read(&twice).unwrap_err().to_string().contains("sha256:"));
}

#[test]
fn recompressed_layer_drops_annotations_of_old_bytes() {
    let layer: Descriptor = serde_json::from_value(serde_json::json!({
        "mediaType": media_type::DOCKER_TAR_GZIP, "size": 3, "digest": digest("gzip"),
        "data": "AAAA", "urls": ["https://elsewhere.example/x"],
        "annotations": {
            "containerd.io/snapshot/stargz/toc.digest": "x", "io.containers.estargz.uncompressed-size": "9",
            "io.github.containers.zstd-chunked.manifest-position": "1:2:3:1", "keep": "me",
        },
    }))
    .unwrap();
    let zstd = serde_json::to_value(layer.recompressed(digest("zstd"), 2).unwrap()).unwrap();
    assert_eq!(
        zstd,
        serde_json::json!({
            "mediaType": media_type::OCI_TAR_ZSTD, "size": 2, "digest": digest("zstd"),
            "annotations": {"keep": "me", keys::LAYER_SOURCE_DIGEST: digest("gzip")},
        })
    );
}

#[test]
fn ambiguous_manifest_is_refused() {
    assert!(matches!(
        read(r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#),
        Err(ManifestError::Ambiguous { .. })
    ));
    let null_twice = read(r#"{"schemaVersion":2,"layers":null,"layers":[]}"#).unwrap_err();
    assert!(matches!(null_twice, ManifestError::Json { .. }), "{null_twice}");
    let twice = read(r#"{"schemaVersion":2,"layers":[],"layers":[]}"#).unwrap_err();
    assert!(matches!(twice, ManifestError::Json { .. }), "{twice}");
}

#[test]
fn null_members_count_as_absent_and_keep_their_bytes() {
    let config = serde_json::to_string(&Descriptor::new(media_type::OCI_CONFIG, digest("c"), 2).unwrap());
    let config = config.unwrap();
    let layer = format!(
        r#"{{"mediaType":"{}","digest":"{}","size":3,"annotations":{{"a":null}},"urls":null,"data": null}}"#,
        media_type::OCI_TAR_GZIP,
        digest("layer")
    );
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":null,"artifactType": null,"subject":null,"manifests":null,
            "config":{config},"layers":[{layer}],"annotations": null,"x": null}}"#
    );
    let source = RawManifest::new(text.into());
    let Document::Manifest(image) = source.read().unwrap() else { panic!("not a manifest") };
    assert_eq!(source.media_type().unwrap(), media_type::OCI_MANIFEST);
    assert_eq!(image.artifact_member(), None);
    assert!(image.annotations().unwrap().is_empty());
    assert!(image.layers[0].annotations().unwrap().is_empty());
    let layer = image.layers[0].recompressed(digest("zstd"), 2).unwrap();
    let variant = image.converted(&source.digest, "level=3", &[layer]).unwrap();
    let text = std::str::from_utf8(&variant.bytes).unwrap();
    assert!(text.contains(r#""artifactType":null,"subject":null,"manifests":null"#), "{text}");
    assert!(text.contains(r#""annotations":{"a":null,"#) && text.contains(r#""x":null"#), "{text}");

    let index = RawManifest::new(INDEX.replacen('{', r#"{"layers":null,"subject":null,"#, 1).into());
    let Document::Index(index) = index.read().unwrap() else { panic!("not an index") };
    assert_eq!((index.entries.len(), index.artifact_member()), (1, None));
}

#[test]
fn image_without_layers_is_read() {
    let config = serde_json::to_string(&Descriptor::new(media_type::OCI_CONFIG, digest("c"), 2).unwrap());
    for layers in ["[]", "null"] {
        let text =
            format!(r#"{{"schemaVersion":2,"config":{},"layers":{layers}}}"#, config.as_ref().unwrap());
        let Document::Manifest(image) = read(&text).unwrap() else { panic!("not a manifest") };
        assert!(image.layers.is_empty());
    }
    for config in [
        r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":null}}"#,
        r#"{"os":"linux","architecture":"amd64","variant":null,"rootfs":null,"history":null}"#,
        r#"{"os":"linux","architecture":"amd64"}"#,
    ] {
        let config = ImageConfig::parse(config.as_bytes()).unwrap();
        assert_eq!((config.diff_ids.len(), config.platform.is_some()), (0, true));
    }
}

#[test]
fn manifest_contradicting_its_content_type_is_refused() {
    let served = |text: &str, content_type: &str| {
        RawManifest::new(text.to_owned().into()).with_content_type(content_type).read()
    };
    let bare = r#"{"schemaVersion":2,"manifests":[]}"#;
    for content_type in ["", "application/json", "text/plain; charset=utf-8", media_type::DOCKER_INDEX] {
        assert!(served(INDEX, content_type).is_ok(), "{content_type}");
    }
    assert!(served(bare, &format!("{}; charset=utf-8", media_type::OCI_INDEX)).is_ok());
    for (text, content_type) in [
        (INDEX, media_type::OCI_INDEX),
        (INDEX, media_type::DOCKER_MANIFEST),
        (bare, media_type::OCI_MANIFEST),
    ] {
        let error = served(text, content_type).unwrap_err();
        assert!(matches!(&error, ManifestError::Contradiction { .. }), "{error}");
        assert!(error.to_string().contains(content_type), "{error}");
    }
}

#[test]
fn index_entry_media_type_falls_back_to_the_index() {
    let entry = Descriptor::new("application/x-listed", digest("x"), 1).unwrap();
    for (text, media_type) in [
        (r#"{"mediaType":"application/x-own"}"#, "application/x-own"),
        (r#"{"layers":[]}"#, "application/x-listed"),
        ("not JSON", "application/x-listed"),
    ] {
        let raw = RawManifest::new(text.into());
        assert_eq!(raw.media_type_for_entry(&entry), media_type, "{text}");
    }
}

#[test]
fn non_image_manifests_have_distinct_errors() {
    assert!(matches!(read(r#"{"schemaVersion":1,"fsLayers":[]}"#), Err(ManifestError::Schema1 { .. })));
    assert!(matches!(
        read(r#"{"schemaVersion":2,"mediaType":"application/x-other"}"#),
        Err(ManifestError::UnknownType { .. })
    ));
    for text in ["", "[]", "null", "{", r#"{"layers":[{"digest":"sha256:../.."}],"config":{}}"#] {
        assert!(matches!(read(text), Err(ManifestError::Json { .. })), "{text}");
    }
}

#[test]
fn config_with_invalid_platform_has_no_platform() {
    let platform = |variant: &str| {
        let config = serde_json::json!({
            "os": "linux", "architecture": "arm64", "variant": variant, "rootfs": {"diff_ids": []},
        });
        ImageConfig::parse(config.to_string().as_bytes()).unwrap().platform
    };
    assert_eq!(platform("v8"), Some("linux/arm64/v8".parse().unwrap()));
    assert_eq!(platform(""), Some("linux/arm64".parse().unwrap()));
    assert_eq!(platform("v 8"), None);
}

#[test]
fn layer_kind_follows_the_media_type() {
    use media_type::{LayerKind, layer_kind};
    for (text, kind) in [
        (media_type::OCI_TAR_GZIP, LayerKind::Gzip),
        (media_type::DOCKER_TAR_ZSTD, LayerKind::Zstd),
        ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", LayerKind::Encrypted),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", LayerKind::Foreign),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", LayerKind::Foreign),
        ("application/vnd.wasm.content.layer.v1+wasm", LayerKind::Unknown),
    ] {
        assert_eq!(layer_kind(text), kind, "{text}");
    }
}
