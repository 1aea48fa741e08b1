//! Bytes that aren't what somebody promised.

use anyhow::Result;
use http::Method;
use zstart_convert::{Error, ErrorClass};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::Fault;

use crate::conversion::Lab;
use crate::stored::{Stored, text};

fn image() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"configuration")]).large_layer("usr/bin/app", 500_000)
}

async fn require_nothing_made(lab: &Lab) -> Result<()> {
    assert!(!lab.a_manifest_was_written(), "{:?}", lab.writes());
    assert_eq!(Stored::new(&lab.registry, "app").tags().await?, ["v1"]);
    Ok(())
}

#[tokio::test]
async fn flipped_bytes_of_a_layer_config_or_manifest_are_noticed_and_named() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let source = Stored::new(&lab.registry, "app").manifest("v1").await?.json;
    let (layer, config) = (text(&source["layers"][1]["digest"])?, text(&source["config"]["digest"])?);
    for (what, name) in [(layer, layer), (config, config), ("/manifests/v1", "image v1")] {
        lab.gateway.heal();
        lab.gateway.fault(Method::GET, what, Fault::FlipBytes);
        let error = lab.conversion("app:v1").run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::ContentMismatch, "{what}: {}", error.chain());
        assert!(error.chain().contains(name), "{what}: {}", error.chain());
        require_nothing_made(&lab).await?;
    }
    Ok(())
}

#[tokio::test]
async fn flipped_bytes_of_a_layer_that_is_only_copied_are_noticed_too() -> Result<()> {
    let lab = Lab::start().await?;
    let image = Fixture::new().layer_as(Compression::Zstd, &[("a", b"zstd")]).layer(&[("b", b"gzip")]);
    image.push(&lab.registry.host(), "app:v1").await?;
    let source = Stored::new(&lab.registry, "app").manifest("v1").await?.json;
    let layer = text(&source["layers"][0]["digest"])?;
    lab.gateway.fault(Method::GET, layer, Fault::FlipBytes);
    let elsewhere = format!("{}/mirror", lab.gateway.host());
    let error = lab.conversion("app:v1").into(&elsewhere).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ContentMismatch, "{}", error.chain());
    assert!(error.chain().contains(layer), "{}", error.chain());
    require_nothing_made(&lab).await?;
    assert_eq!(Stored::new(&lab.registry, "mirror").tags().await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_config_promises_is_never_pushed_as_an_image() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = image().with_wrong_diff_id().push(&lab.registry.host(), "app:v1").await?;
    let source = Stored::new(&lab.registry, "app").manifest("v1").await?.json;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::ContentMismatch);
    let Error::DiffId { manifest, layer, found, promised } = &error else { panic!("{}", error.chain()) };
    assert_eq!((manifest, layer.as_str()), (&pushed, text(&source["layers"][1]["digest"])?));
    assert_eq!(*found, image().diff_ids()[1]);
    assert_ne!(found, promised);
    require_nothing_made(&lab).await
}

#[tokio::test]
async fn a_damaged_layer_leaves_the_image_alone() -> Result<()> {
    let lab = Lab::start().await?;
    // The right bytes by digest, but gzip that ends too early: damaged before it was pushed.
    let plain = b"files ".repeat(50_000);
    let mut packed = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, &plain)?;
    encoder.finish()?;
    packed.truncate(packed.len() - 20);
    Fixture::new().raw_layer(Compression::Gzip, plain, packed).push(&lab.registry.host(), "app:v1").await?;
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    assert!(error.chain().contains("gzip stream is damaged"), "{}", error.chain());
    require_nothing_made(&lab).await
}
