//! One manifest, config and layers.

use super::*;
use crate::Compression;

#[tokio::test]
async fn right_variant_is_equal() {
    let report = Pair::new().verify().await.unwrap();
    assert_eq!(report.differences, []);
    let [platform] = &report.platforms[..] else { panic!("{report:#?}") };
    assert_eq!((&*platform.platform, platform.layers.len()), ("linux/amd64", 2));
    for (layer, plain) in platform.layers.iter().zip(PLAIN) {
        assert!(layer.equal);
        assert_eq!(layer.source.compression, Some(Compression::Gzip));
        assert_eq!(layer.variant.compression, Some(Compression::Zstd));
        assert_eq!(layer.variant.plain_digest, Some(Digest::sha256_of(plain)));
        assert_eq!(layer.variant.plain_bytes, Some(plain.len() as u64));
    }
}

#[tokio::test]
async fn unchanged_zstd_layer_is_equal() {
    let mut pair = Pair::new();
    pair.source_layers[1] = pair.variant_layers[1].clone();
    pair.change_source = |manifest| {
        manifest["layers"][1]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.zstd");
    };
    let report = pair.verify().await.unwrap();
    assert_eq!(report.differences, []);
    let layer = &report.platforms[0].layers[1];
    assert_eq!(layer.source.digest, layer.variant.digest);
    assert_eq!(layer.source.compression, Some(Compression::Zstd));
}

#[tokio::test]
async fn changed_byte_of_a_layer_is_named() {
    let mut pair = Pair::new();
    let mut plain = PLAIN[1].to_vec();
    plain[4] ^= 1;
    pair.variant_layers[1] = zstd(&plain);
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::PlainDigest);
    assert!(text.starts_with("linux/amd64, layer 2: the variant's sha256:"), "{text}");
    assert!(text.contains(Digest::sha256_of(&plain).as_str()), "{text}");
}

#[tokio::test]
async fn equal_layers_must_match_the_diff_id() {
    let mut pair = Pair::new();
    pair.source_layers[0] = gzip(b"other files");
    pair.variant_layers[0] = zstd(b"other files");
    let differences = pair.differences().await;
    let kinds: Vec<_> = differences.iter().map(|difference| (difference.kind, difference.layer)).collect();
    assert_eq!(kinds, [(DifferenceKind::PlainDigest, Some(1)); 2]);
}

#[tokio::test]
async fn swapped_layers_differ() {
    let mut pair = Pair::new();
    pair.variant_layers.swap(0, 1);
    let differences = pair.differences().await;
    let layers: Vec<_> = differences.iter().map(|difference| difference.layer).collect();
    assert_eq!(layers, [Some(1), Some(2)], "{differences:#?}");
}

#[tokio::test]
async fn missing_and_additional_layers_are_counted() {
    let mut pair = Pair::new();
    pair.variant_layers.pop();
    let differences = pair.differences().await;
    assert_eq!(differences[0].kind, DifferenceKind::LayerCount);
    let text = differences[0].to_string();
    assert!(
        text.ends_with("the source has 2 layers, the variant 1 layer, the config names 2 layers"),
        "{text}"
    );
    let mut pair = Pair::new();
    pair.variant_layers.push(zstd(b"one more"));
    assert_eq!(pair.differences().await[0].kind, DifferenceKind::LayerCount);
}

#[tokio::test]
async fn history_must_match_the_layers() {
    let mut pair = Pair::new();
    pair.source_config["history"].as_array_mut().unwrap().remove(0);
    pair.variant_config = pair.source_config.clone();
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::LayerCount);
    assert!(text.ends_with("the config's history has 1 layer, the variant 2 layers"), "{text}");
    for absent in [json!(null), json!([])] {
        pair.source_config["history"] = absent;
        pair.variant_config = pair.source_config.clone();
        assert_eq!(pair.differences().await, []);
    }
}

#[tokio::test]
async fn changed_config_differs() {
    let mut pair = Pair::new();
    pair.variant_config["architecture"] = json!("amd65");
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::Config);
    assert!(text.contains("the variant's config is sha256:"), "{text}");
}

#[tokio::test]
async fn damaged_layers_are_faults_of_their_image() {
    let frame = zstd(PLAIN[1]);
    let second = zstd(b"appended");
    for (damaged, kind) in [
        (frame[..frame.len() - 1].to_vec(), DifferenceKind::VariantContent),
        ([&frame[..], b"trailing garbage"].concat(), DifferenceKind::VariantContent),
        // Valid, and decodes to more bytes.
        ([&frame[..], &second].concat(), DifferenceKind::PlainDigest),
    ] {
        let mut pair = Pair::new();
        pair.variant_layers[1] = damaged;
        let (found, text) = pair.difference().await;
        assert_eq!(found, kind, "{text}");
        assert!(text.starts_with("linux/amd64, layer 2: the variant's"), "{text}");
    }
    let mut pair = Pair::new();
    pair.source_layers[0].extend_from_slice(b"trailing garbage");
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::SourceContent, "{text}");
}

#[tokio::test]
async fn gzip_members_of_the_source_count() {
    let mut pair = Pair::new();
    let (front, back) = PLAIN[0].split_at(9);
    pair.source_layers[0] = [gzip(front), gzip(back)].concat();
    assert_eq!(pair.differences().await, []);
    pair.source_layers[0] = gzip(front);
    assert_eq!(pair.difference().await.0, DifferenceKind::PlainDigest);
}

#[tokio::test]
async fn wrong_descriptor_size_is_a_fault() {
    for size in [1, 1_000_000] {
        let mut pair = Pair::new();
        pair.change_variant = if size == 1 {
            |manifest| manifest["layers"][0]["size"] = json!(1)
        } else {
            |manifest| manifest["layers"][0]["size"] = json!(1_000_000)
        };
        let (kind, text) = pair.difference().await;
        assert_eq!(kind, DifferenceKind::VariantContent);
        let relation = if size == 1 { "more" } else { "fewer" };
        assert!(text.contains(&format!("{relation} bytes than its descriptor's {size}")), "{text}");
    }
}

#[tokio::test]
async fn gzip_layer_under_the_zstd_type_differs() {
    let mut pair = Pair::new();
    pair.variant_layers[0] = gzip(PLAIN[0]);
    pair.source_layers[0] = zstd(PLAIN[0]);
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::MediaType);
    assert!(text.ends_with("is gzip, not zstd"), "{text}");
}

#[tokio::test]
async fn members_and_annotations_must_be_carried_over() {
    for (change, kind, said) in [
        (
            (|manifest| manifest["annotations"]["org.example.note"] = json!("changed")) as fn(&mut Value),
            DifferenceKind::Member,
            "annotations of the manifest",
        ),
        (|manifest| manifest["org.example"] = json!(1), DifferenceKind::Member, "member org.example of"),
        (
            |manifest| manifest["layers"][0]["annotations"]["org.example.note"] = json!("added"),
            DifferenceKind::Member,
            "annotations of the layer's descriptor",
        ),
        (
            |manifest| manifest["layers"][0]["annotations"][keys::LAYER_SOURCE_DIGEST] = json!("sha256:00"),
            DifferenceKind::SourceDigest,
            "was made from sha256:00",
        ),
        (
            |manifest| manifest["layers"][0]["mediaType"] = json!(keys::LAYER_TYPES[1]),
            DifferenceKind::MediaType,
            "has media type",
        ),
        (
            |manifest| manifest["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json"),
            DifferenceKind::MediaType,
            "the variant states media type",
        ),
        (
            |manifest| manifest["config"]["mediaType"] = json!(keys::CONFIG_TYPES[1]),
            DifferenceKind::MediaType,
            "the variant's config has media type",
        ),
    ] {
        let mut pair = Pair::new();
        pair.change_variant = change;
        let (found, text) = pair.difference().await;
        assert_eq!(found, kind, "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn stale_layer_annotations_are_not_expected() {
    let mut pair = Pair::new();
    pair.change_source = |manifest| {
        manifest["layers"][0]["annotations"] =
            json!({"containerd.io/snapshot/stargz/toc.digest": "sha256:00"});
    };
    assert_eq!(pair.differences().await, []);
}

#[tokio::test]
async fn variant_of_another_source_is_not_read() {
    for (change, said) in [
        (
            (|manifest| manifest["annotations"][keys::SOURCE_DIGEST] = json!("sha256:00")) as fn(&mut Value),
            "moved",
        ),
        (|manifest| manifest["annotations"][keys::SOURCE_DIGEST] = json!(null), "zstart did not make it"),
    ] {
        let mut pair = Pair::new();
        pair.change_variant = change;
        let report = pair.verify().await.unwrap();
        assert_eq!(report.differences.len(), 1, "{report:#?}");
        assert_eq!(report.differences[0].kind, DifferenceKind::SourceDigest);
        assert!(report.differences[0].message.contains(said), "{report:#?}");
        assert!(report.platforms.is_empty());
    }
}

#[tokio::test]
async fn unsupported_images_are_refused() {
    for (change, said) in [
        (
            (|manifest| {
                manifest["layers"][0]["mediaType"] =
                    json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
            }) as fn(&mut Value),
            "foreign.diff.tar.gzip\", which zstart does not convert",
        ),
        (|manifest| manifest["artifactType"] = json!("application/wasm"), "is an artifact"),
        (
            |manifest| manifest["config"]["mediaType"] = json!("application/vnd.cncf.helm.config.v1+json"),
            "is no container image",
        ),
        (|manifest| manifest["annotations"][keys::SOURCE_DIGEST] = json!("sha256:00"), "is a variant itself"),
    ] {
        let mut pair = Pair::new();
        pair.change_source = change;
        let error = pair.verify().await.unwrap_err();
        assert!(matches!(error, VerifyError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn documents_above_the_limit_are_refused() {
    let mut pair = Pair::new();
    pair.change_variant = |manifest| manifest["config"]["size"] = json!(5_000_000);
    pair.change_source = |manifest| manifest["config"]["size"] = json!(5_000_000);
    let differences = pair.differences().await;
    assert!(differences[0].message.contains("exceeds the limit of 4194304 bytes"), "{differences:#?}");
    pair = Pair::new();
    pair.change_variant =
        |manifest| manifest["annotations"]["org.example.long"] = json!("x".repeat(5_000_000));
    let error = pair.verify().await.unwrap_err();
    assert!(matches!(error, VerifyError::Content { .. }), "{error}");
}

#[tokio::test]
async fn manifest_that_could_be_read_in_two_ways_is_damaged() {
    let mut pair = Pair::new();
    pair.change_variant = |manifest| manifest["manifests"] = json!([]);
    let error = pair.verify().await.unwrap_err();
    assert!(matches!(error, VerifyError::Content { .. }), "{error}");
}

#[tokio::test]
async fn blob_with_other_bytes_than_its_digest_is_a_fault() {
    let lab = Lab::new();
    let pair = Pair::new();
    let (source, variant) = pair.store(&lab);
    let digest = Digest::sha256_of(&pair.variant_layers[0]);
    let mut changed = pair.variant_layers[0].clone();
    changed[8] ^= 1;
    fs::write(lab.path("variant").join("blobs/sha256").join(digest.hex()), &changed).unwrap();
    let report = lab.verify(&source, &variant, &[]).await.unwrap();
    let text = report.differences[0].to_string();
    // The digest explains more than the decoder's error.
    assert!(text.contains(&format!("have digest {}", Digest::sha256_of(&changed))), "{text}");
    fs::remove_file(lab.path("variant").join("blobs/sha256").join(digest.hex())).unwrap();
    let error = lab.verify(&source, &variant, &[]).await.unwrap_err();
    let VerifyError::Read { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind, crate::ReadErrorKind::NotFound);
}
