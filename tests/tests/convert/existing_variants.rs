//! Variants that exist already: found, identical, in conflict, or created concurrently.

use std::num::NonZero;

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::{Error, ErrorClass, Level, Settings};
use zstart_core::keys;
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::Fault;

use crate::conversion::{Conversion, Lab};
use zstart_tests::registry::repository_reader::RepositoryReader;

fn image() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 300_000)
        .large_layer("usr/lib/lib", 200_000)
        .layer_as(Compression::Plain, &[("etc/app", b"configuration")])
}

#[tokio::test]
async fn variant_digest_depends_on_source_and_settings_only() -> Result<()> {
    let (one, other) = tokio::try_join!(Lab::start(), Lab::start())?;
    image().push(&one.registry.host(), "app:v1").await?;
    image().push(&other.registry.host(), "team/service:v2").await?;
    let single = Settings { layers_at_once: NonZero::<usize>::MIN, ..Settings::default() };
    let first = one.conversion("app:v1").run().await?;
    let second = other.conversion("team/service:v2").settings(single).run().await?;
    assert_eq!(first.image.digest, second.image.digest);
    let level = Settings { level: Level::try_from(9)?, ..Settings::default() };
    let third = one.conversion("app:v1").settings(level).forced().run().await?;
    assert_ne!(third.image.digest, first.image.digest, "other settings, other bytes");
    Ok(())
}

#[tokio::test]
async fn existing_variant_is_found_without_uploads() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let first = lab.conversion("app:v1").run().await?;
    let sent = lab.writes();
    assert!(sent.iter().any(|call| call.starts_with("PATCH ")), "{sent:?}");
    let recording = lab.gateway.record();
    let second = lab.conversion("app:v1").run().await?;
    assert!(second.reused);
    assert_eq!(second.image, first.image);
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.starts_with("HEAD ")), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn foreign_image_under_the_variant_tag_is_kept() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let tag = Conversion::expected_tag(&image()).await?;
    let squatter = Fixture::new().layer(&[("bin/evil", b"evil")]);
    let squatting = squatter.push(&lab.registry.host(), &format!("app:{tag}")).await?;
    let stored = RepositoryReader::new(&lab.registry, "app");

    let conversion = lab.conversion("app:v1");
    for conversion in [conversion.clone(), conversion.forced()] {
        let error = conversion.run().await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::VariantConflict);
        assert!(matches!(error, Error::TagTaken { .. }), "{error}");
        let said = format!("tag {}/app:{tag} is the name of variant sha256:", lab.gateway.host());
        assert!(error.to_string().starts_with(&said) && error.to_string().contains(squatting.as_str()));
        assert_eq!(stored.manifest(tag.as_str()).await?.digest, squatting);
    }
    Ok(())
}

#[tokio::test]
async fn forged_variant_annotation_is_not_trusted() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = image().push(&lab.registry.host(), "app:v1").await?;
    let conversion = lab.conversion("app:v1");
    let forged = Fixture::new()
        .oci()
        .layer_as(Compression::Zstd, &[("usr/bin/app", b"evil")])
        .layer_as(Compression::Zstd, &[("usr/lib/lib", b"evil")])
        .layer_as(Compression::Zstd, &[("etc/app", b"evil")])
        .members(serde_json::json!({"annotations": {keys::SOURCE_DIGEST: pushed}}));
    let names = conversion.names(&pushed);
    for tag in [names.first_form().to_string(), format!("{}00000000", names.prefix())] {
        forged.push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    let made = conversion.run().await?;
    assert!(!made.reused);
    let stored = RepositoryReader::new(&lab.registry, "app");
    let (variant, source) = (stored.manifest(made.tag.as_str()).await?, stored.manifest("v1").await?);
    stored.require_same_files(&variant.json, &source.json).await
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_conversions_produce_one_variant() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    // Forced, so that neither conversion can find the other's result.
    let conversion = lab.conversion("app:v1").forced();
    let (one, other) = tokio::try_join!(conversion.run(), conversion.run())?;
    assert_eq!(one.image, other.image);
    let stored = RepositoryReader::new(&lab.registry, "app");
    let variant = stored.manifest(one.tag.as_str()).await?;
    let source = stored.manifest("v1").await?;
    stored.require_same_files(&variant.json, &source.json).await?;
    assert_eq!(variant.digest, one.image.digest);
    Ok(())
}

#[tokio::test]
async fn immutable_tag_is_accepted_for_an_equal_variant() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let conversion = lab.conversion("app:v1").forced();
    let first = conversion.run().await?;
    let body = r#"{"errors":[{"code":"TAG_INVALID","message":"The image tag already exists"}]}"#;
    let refusal = Fault::Respond(StatusCode::BAD_REQUEST, vec![], body);
    lab.gateway.fault(Method::PUT, &format!("/manifests/{}", first.tag), refusal);
    assert_eq!(conversion.run().await?.image, first.image);

    let level = Settings { level: Level::try_from(9)?, ..Settings::default() };
    let other = conversion.clone().settings(level.clone()).forced().run().await?;
    assert_ne!(other.tag, first.tag);
    let stored = RepositoryReader::new(&lab.registry, "app");
    assert_eq!(stored.digest(first.tag.as_str()).await?, first.image.digest);

    // A tag that the user chose.
    let error = conversion.settings(level).over(first.tag.as_str()).run().await.unwrap_err();
    assert!(error.chain().contains("HTTP 400 TAG_INVALID: The image tag"), "{}", error.chain());
    assert!(error.chain().contains(&format!("push manifest {}", first.tag)), "{}", error.chain());
    Ok(())
}
