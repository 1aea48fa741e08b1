//! Registries that refuse HEAD of a blob, whether it exists or not.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::ErrorClass;
use zstart_tests::images::{Compression, Fixture};
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::repository_reader::{RepositoryReader, layers, text};

use crate::conversion::{Conversion, Lab};

/// ECR Public answers 401, a storage whose signature is for GET 403, others the rest.
const REFUSALS: [StatusCode; 5] = [
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::METHOD_NOT_ALLOWED,
    StatusCode::BAD_REQUEST,
    StatusCode::NOT_IMPLEMENTED,
];

fn image() -> Fixture {
    Fixture::new()
        .large_layer("usr/bin/app", 200_000)
        .layer_as(Compression::Zstd, &[("usr/lib/kept", &b"kept ".repeat(60_000))])
        .layer(&[("etc/app", b"configuration")])
}

fn refuse(status: StatusCode) -> Fault {
    Fault::Respond(status, vec![], "")
}

fn count(calls: &[String], front: &str, part: &str) -> usize {
    calls.iter().filter(|call| call.starts_with(front) && call.contains(part)).count()
}

#[tokio::test]
async fn variant_is_verified_by_get_where_head_is_refused() -> Result<()> {
    for status in REFUSALS {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::HEAD, "/blobs/", refuse(status));
        let made = lab.conversion("app:v1").run().await;
        let made = made.unwrap_or_else(|error| panic!("{status}: {}", error.chain()));
        let calls = lab.gateway.calls();
        assert_eq!(count(&calls, "HEAD ", "/blobs/"), 1, "a refused HEAD isn't sent again: {calls:#?}");
        let stored = RepositoryReader::new(&lab.registry, "app");
        let variant = stored.manifest(made.tag.as_str()).await?.json;
        for layer in layers(&variant)? {
            let opened = count(&calls, "GET ", &format!("/blobs/{}", text(&layer["digest"])?));
            assert!(opened > 0, "{status}: {layer}: {calls:#?}");
        }
        assert!(lab.conversion("app:v1").run().await?.reused, "{status}");
    }
    Ok(())
}

#[tokio::test]
async fn blobs_are_sent_to_a_target_that_refuses_look_ups() -> Result<()> {
    for status in REFUSALS {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::HEAD, "/v2/mirror/blobs/", refuse(status));
        // Both look-ups of the kept layer and of the config.
        lab.gateway.fault_times(2, Method::GET, "/v2/mirror/blobs/", refuse(status));
        lab.refuse_mounts();
        let mirror = format!("{}/mirror", lab.gateway.host());
        let made = lab.conversion("app:v1").into(&mirror).run().await;
        let made = made.unwrap_or_else(|error| panic!("{status}: {}", error.chain()));
        let (stored, source) =
            (RepositoryReader::new(&lab.registry, "mirror"), RepositoryReader::new(&lab.registry, "app"));
        let variant = stored.manifest(made.tag.as_str()).await?.json;
        let source = source.manifest("v1").await?.json;
        assert_eq!(variant["config"]["digest"], source["config"]["digest"]);
        stored.blob(&variant["config"]).await?;
        stored.blob(&layers(&variant)?[1]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn refused_head_renews_no_token() -> Result<()> {
    let registry = Registry::start().await?;
    image().push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    gateway.fault(Method::HEAD, "/blobs/", refuse(StatusCode::UNAUTHORIZED));
    let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
    conversion.run().await?;
    let calls = gateway.calls();
    // The source and the target each pull, and the target pushes.
    assert_eq!(count(&calls, "GET /token", ""), 3, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn refused_head_of_the_source_tag_is_followed_by_get() -> Result<()> {
    for status in REFUSALS {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::HEAD, "/manifests/", refuse(status));
        lab.conversion("app:v1").run().await?;
        let calls = lab.gateway.calls();
        assert_eq!(count(&calls, "HEAD ", "/manifests/v1"), 2, "source and variant: {calls:#?}");
        assert_eq!(
            count(&calls, "GET ", "/app/manifests/v1"),
            4,
            "read, compared, looked up, verified: {calls:#?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn variant_with_a_lost_blob_is_converted_again() -> Result<()> {
    for head in [None, Some(StatusCode::UNAUTHORIZED)] {
        let lab = Lab::start().await?;
        image().push(&lab.registry.host(), "app:v1").await?;
        let made = lab.conversion("app:v1").run().await?;
        let stored = RepositoryReader::new(&lab.registry, "app");
        let variant = stored.manifest(made.tag.as_str()).await?.json;
        let lost = text(&layers(&variant)?[0]["digest"])?.to_owned();
        stored.delete_blob(&lost).await?;
        if let Some(status) = head {
            lab.gateway.fault(Method::HEAD, "/blobs/", refuse(status));
        }
        let again = lab.conversion("app:v1").run().await?;
        assert!(!again.reused);
        assert_eq!(again.image.digest, made.image.digest);
        assert!(stored.has_blob(&lost).await?);
    }
    Ok(())
}

#[tokio::test]
async fn denied_blob_of_a_pushed_variant_is_not_verified() -> Result<()> {
    let lab = Lab::start().await?;
    let source = Fixture::new().layer(&[("etc/app", b"configuration")]);
    source.push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault(Method::HEAD, "/v2/mirror/blobs/", refuse(StatusCode::FORBIDDEN));
    lab.gateway.fault(Method::GET, "/v2/mirror/blobs/", refuse(StatusCode::FORBIDDEN));
    lab.refuse_mounts();
    let mirror = format!("{}/mirror", lab.gateway.host());
    let error = lab.conversion("app:v1").into(&mirror).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::NotVerified, "{}", error.chain());
    assert!(error.chain().contains(" is missing or denied: "), "{}", error.chain());
    Ok(())
}
