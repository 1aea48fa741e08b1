//! Targets that the registry refuses to show before the first push.

use anyhow::Result;
use http::{Method, StatusCode};
use zstart_convert::ErrorClass;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::conversion::{Conversion, Lab};

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 100_000).layer(&[("etc/app", b"configuration")])
}

fn refuse(status: StatusCode) -> Fault {
    Fault::Respond(status, vec![], r#"{"errors":[{"code":"DENIED"}]}"#)
}

/// Requires that the variant in this repository has the files of `app:v1`.
async fn require_variant(registry: &Registry, repository: &str, tag: &str) -> Result<()> {
    let source = RepositoryReader::new(registry, "app").manifest("v1").await?.json;
    let stored = RepositoryReader::new(registry, repository);
    stored.require_same_files(&stored.manifest(tag).await?.json, &source).await
}

#[tokio::test]
async fn missing_tag_may_be_denied() -> Result<()> {
    for status in [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED, StatusCode::BAD_REQUEST] {
        for repository in ["app", "mirror/new"] {
            let lab = Lab::start().await?;
            image().push(&lab.registry.host(), "app:v1").await?;
            // From the push on, the tag is visible.
            lab.gateway.fault_times(1, Method::HEAD, "-zstd-", refuse(status));
            lab.gateway.fault_times(1, Method::GET, "-zstd-", refuse(status));
            let target = format!("{}/{repository}", lab.gateway.host());
            let made = lab.conversion("app:v1").into(&target).run().await;
            let made = made.unwrap_or_else(|error| panic!("{status}: {}", error.chain()));
            assert!(lab.gateway.all_faults_hit());
            require_variant(&lab.registry, repository, made.tag.as_str()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn refused_list_of_tags_leaves_the_decision_to_the_push() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    // The first form of the name, and the tag before the push.
    lab.gateway.fault_times(2, Method::GET, "-zstd-", refuse(StatusCode::FORBIDDEN));
    lab.gateway.fault_times(1, Method::HEAD, "-zstd-", refuse(StatusCode::FORBIDDEN));
    lab.gateway.fault(Method::GET, "/tags/list", refuse(StatusCode::FORBIDDEN));
    let made = lab.conversion("app:v1").run().await?;
    require_variant(&lab.registry, "app", made.tag.as_str()).await
}

#[tokio::test]
async fn denied_tag_in_the_list_is_not_overwritten() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let tag = Conversion::expected_tag(&image()).await?;
    let other = Fixture::new().layer(&[("other", b"other")]);
    let squatting = other.push(&lab.registry.host(), &format!("app:{tag}")).await?;
    for method in [Method::GET, Method::HEAD] {
        lab.gateway.fault(method, "-zstd-", refuse(StatusCode::FORBIDDEN));
    }
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    assert!(error.chain().contains(&format!("look for image {tag}")), "{}", error.chain());
    assert!(!lab.has_pushed_a_manifest(), "{:#?}", lab.writes());
    assert_eq!(RepositoryReader::new(&lab.registry, "app").digest(tag.as_str()).await?, squatting);
    Ok(())
}

#[tokio::test]
async fn failing_look_up_is_no_refusal() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    lab.conversion("app:v1").run().await?;
    lab.gateway.fault(Method::GET, "-zstd-", refuse(StatusCode::SERVICE_UNAVAILABLE));
    let recording = lab.gateway.record();
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unavailable, "{}", error.chain());
    let calls = recording.calls();
    assert!(calls.iter().all(|call| call.starts_with("GET ") || call.starts_with("HEAD ")), "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn denied_push_after_a_denied_look_up_is_push_denied() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault(Method::GET, "-zstd-", refuse(StatusCode::FORBIDDEN));
    lab.gateway.fault(Method::POST, "/blobs/uploads/", refuse(StatusCode::FORBIDDEN));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PushDenied, "{}", error.chain());
    Ok(())
}

/// GHCR issues a token to push to a repository that doesn't exist yet, and none to pull from it.
#[tokio::test]
async fn repository_without_pull_token_is_created_by_the_push() -> Result<()> {
    for status in [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND] {
        let registry = Registry::start().await?;
        image().push(&registry.host(), "app:v1").await?;
        let login = TokenLogin { username: "user".into(), password: "right".into() };
        let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
        gateway.fault(Method::GET, "mirror%2Fnew%3Apull%2Cpush", Fault::PassThrough);
        gateway.fault(Method::GET, "mirror%2Fnew%3Apull", refuse(status));
        let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
        let conversion = conversion.into(&format!("{}/mirror/new", gateway.host()));
        let made = conversion.run().await;
        let made = made.unwrap_or_else(|error| panic!("{status}: {}", error.chain()));
        require_variant(&registry, "mirror/new", made.tag.as_str()).await?;
        let calls = gateway.calls();
        let refused = calls.iter().filter(|call| call.ends_with("mirror%2Fnew%3Apull")).count();
        assert_eq!(refused, 1, "the refused token isn't asked for again: {calls:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn wrong_password_for_the_target_is_sent_once() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let target = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    let conversion = lab.conversion("app:v1").into(&format!("{}/mirror", target.host()));
    let error = conversion.login("user", "wrong").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    let calls = target.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/token")).count(), 1, "{calls:#?}");
    let calls = lab.gateway.calls();
    let pulled = calls.iter().filter(|call| call.starts_with("GET ") && call.contains("/blobs/")).count();
    assert_eq!(pulled, 1, "the config alone: {calls:#?}");
    Ok(())
}

#[tokio::test]
async fn refused_basic_password_for_the_target_is_sent_once() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    let target = Gateway::start(&lab.registry.host()).await?;
    let basic = vec![("www-authenticate", "Basic realm=\"lab\"".to_owned())];
    target.fault(Method::GET, "/v2/", Fault::Respond(StatusCode::UNAUTHORIZED, basic, ""));
    let conversion = lab.conversion("app:v1").into(&format!("{}/mirror", target.host()));
    let error = conversion.login("user", "wrong").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    let calls = target.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("/mirror/")).count(), 1, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn refused_push_token_ends_the_look_up() -> Result<()> {
    let registry = Registry::start().await?;
    image().push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    let gateway = Gateway::start_with(&registry.host(), Some(login)).await?;
    gateway.fault(Method::GET, "mirror%2Fnew%3Apull", refuse(StatusCode::FORBIDDEN));
    let conversion = Conversion::of(&format!("{}/app:v1", gateway.host())).login("user", "right");
    let error = conversion.into(&format!("{}/mirror/new", gateway.host())).run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    let calls = gateway.calls();
    assert_eq!(calls.iter().filter(|call| call.contains("mirror%2Fnew%3Apull")).count(), 2, "{calls:#?}");
    Ok(())
}

#[tokio::test]
async fn denied_source_is_pull_denied() -> Result<()> {
    let lab = Lab::start().await?;
    image().push(&lab.registry.host(), "app:v1").await?;
    lab.gateway.fault(Method::GET, "/manifests/v1", refuse(StatusCode::FORBIDDEN));
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::PullDenied, "{}", error.chain());
    assert_eq!(lab.writes(), [""; 0]);
    Ok(())
}
