//! Reuse of converted layers: images share their base layers.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_codec::{LayerConverter as _, ZstdConverter};
use zstart_convert::{LayerCache, Level, Settings};
use zstart_core::{Digest, keys};
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use crate::conversion::{Conversion, Converted, Lab};

/// An image with a base that is large enough to search for, and an application on top.
fn image(application: &[u8]) -> Fixture {
    Fixture::new()
        .large_layer("usr/lib/base", 9_000_000)
        .large_layer("usr/lib/runtime", 2_000_000)
        .layer(&[("app", application)])
}

/// An image whose base is found in a layer cache, in a quarter of the time of [`image`].
fn small_image(application: &[u8]) -> Fixture {
    Fixture::new().large_layer("usr/lib/runtime", 2_000_000).layer(&[("app", application)])
}

/// Number of the manifest's layers that were pulled.
fn count_pulled_layers(calls: &[String], manifest: &Value) -> Result<usize> {
    let mut pulled = 0;
    for layer in layers(manifest)? {
        let call = format!("/blobs/{}", text(&layer["digest"])?);
        pulled += usize::from(calls.iter().any(|made| made.starts_with("GET ") && made.ends_with(&call)));
    }
    Ok(pulled)
}

/// Whether a call finishes an upload.
fn finishes_upload(call: &str) -> bool {
    call.starts_with("PUT ") && call.contains("/blobs/uploads/")
}

/// Checks all layers of a variant and returns its manifest.
async fn require_correct_variant(
    lab: &Lab,
    repository: &str,
    source: &str,
    made: &Converted,
) -> Result<Value> {
    let stored = RepositoryReader::new(&lab.registry, repository);
    let variant = stored.manifest(made.tag.as_str()).await?.json;
    stored.require_same_files(&variant, &stored.manifest(source).await?.json).await?;
    Ok(variant)
}

#[tokio::test]
async fn changed_top_layer_alone_is_converted() -> Result<()> {
    let lab = Lab::start().await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    for (tag, application) in [("v1.9", "first"), ("v1.10", "second")] {
        image(application.as_bytes()).push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    let first = lab.conversion("app:v1.9").run().await?;
    assert_eq!(first.layers_reused, 0);
    let recording = lab.gateway.record();

    // Another process: it knows the repository only.
    let second = lab.conversion("app:v1.10").run().await?;
    assert_eq!(second.layers_reused, 2);
    let calls = recording.calls();
    assert_eq!(count_pulled_layers(&calls, &stored.manifest("v1.10").await?.json)?, 1, "{calls:#?}");
    let uploads = calls.iter().filter(|call| finishes_upload(call)).count();
    assert_eq!(uploads, 1, "{calls:#?}");

    let variant = require_correct_variant(&lab, "app", "v1.10", &second).await?;
    let before = stored.manifest(first.tag.as_str()).await?.json;
    assert_eq!(layers(&variant)?[..2], layers(&before)?[..2]);
    // A forced conversion, without reuse, gives an equal result.
    let alone = lab.conversion("app:v1.10").forced().run().await?;
    assert_eq!((alone.layers_reused, alone.image), (0, second.image));
    Ok(())
}

#[tokio::test]
async fn cached_layers_are_not_pulled_again() -> Result<()> {
    let lab = Lab::start().await?;
    let layer_cache = Arc::new(LayerCache::default());
    for tag in ["v1", "v2"] {
        image(tag.as_bytes()).push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    lab.conversion("app:v1").with_layer_cache(&layer_cache).run().await?;
    let recording = lab.gateway.record();
    let second = lab.conversion("app:v2").with_layer_cache(&layer_cache).run().await?;
    assert_eq!(second.layers_reused, 2);
    let calls = recording.calls();
    let blobs = calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/blobs/")).count();
    assert_eq!(blobs, 2, "the config and the layer that is new: {calls:#?}");
    require_correct_variant(&lab, "app", "v2", &second).await?;
    Ok(())
}

#[tokio::test]
async fn cached_layers_are_mounted_into_another_repository() -> Result<()> {
    let lab = Lab::start().await?;
    let layer_cache = Arc::new(LayerCache::default());
    for name in ["one", "team/other"] {
        image(name.as_bytes()).push(&lab.registry.host(), &format!("{name}:v1")).await?;
    }
    lab.conversion("one:v1").with_layer_cache(&layer_cache).run().await?;
    let recording = lab.gateway.record();
    let second = lab.conversion("team/other:v1").with_layer_cache(&layer_cache).run().await?;
    assert_eq!(second.layers_reused, 2);
    let calls = recording.calls();
    let mounts = calls.iter().filter(|call| call.contains("mount=sha256") && call.ends_with("&from=one"));
    assert_eq!(mounts.count(), 2, "{calls:#?}");
    assert_eq!(calls.iter().filter(|call| finishes_upload(call)).count(), 1, "{calls:#?}");
    require_correct_variant(&lab, "team/other", "v1", &second).await?;
    Ok(())
}

#[tokio::test]
async fn kept_blobs_are_mounted_into_another_repository() -> Result<()> {
    let lab = Lab::start().await?;
    let image =
        Fixture::new().layer_as(Compression::Zstd, &[("data", b"zstd already")]).layer(&[("app", b"app")]);
    image.push(&lab.registry.host(), "app:v1").await?;
    let conversion = lab.conversion("app:v1").into(&format!("{}/mirror", lab.gateway.host()));
    let made = conversion.run().await?;
    let calls = lab.gateway.calls();
    let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
    for stays in [&source["config"], &source["layers"][0]] {
        let digest = text(&stays["digest"])?.replace(':', "%3A");
        let asked = format!("POST /v2/mirror/blobs/uploads/?mount={digest}&from=app");
        assert!(calls.contains(&asked), "{asked}: {calls:#?}");
    }
    assert_eq!(
        calls.iter().filter(|call| finishes_upload(call)).count(),
        1,
        "the layer that was converted: {calls:#?}"
    );
    let mirror = RepositoryReader::new(&lab.registry, "mirror");
    let variant = mirror.manifest(made.tag.as_str()).await?.json;
    for (there, here) in
        [(&variant["config"], &source["config"]), (&variant["layers"][0], &source["layers"][0])]
    {
        assert_eq!(there["digest"], here["digest"]);
        mirror.blob(there).await?;
    }
    Ok(())
}

#[tokio::test]
async fn refused_mount_falls_back_to_conversion() -> Result<()> {
    for refusal in [
        // Amazon ECR opens an upload if the account didn't enable mounts; other registries refuse.
        Fault::Respond(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#),
        Fault::Respond(StatusCode::NOT_FOUND, vec![], ""),
        Fault::Respond(StatusCode::METHOD_NOT_ALLOWED, vec![], ""),
        Fault::Respond(StatusCode::ACCEPTED, vec![("location", "/v2/other/blobs/uploads/x".to_owned())], ""),
    ] {
        let lab = Lab::start().await?;
        let layer_cache = Arc::new(LayerCache::default());
        for name in ["one", "other"] {
            small_image(name.as_bytes()).push(&lab.registry.host(), &format!("{name}:v1")).await?;
        }
        lab.conversion("one:v1").with_layer_cache(&layer_cache).run().await?;
        lab.gateway.fault(Method::POST, "mount=", refusal);
        let second = lab.conversion("other:v1").with_layer_cache(&layer_cache).run().await?;
        assert_eq!(second.layers_reused, 0);
        require_correct_variant(&lab, "other", "v1", &second).await?;
    }
    Ok(())
}

#[tokio::test]
async fn mount_token_has_pull_scope_on_the_mount_source() -> Result<()> {
    let lab = Lab::start().await?;
    let layer_cache = Arc::new(LayerCache::default());
    for name in ["one", "other"] {
        image(name.as_bytes()).push(&lab.registry.host(), &format!("{name}:v1")).await?;
    }
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    for name in ["one", "other"] {
        let conversion = Conversion::of(&format!("{}/{name}:v1", gateway.host()));
        conversion.login("user", "right").with_layer_cache(&layer_cache).run().await?;
    }
    let calls = gateway.calls();
    let scopes = "scope=repository%3Aother%3Apull%2Cpush&scope=repository%3Aone%3Apull";
    let asked = calls.iter().filter(|call| call.contains("/token?") && call.ends_with(scopes)).count();
    assert_eq!(asked, 1, "one token for all mounts: {calls:#?}");
    Ok(())
}

#[tokio::test]
async fn refused_mount_token_is_requested_once() -> Result<()> {
    let lab = Lab::start().await?;
    let kept = |text: &str| text.repeat(100).into_bytes();
    let image = Fixture::new()
        .layer_as(Compression::Zstd, &[("one", &kept("one"))])
        .layer_as(Compression::Zstd, &[("two", &kept("two"))])
        .layer(&[("app", b"app")]);
    image.push(&lab.registry.host(), "one:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    let scopes = "scope=repository%3Aother%3Apull%2Cpush&scope=repository%3Aone%3Apull";
    gateway.fault(Method::GET, scopes, Fault::Respond(StatusCode::FORBIDDEN, vec![], ""));
    let conversion = Conversion::of(&format!("{}/one:v1", gateway.host())).login("user", "right");
    conversion.into(&format!("{}/other", gateway.host())).run().await?;
    let asked = gateway.calls().iter().filter(|call| call.ends_with(scopes)).count();
    assert_eq!(asked, 1, "{:#?}", gateway.calls());
    Ok(())
}

#[tokio::test]
async fn layer_is_not_mounted_without_its_source_blob() -> Result<()> {
    let lab = Lab::start().await?;
    let layer_cache = Arc::new(LayerCache::default());
    let secret = image(b"secret");
    secret.push(&lab.registry.host(), "one:v1").await?;
    let first = lab.conversion("one:v1").with_layer_cache(&layer_cache).run().await?;
    // A manifest in another repository names layers that this repository doesn't have. Most registries refuse
    // such a manifest.
    secret.push(&lab.registry.host(), "other:v1").await?;
    let manifest = RepositoryReader::new(&lab.registry, "other").manifest("v1").await?.json;
    let base = text(&layers(&manifest)?[0]["digest"])?.to_owned();
    lab.gateway.fault(Method::HEAD, &format!("/v2/other/blobs/{base}"), missing());
    lab.gateway.fault(Method::GET, &format!("/v2/other/blobs/{base}"), missing());
    let error = lab.conversion("other:v1").with_layer_cache(&layer_cache).run().await.unwrap_err();
    assert!(error.chain().contains(&base), "{}", error.chain());
    let variant = RepositoryReader::new(&lab.registry, "one").manifest(first.tag.as_str()).await?.json;
    let converted = text(&layers(&variant)?[0]["digest"])?.replace(':', "%3A");
    let calls = lab.gateway.calls();
    assert!(!calls.iter().any(|call| call.contains("mount=") && call.contains(&converted)), "{calls:#?}");
    assert_eq!(RepositoryReader::new(&lab.registry, "other").tags().await?, ["v1"]);
    Ok(())
}

fn missing() -> Fault {
    Fault::Respond(StatusCode::NOT_FOUND, vec![], r#"{"errors":[{"code":"BLOB_UNKNOWN"}]}"#)
}

/// Pushes a manifest under a variant's tag with a forged annotation about `base`.
async fn forge(lab: &Lab, base: &Digest, forged: Fixture) -> Result<Digest> {
    let prepared = forged.prepare()?;
    prepared.push(&lab.registry.host(), "app:forged").await?;
    let stored = RepositoryReader::new(&lab.registry, "app");
    let mut layer = layers(&stored.manifest("forged").await?.json)?[0].clone();
    layer["annotations"] = json!({keys::LAYER_SOURCE_DIGEST: base});
    let settings = ZstdConverter::new(Level::default()).settings();
    let members = json!({"layers": [layer], "annotations": {keys::SETTINGS: settings}});
    forged.members(members).push(&lab.registry.host(), "app:v0-zstd-aaaaaaaaaaaa").await
}

#[tokio::test]
async fn forged_layer_annotation_is_not_trusted() -> Result<()> {
    let evil = Fixture::new().oci().layer_as(Compression::Zstd, &[("usr/lib/base", b"evil")]);
    let no_zstd = Fixture::new().oci().layer_as(Compression::Gzip, &[("usr/lib/base", b"evil")]);
    let damaged =
        Fixture::new().oci().raw_layer(Compression::Zstd, Vec::new(), b"\x28\xb5\x2f\xfd no".to_vec());
    for forged in [evil, no_zstd, damaged] {
        let lab = Lab::start().await?;
        image(b"app").push(&lab.registry.host(), "app:v1").await?;
        let source = RepositoryReader::new(&lab.registry, "app").manifest("v1").await?.json;
        let base: Digest = text(&layers(&source)?[0]["digest"])?.parse().context("digest")?;
        let forged = forge(&lab, &base, forged).await?;
        let manifest = RepositoryReader::new(&lab.registry, "app").manifest(forged.as_str()).await?.json;

        let made = lab.conversion("app:v1").run().await?;
        assert_eq!(made.layers_reused, 0);
        assert_eq!(count_pulled_layers(&lab.gateway.calls(), &manifest)?, 1, "the forged layer was checked");
        require_correct_variant(&lab, "app", "v1", &made).await?;
    }
    Ok(())
}

#[tokio::test]
async fn unlistable_repository_is_still_converted() -> Result<()> {
    let lab = Lab::start().await?;
    image(b"app").push(&lab.registry.host(), "app:v1").await?;
    for (status, body) in [
        (StatusCode::FORBIDDEN, "no right to list"),
        (StatusCode::METHOD_NOT_ALLOWED, ""),
        (StatusCode::OK, "no list"),
        (StatusCode::OK, r#"{"name":"app","tags":null}"#),
    ] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::GET, "/tags/list", Fault::Respond(status, vec![], body));
        let level = Settings { level: Level::try_from(1)?, ..Settings::default() };
        let made = lab.conversion("app:v1").settings(level).run().await?;
        require_correct_variant(&lab, "app", "v1", &made).await?;
        RepositoryReader::new(&lab.registry, "app").delete_manifest(made.image.digest.as_str()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn layers_of_other_settings_are_not_reused() -> Result<()> {
    let lab = Lab::start().await?;
    for tag in ["v1", "v2"] {
        image(tag.as_bytes()).push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    lab.conversion("app:v1").run().await?;
    let level = Settings { level: Level::try_from(1)?, ..Settings::default() };
    let second = lab.conversion("app:v2").settings(level).run().await?;
    assert_eq!(second.layers_reused, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_images_convert_a_shared_base_once() -> Result<()> {
    let lab = Lab::start().await?;
    let layer_cache = Arc::new(LayerCache::default());
    for tag in ["v1", "v2", "v3"] {
        image(tag.as_bytes()).push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    let conversions =
        ["app:v1", "app:v2", "app:v3"].map(|name| lab.conversion(name).with_layer_cache(&layer_cache));
    let [one, two, three] = &conversions;
    let made = tokio::try_join!(one.run(), two.run(), three.run())?;
    let made_before = made.0.layers_reused + made.1.layers_reused + made.2.layers_reused;
    assert_eq!(made_before, 4, "two layers of each but the first");
    let sent = lab.writes().iter().filter(|call| finishes_upload(call)).count();
    assert_eq!(sent, 5, "the base once, and three applications");
    Ok(())
}

#[tokio::test]
async fn tag_list_is_read_page_by_page() -> Result<()> {
    let lab = Lab::start().await?;
    let small = Fixture::new().layer(&[("a", b"b")]);
    for number in 0..5 {
        small.push(&lab.registry.host(), &format!("app:v0.{number}")).await?;
    }
    for tag in ["v1", "v2"] {
        image(tag.as_bytes()).push(&lab.registry.host(), &format!("app:{tag}")).await?;
    }
    lab.conversion("app:v1").run().await?;
    // A registry may return fewer tags than requested, with a link to the next page.
    let next = ("link", r#"</v2/app/tags/list?n=2>; rel="next""#.to_owned());
    let page = Fault::Respond(StatusCode::OK, vec![next], r#"{"name":"app","tags":[]}"#);
    lab.gateway.fault_times(1, Method::GET, "/tags/list", page);
    let recording = lab.gateway.record();
    let made = lab.conversion("app:v2").run().await?;
    assert_eq!(made.layers_reused, 2);
    let calls = recording.calls();
    let pages = calls.iter().filter(|call| call.contains("/tags/list")).count();
    assert!(pages > 4, "eight tags, two at a time, after the first page: {calls:#?}");
    Ok(())
}
