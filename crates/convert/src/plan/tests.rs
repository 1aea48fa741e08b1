//! Tests of the plan.

use serde_json::{Value, json};

use super::*;
use zstart_oci::Document;

fn digest(seed: &str) -> Digest {
    Digest::sha256_of(seed.as_bytes())
}

fn layer(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": digest(media_type), "size": 10})
}

fn manifest(layers: &[&str], more: &Value) -> (RawManifest, ImageManifest) {
    let layers: Vec<Value> = layers.iter().map(|media_type| layer(media_type)).collect();
    let mut document = json!({
        "schemaVersion": 2, "layers": layers,
        "config": {"mediaType": media_type::OCI_CONFIG, "digest": digest("config"), "size": 2},
    });
    for (key, value) in more.as_object().unwrap() {
        document[key] = value.clone();
    }
    let raw = RawManifest::new(document.to_string().into());
    let Document::Manifest(manifest) = raw.read().unwrap() else { panic!("not a manifest") };
    (raw, manifest)
}

fn config(os: &str, layers: usize) -> ImageConfig {
    let diff_ids = (0..layers).map(|layer| digest(&layer.to_string())).collect();
    ImageConfig { platform: Some(Platform::new(os, "amd64")), diff_ids }
}

fn plan(layers: &[&str], config: &ImageConfig) -> Result<ManifestPlan, Refusal> {
    let (raw, manifest) = manifest(layers, &json!({}));
    ManifestPlan::new(raw, manifest, config, None)
}

#[test]
fn gzip_and_plain_layers_are_converted_and_zstd_ones_kept() {
    let layers = [
        media_type::DOCKER_TAR_GZIP,
        media_type::OCI_TAR_GZIP,
        media_type::OCI_TAR,
        media_type::OCI_TAR_ZSTD,
        media_type::DOCKER_TAR_ZSTD,
    ];
    let plan = plan(&layers, &config("linux", 5)).unwrap();
    assert_eq!(plan.layers_to_convert(), 3);
    assert_eq!(plan.source_bytes(), 50);
}

#[test]
fn foreign_encrypted_and_unknown_layers_are_refused() {
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    let helm = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
    let refusal =
        |media_type| plan(&[media_type::OCI_TAR_GZIP, media_type], &config("linux", 2)).unwrap_err();
    assert_eq!(refusal(foreign), Refusal::ForeignLayer { digest: digest(foreign) });
    assert_eq!(refusal(encrypted), Refusal::EncryptedLayer { digest: digest(encrypted) });
    assert_eq!(refusal(helm), Refusal::UnknownLayer { digest: digest(helm), media_type: helm.into() });
}

#[test]
fn layers_with_other_digests_than_sha256_are_refused() {
    let other: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
    let config = ImageConfig { diff_ids: vec![other.clone()], ..config("linux", 1) };
    assert_eq!(
        plan(&[media_type::OCI_TAR_GZIP], &config).unwrap_err(),
        Refusal::UnsupportedDigest { digest: other }
    );
}

#[test]
fn config_without_matching_layers_or_platform_is_refused() {
    let layers = [media_type::OCI_TAR_GZIP];
    for diff_ids in [0, 2] {
        let refusal = plan(&layers, &config("linux", diff_ids)).unwrap_err();
        assert_eq!(refusal, Refusal::LayerCount { layers: 1, diff_ids });
    }
    assert_eq!(plan(&layers, &config("windows", 1)).unwrap_err(), Refusal::Windows);
    let nowhere = ImageConfig { platform: None, diff_ids: vec![digest("0")] };
    assert_eq!(plan(&layers, &nowhere).unwrap_err(), Refusal::NoPlatform);
}

#[test]
fn platform_of_the_index_counts_before_the_config() {
    let listed = |config: &ImageConfig, platform: &str| {
        let (raw, manifest) = manifest(&[media_type::OCI_TAR_GZIP], &json!({}));
        let planned = ManifestPlan::new(raw, manifest, config, Some(&platform.parse().unwrap()));
        planned.map(|planned| planned.platform.to_string())
    };
    let nowhere = ImageConfig { platform: None, diff_ids: vec![digest("0")] };
    assert_eq!(listed(&nowhere, "linux/arm64/v8").unwrap(), "linux/arm64/v8");
    assert_eq!(listed(&config("linux", 1), "linux/X86_64").unwrap(), "linux/X86_64", "as written");
    for (config, platform) in [(config("Windows", 1), "linux/amd64"), (nowhere, "Windows/amd64")] {
        assert_eq!(listed(&config, platform), Err(Refusal::Windows));
    }
}

#[test]
fn artifacts_and_variants_are_refused() {
    let image = |more: Value| require_image(&manifest(&[], &more).1);
    assert_eq!(image(json!({})), Ok(()));
    assert_eq!(image(json!({"artifactType": "x"})), Err(Refusal::Artifact { member: "artifactType" }));
    assert_eq!(image(json!({"subject": {}})), Err(Refusal::Artifact { member: "subject" }));
    let annotated = json!({"annotations": {zstart_core::keys::SOURCE_DIGEST: digest("source")}});
    assert_eq!(image(annotated), Err(Refusal::IsVariant));
    let helm = "application/vnd.cncf.helm.config.v1+json";
    let chart = json!({"config": {"mediaType": helm, "digest": digest("c"), "size": 2}});
    assert_eq!(image(chart), Err(Refusal::NotAnImage { media_type: helm.into() }));
}

#[test]
fn configs_of_charts_wasm_and_signatures_are_refused() {
    for media_type in [
        "application/vnd.cncf.helm.config.v1+json",
        "application/vnd.wasm.config.v0+json",
        "application/vnd.oci.empty.v1+json",
        "application/vnd.dev.cosign.simplesigning.v1+json",
        "application/vnd.syft+json",
    ] {
        let config = json!({"config": {"mediaType": media_type, "digest": digest("c"), "size": 2}});
        let refusal = require_image(&manifest(&[], &config).1).unwrap_err();
        assert_eq!(refusal, Refusal::NotAnImage { media_type: media_type.into() });
    }
}

#[test]
fn manifest_with_soci_annotation_is_refused() {
    let index = digest("index").to_string();
    let annotated = json!({"annotations": {"com.amazon.soci.index-digest": index}});
    assert_eq!(require_image(&manifest(&[], &annotated).1), Err(Refusal::Soci { index }));
}

#[test]
fn index_keeps_unselected_and_drops_stale_attestations() {
    let entry = |seed: &str, os: &str, architecture: &str, attests: Option<&str>| {
        let mut entry = json!({
            "mediaType": media_type::OCI_MANIFEST, "digest": digest(seed), "size": 1,
            "platform": {"os": os, "architecture": architecture},
        });
        if let Some(of) = attests {
            entry["annotations"] = json!({"vnd.docker.reference.digest": digest(of)});
        }
        entry
    };
    let document = json!({"schemaVersion": 2, "manifests": [
        entry("amd64", "linux", "amd64", None),
        entry("arm64", "linux", "arm64", None),
        entry("windows", "windows", "amd64", None),
        entry("of amd64", "unknown", "unknown", Some("amd64")),
        entry("of arm64", "unknown", "unknown", Some("arm64")),
    ]});
    let Document::Index(index) = RawManifest::new(document.to_string().into()).read().unwrap() else {
        panic!("not an index")
    };
    let selection = PlatformSelection::Only(vec![Platform::new("linux", "amd64")]);
    let decided: Vec<_> = index.entries.iter().map(|entry| keep_entry(entry, &selection)).collect();
    assert_eq!(
        decided,
        [
            None,
            Some(KeepReason::NotSelected),
            Some(KeepReason::Refused(Refusal::Windows)),
            Some(KeepReason::NoPlatform),
            Some(KeepReason::NoPlatform),
        ]
    );
    let converted = plan(&[media_type::OCI_TAR], &config("linux", 1)).unwrap();
    let mut entries: Vec<EntryPlan> = decided
        .into_iter()
        .map(|keep| keep.map_or_else(|| EntryPlan::Convert(Box::new(converted.clone())), EntryPlan::Keep))
        .collect();
    drop_attestations(&index, &mut entries);
    assert!(matches!(entries[3], EntryPlan::Drop));
    assert!(matches!(entries[4], EntryPlan::Keep(KeepReason::NoPlatform)));
}
