//! Indexes: platforms, unchanged and dropped entries, order.

use super::*;

const INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Source with two platforms, an attestation of the first, and an entry that isn't converted.
struct IndexPair {
    lab: Lab,
    source: Value,
    variant: Value,
}

impl IndexPair {
    fn new() -> Self {
        let lab = Lab::new();
        let entry = |descriptor: Value, platform: Value| {
            let mut entry = descriptor;
            entry["platform"] = platform;
            entry
        };
        let (mut sources, mut variants) = (Vec::new(), Vec::new());
        for (architecture, plain) in [("amd64", &PLAIN[..]), ("arm64", &PLAIN[..1])] {
            let mut pair = Pair::of(plain);
            pair.source_config["architecture"] = json!(architecture);
            pair.variant_config = pair.source_config.clone();
            let (source, variant) = pair.store(&lab);
            let platform = json!({"os": "linux", "architecture": architecture, "os.version": "7"});
            let mut variant = entry(variant, platform.clone());
            variant["annotations"] = json!({keys::SOURCE_DIGEST: source["digest"]});
            sources.push(entry(source, platform));
            variants.push(variant);
        }
        let other = json!({"schemaVersion": 2, "config": descriptor("a", b"{}"), "layers": []});
        lab.json("variant", keys::OCI_MANIFEST, &other);
        let kept = entry(
            lab.json("source", keys::OCI_MANIFEST, &other),
            json!({"os": "windows", "architecture": "amd64"}),
        );
        let mut attestation = entry(kept.clone(), json!({"os": "unknown", "architecture": "unknown"}));
        attestation["annotations"] = json!({keys::ATTESTED_DIGEST: sources[0]["digest"]});
        sources.extend([kept.clone(), attestation]);
        variants.push(kept);
        Self {
            lab,
            source: json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": sources}),
            variant: json!({
                "schemaVersion": 2, "mediaType": keys::OCI_INDEX, "manifests": variants,
                "annotations": {keys::SETTINGS: "zstart/3"},
            }),
        }
    }

    async fn verify(&mut self, platforms: &[&str]) -> Result<Report, VerifyError> {
        let source = self.lab.json("source", INDEX, &self.source);
        self.variant["annotations"][keys::SOURCE_DIGEST] = source["digest"].clone();
        let variant = self.lab.json("variant", keys::OCI_INDEX, &self.variant);
        self.lab.verify(&source, &variant, platforms).await
    }

    async fn difference(&mut self) -> (DifferenceKind, String) {
        let report = self.verify(&[]).await.unwrap();
        let [difference] = &report.differences[..] else { panic!("{:#?}", report.differences) };
        (difference.kind, difference.to_string())
    }

    fn entries(&mut self) -> &mut Vec<Value> {
        self.variant["manifests"].as_array_mut().unwrap()
    }
}

#[tokio::test]
async fn right_index_is_equal() {
    let report = IndexPair::new().verify(&[]).await.unwrap();
    assert_eq!(report.differences, []);
    let platforms: Vec<&str> = report.platforms.iter().map(|platform| &*platform.platform).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
    let entries: Vec<_> =
        report.entries.iter().map(|entry| (entry.platform.as_deref(), entry.outcome)).collect();
    assert_eq!(
        entries,
        [(Some("windows/amd64"), EntryOutcome::Unchanged), (Some("unknown/unknown"), EntryOutcome::Dropped),]
    );
}

#[tokio::test]
async fn platform_option_selects_the_layers_to_read() {
    let report = IndexPair::new().verify(&["linux/arm64"]).await.unwrap();
    assert_eq!(report.platforms.len(), 1);
    assert!(report.entries.iter().any(|entry| entry.outcome == EntryOutcome::NotSelected));
    let error = IndexPair::new().verify(&["linux/s390x"]).await.unwrap_err().to_string();
    assert!(error.contains("for linux/s390x; it has linux/amd64, linux/arm64"), "{error}");
}

#[tokio::test]
async fn missing_platform_is_named() {
    let mut pair = IndexPair::new();
    pair.entries().remove(1);
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::Entries);
    assert!(text.starts_with("linux/arm64: the variant's index has no entry"), "{text}");
}

#[tokio::test]
async fn changed_platform_is_named() {
    for member in ["os.version", "variant", "architecture"] {
        let mut pair = IndexPair::new();
        pair.entries()[1]["platform"][member] = json!("8");
        let (kind, text) = pair.difference().await;
        assert_eq!(kind, DifferenceKind::Member);
        assert_eq!(text, "linux/arm64: member platform of the index entry differs");
    }
}

#[tokio::test]
async fn changed_unchanged_entry_is_named() {
    let mut pair = IndexPair::new();
    pair.entries()[2]["annotations"] = json!({"org.example": "added"});
    let report = pair.verify(&[]).await.unwrap();
    let texts: Vec<_> = report.differences.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), 2, "{texts:#?}");
    assert!(texts[0].starts_with("windows/amd64: the variant's index has no entry"), "{texts:#?}");
    assert!(texts[1].contains("which the source lacks"), "{texts:#?}");
}

#[tokio::test]
async fn additional_entries_are_named() {
    let mut pair = IndexPair::new();
    let mut more = pair.entries()[0].clone();
    more["platform"]["architecture"] = json!("riscv64");
    pair.entries().push(more);
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::Entries);
    assert!(text.contains("which the source lacks"), "{text}");
}

#[tokio::test]
async fn kept_attestation_of_a_converted_image_differs() {
    let mut pair = IndexPair::new();
    let attestation = pair.source["manifests"][3].clone();
    pair.entries().push(attestation);
    let (kind, text) = pair.difference().await;
    assert_eq!(kind, DifferenceKind::Entries);
    assert!(text.contains("attestation"), "{text}");
}

#[tokio::test]
async fn another_order_differs() {
    let mut pair = IndexPair::new();
    pair.entries().swap(0, 2);
    let (kind, text) = pair.difference().await;
    assert_eq!(
        (kind, &*text),
        (DifferenceKind::Entries, "the variant's index has the source's entries in another order")
    );
}

#[tokio::test]
async fn nested_index_is_refused() {
    let mut pair = IndexPair::new();
    pair.source["manifests"][0]["mediaType"] = json!(INDEX);
    let error = pair.verify(&[]).await.unwrap_err();
    assert!(matches!(error, VerifyError::Unsupported { .. }), "{error}");
    assert!(error.to_string().contains("inside its index"), "{error}");
}

#[tokio::test]
async fn index_and_manifest_differ() {
    let lab = Lab::new();
    let (source, variant) = Pair::new().store(&lab);
    let index = json!({
        "schemaVersion": 2, "mediaType": keys::OCI_INDEX, "manifests": [variant],
        "annotations": {keys::SOURCE_DIGEST: source["digest"]},
    });
    let variant = lab.json("variant", keys::OCI_INDEX, &index);
    let report = lab.verify(&source, &variant, &[]).await.unwrap();
    assert_eq!(report.differences[0].kind, DifferenceKind::Kind);
}
