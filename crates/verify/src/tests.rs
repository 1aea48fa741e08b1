//! Comparison of layout folders that hold a source and variants with one fault each.

use std::fs;

use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Difference, DifferenceKind, Digest, EntryOutcome, Images, LayoutImage, Report, VerifyError, keys, verify,
};

mod images;
mod indexes;

/// Two layout folders.
struct Lab {
    folder: TempDir,
}

/// Source and variant of one platform. Tests change one part; all digests follow.
struct Pair {
    source_layers: Vec<Vec<u8>>,
    variant_layers: Vec<Vec<u8>>,
    source_config: Value,
    variant_config: Value,
    /// Changes to the manifests before they are stored.
    change_source: fn(&mut Value),
    change_variant: fn(&mut Value),
}

const PLAIN: [&[u8]; 2] = [b"the files of the first layer", b"the files of the second layer"];

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;

    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(plain, 3).unwrap()
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::sha256_of(content), "size": content.len()})
}

impl Pair {
    fn new() -> Self {
        Self::of(&PLAIN)
    }

    fn of(layers: &[&[u8]]) -> Self {
        let diff_ids: Vec<Digest> = layers.iter().map(|plain| Digest::sha256_of(plain)).collect();
        let mut history: Vec<Value> = layers.iter().map(|_| json!({"created_by": "COPY"})).collect();
        history.push(json!({"created_by": "ENV", "empty_layer": true}));
        let config = json!({
            "os": "linux", "architecture": "amd64",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": history,
        });
        Self {
            source_layers: layers.iter().map(|plain| gzip(plain)).collect(),
            variant_layers: layers.iter().map(|plain| zstd(plain)).collect(),
            source_config: config.clone(),
            variant_config: config,
            change_source: |_| {},
            change_variant: |_| {},
        }
    }

    /// Stores both manifests. Returns their descriptors.
    fn store(&self, lab: &Lab) -> (Value, Value) {
        let layers = |side: &str, media_type: &str, layers: &[Vec<u8>]| -> Vec<Value> {
            layers.iter().map(|layer| lab.blob(side, media_type, layer)).collect()
        };
        let config = |side: &str, media_type: &str, config: &Value| {
            lab.blob(side, media_type, config.to_string().as_bytes())
        };
        let gzip_type = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let mut source = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "config": config("source", keys::CONFIG_TYPES[1], &self.source_config),
            "layers": layers("source", gzip_type, &self.source_layers),
            "annotations": {"org.example.note": "kept"},
        });
        (self.change_source)(&mut source);
        let source_descriptor =
            lab.json("source", "application/vnd.docker.distribution.manifest.v2+json", &source);
        let mut variant_layers = layers("variant", keys::OCI_TAR_ZSTD, &self.variant_layers);
        for (variant, source) in variant_layers.iter_mut().zip(source["layers"].as_array().unwrap()) {
            if variant["digest"] != source["digest"] {
                variant["annotations"] = json!({keys::LAYER_SOURCE_DIGEST: source["digest"]});
            }
        }
        let mut variant = json!({
            "schemaVersion": 2,
            "mediaType": keys::OCI_MANIFEST,
            "config": config("variant", keys::OCI_CONFIG, &self.variant_config),
            "layers": variant_layers,
            "annotations": {
                "org.example.note": "kept",
                keys::SOURCE_DIGEST: source_descriptor["digest"],
                keys::SETTINGS: "zstart/3",
            },
        });
        (self.change_variant)(&mut variant);
        (source_descriptor, lab.json("variant", keys::OCI_MANIFEST, &variant))
    }

    async fn verify(&self) -> Result<Report, VerifyError> {
        let lab = Lab::new();
        let (source, variant) = self.store(&lab);
        lab.verify(&source, &variant, &[]).await
    }

    async fn differences(&self) -> Vec<Difference> {
        self.verify().await.unwrap().differences
    }

    /// The only difference, as text, and its kind.
    async fn difference(&self) -> (DifferenceKind, String) {
        let differences = self.differences().await;
        let [difference] = &differences[..] else { panic!("{differences:#?}") };
        (difference.kind, difference.to_string())
    }
}

impl Lab {
    fn new() -> Self {
        Self { folder: TempDir::with_prefix("zstart-verify-").unwrap() }
    }

    fn path(&self, side: &str) -> std::path::PathBuf {
        self.folder.path().join(side)
    }

    fn blob(&self, side: &str, media_type: &str, content: &[u8]) -> Value {
        let descriptor = descriptor(media_type, content);
        let folder = self.path(side).join("blobs/sha256");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(Digest::sha256_of(content).hex()), content).unwrap();
        descriptor
    }

    fn json(&self, side: &str, media_type: &str, document: &Value) -> Value {
        self.blob(side, media_type, document.to_string().as_bytes())
    }

    async fn verify(
        &self,
        source: &Value,
        variant: &Value,
        platforms: &[&str],
    ) -> Result<Report, VerifyError> {
        let open = |side: &str, descriptor: &Value| {
            let digest = Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap();
            LayoutImage::new(self.path(side), digest)
        };
        let (source, variant) = (open("source", source), open("variant", variant));
        let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        verify(Images { source: &source, variant: &variant }, &platforms).await
    }
}
