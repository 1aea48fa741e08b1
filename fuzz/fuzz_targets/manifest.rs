//! Parses arbitrary manifests and indexes: the variant of a valid one parses again and keeps its content.

#![no_main]

use libfuzzer_sys::fuzz_target;
use zstart_oci::{Document, ImageConfig, RawManifest};
use zstart_core::{Digest, keys};

fuzz_target!(|bytes: &[u8]| {
    let _ = ImageConfig::parse(bytes);
    let raw = RawManifest::new(bytes.to_vec().into());
    let source = Digest::sha256_of(b"source");
    match raw.read() {
        Ok(Document::Manifest(manifest)) => {
            let Ok(variant) = manifest.converted(&source, "settings", &manifest.layers) else { return };
            let Ok(Document::Manifest(again)) = variant.read() else { panic!("the variant can't be parsed") };
            assert_eq!(again.layers.len(), manifest.layers.len());
            assert_eq!(again.config.digest(), manifest.config.digest());
            assert_eq!(again.annotations().unwrap()[keys::SOURCE_DIGEST], source.as_str());
        }
        Ok(Document::Index(index)) => {
            let entries: Vec<_> = index.entries.iter().map(|entry| entry.descriptor.clone()).collect();
            let Ok(variant) = index.converted(&source, "settings", &entries) else { return };
            let Ok(Document::Index(again)) = variant.read() else { panic!("the variant can't be parsed") };
            assert_eq!(again.entries.len(), index.entries.len());
        }
        Err(_) => {}
    }
});
