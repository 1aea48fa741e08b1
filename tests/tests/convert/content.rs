//! Content that doesn't match its digest, `diff_id` or size.

use anyhow::{Context as _, Result};
use http::Method;
use serde_json::json;
use zstart_convert::{DiffIdMismatch, Error, ErrorClass, Settings, UnpackLimits, plan, resolve};
use zstart_core::Digest;
use zstart_oci::CONFIG_MAX;
use zstart_oci::media_type;
use zstart_registry::LayoutFolder;
use zstart_registry::ManifestKey;
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::Fault;

use crate::conversion::Lab;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

fn image() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"configuration")]).large_layer("usr/bin/app", 500_000)
}

async fn require_nothing_made(lab: &Lab) -> Result<()> {
    assert!(!lab.has_pushed_a_manifest(), "{:?}", lab.writes());
    assert_eq!(RepositoryReader::new(&lab.registry, "app").tags().await?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn corrupted_layer_config_or_manifest_is_named() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
    let (layer, config) = (text(&source["layers"][1]["digest"])?, text(&source["config"]["digest"])?);
    for (what, name) in [(layer, layer), (config, config), ("/manifests/v1", "image v1")] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::GET, what, Fault::FlipBytes);
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::ContentMismatch, "{what}: {}", error.chain());
        assert!(error.chain().contains(name), "{what}: {}", error.chain());
        require_nothing_made(&lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn corrupted_kept_layer_is_detected_on_check_and_on_copy() -> Result<()> {
    let lab = Lab::start().await?;
    let image = Fixture::new().layer_as(Compression::Zstd, &[("a", b"zstd")]).layer(&[("b", b"gzip")]);
    image.push(&lab.registry.host(), "app:v1").await?;
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
    let layer = text(&source["layers"][0]["digest"])?;
    let elsewhere = format!("{}/mirror", lab.gateway.host());
    for honest_reads in [0, 1] {
        lab.gateway.clear_faults();
        lab.refuse_mounts();
        lab.gateway.fault_times(honest_reads, Method::GET, layer, Fault::PassThrough);
        lab.gateway.fault(Method::GET, layer, Fault::FlipBytes);
        let error = lab.conversion("app:v1").into(&elsewhere).run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::ContentMismatch, "{}", error.chain());
        assert!(error.chain().contains(layer), "{}", error.chain());
        require_nothing_made(&lab).await?;
        assert_eq!(RepositoryReader::new(&lab.registry, "mirror").tags().await?, [""; 0]);
    }
    Ok(())
}

#[tokio::test]
async fn layer_with_wrong_diff_id_is_never_tagged() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = image().with_wrong_diff_id().push(&lab.registry.host(), "app:v1").await?;
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ContentMismatch);
    let Error::DiffId(mismatch) = &error else { panic!("{}", error.chain()) };
    let DiffIdMismatch { manifest, layer, found, promised } = &**mismatch;
    assert_eq!((manifest, layer.as_str()), (&pushed, text(&source["layers"][1]["digest"])?));
    assert_eq!(*found, image().diff_ids()[1]);
    assert_ne!(found, promised);
    require_nothing_made(&lab).await
}

#[tokio::test]
async fn zstd_layer_with_wrong_diff_id_is_rejected() -> Result<()> {
    let lab = Lab::start().await?;
    let image = image().layer_as(Compression::Zstd, &[("etc/more", b"zstd")]);
    image.clone().with_wrong_diff_id().push(&lab.registry.host(), "app:v1").await?;
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    let Error::DiffId(mismatch) = &error else { panic!("{}", error.chain()) };
    let DiffIdMismatch { layer, found, .. } = &**mismatch;
    assert_eq!(layer.as_str(), text(&source["layers"][2]["digest"])?);
    assert_eq!(*found, image.diff_ids()[2]);
    require_nothing_made(&lab).await
}

#[tokio::test]
async fn config_over_the_size_limit_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = json!({
        "mediaType": media_type::OCI_CONFIG, "digest": Digest::sha256_of(b"large"), "size": CONFIG_MAX + 1,
    });
    image().oci().members(json!({"config": config})).prepare()?.write(folder.path(), "v1").await?;
    let layout = LayoutFolder::new(folder.path());
    let resolved = resolve(&layout, ManifestKey::Tag(&"v1".parse()?)).await?;
    let error = plan(&layout, &resolved, &Settings::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    assert!(error.chain().contains(&format!("{} bytes", CONFIG_MAX + 1)), "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn damaged_layer_is_refused_with_its_offset() -> Result<()> {
    let lab = Lab::start().await?;
    // Blobs with a correct digest but with a stream that is cut short or has the checksum or length of other
    // content: damaged before the push.
    let plain = b"files ".repeat(50_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &plain)?;
    let gzip = encoder.finish()?;
    let zstd = zstd::encode_all(&plain[..], 3)?;
    let cut = |packed: &[u8]| packed[..packed.len() - 10].to_vec();
    let flipped = |from_end: usize| {
        let mut packed = gzip.clone();
        packed[gzip.len() - from_end] ^= 1;
        packed
    };
    let (damaged, undecodable) = ("the gzip stream is damaged", "the zstd frames can't be decoded");
    for (compression, packed, said, earliest) in [
        (Compression::Gzip, cut(&gzip), damaged, 1),
        (Compression::Gzip, flipped(8), damaged, gzip.len() - 8),
        (Compression::Gzip, flipped(4), damaged, gzip.len() - 8),
        (Compression::Zstd, cut(&zstd), undecodable, 1),
    ] {
        let length = packed.len();
        let image = image().raw_layer(compression, plain.clone(), packed);
        image.push(&lab.registry.host(), "app:v1").await?;
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
        assert!(error.chain().contains(said), "{}", error.chain());
        let layer = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
        let digest = text(&layer["layers"][2]["digest"])?;
        assert!(error.chain().contains(digest), "{}", error.chain());
        let chain = error.chain();
        let (_, place) = chain.split_once("at or before byte ").context("no offset")?;
        let (offset, _) = place.split_once(' ').context("no offset")?;
        assert!((earliest..=length).contains(&offset.parse()?), "{earliest} to {length}: {chain}");
        require_nothing_made(&lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn layer_over_the_unpack_limit_is_refused() -> Result<()> {
    let lab = Lab::start().await?;
    let zeros = vec![0; 4 << 20];
    let limits = [
        (UnpackLimits { max: 3 << 20, always_allowed: 1 << 30, max_ratio: 1 << 30 }, "by size"),
        (UnpackLimits { max: 1 << 30, always_allowed: 1 << 20, max_ratio: 10 }, "by ratio"),
    ];
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Plain] {
        image().layer_as(compression, &[("zeros", &zeros)]).push(&lab.registry.host(), "app:v1").await?;
        for (unpack, what) in limits {
            if compression == Compression::Plain && what == "by ratio" {
                continue;
            }
            let settings = Settings { unpack, ..Settings::default() };
            let error = lab.conversion("app:v1").settings(settings).run().await.unwrap_err();
            assert_eq!(error.class(), ErrorClass::Refused, "{compression:?} {what}: {}", error.chain());
            assert!(error.chain().contains("exceeds the unpack limit of"), "{}", error.chain());
            require_nothing_made(&lab).await?;
        }
    }
    Ok(())
}
