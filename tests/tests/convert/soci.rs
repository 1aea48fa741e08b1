//! Images with a SOCI index: nodes start them before the pull is complete, with gzip layers only.

use anyhow::Result;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_convert::ErrorClass;
use zstart_core::Digest;
use zstart_oci::media_type;
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::conversion::Lab;

const ARTIFACT_V1: &str = "application/vnd.amazon.soci.index.v1+json";

/// A registry's list of artifacts that refer to an image.
fn referrers(artifact_type: &str) -> Value {
    json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [{
        "mediaType": media_type::OCI_MANIFEST, "artifactType": artifact_type, "size": 2,
        "digest": Digest::sha256_of(b"the soci index"),
    }]})
}

async fn require_refused(lab: &Lab) -> Result<()> {
    let error = lab.conversion("app:v1").run().await.expect_err("the conversion succeeded");
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    let index = Digest::sha256_of(b"the soci index");
    assert!(error.chain().contains(&format!("SOCI index {index}")), "{}", error.chain());
    assert!(!lab.has_pushed_a_manifest(), "{:?}", lab.writes());
    Ok(())
}

#[tokio::test]
async fn soci_index_from_the_referrers_api_is_respected() -> Result<()> {
    let lab = Lab::start().await?;
    Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let answer = |artifact_type| {
        let list: &'static str = referrers(artifact_type).to_string().leak();
        Fault::Respond(StatusCode::OK, vec![("content-type", media_type::OCI_INDEX.into())], list)
    };
    lab.gateway.fault(Method::GET, "/referrers/sha256:", answer(ARTIFACT_V1));
    require_refused(&lab).await?;
    lab.gateway.clear_faults();
    lab.gateway.fault(Method::GET, "/referrers/sha256:", answer("application/vnd.cyclonedx+json"));
    lab.conversion("app:v1").run().await?;
    Ok(())
}

#[tokio::test]
async fn soci_index_from_the_referrers_tag_is_respected() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let list: &'static str = referrers(ARTIFACT_V1).to_string().leak();
    let list = Fault::Respond(StatusCode::OK, vec![("content-type", media_type::OCI_INDEX.into())], list);
    lab.gateway.fault(Method::GET, "/referrers/", Fault::Respond(StatusCode::NOT_FOUND, vec![], ""));
    lab.gateway.fault(Method::GET, &format!("/manifests/sha256-{}", pushed.hex()), list);
    require_refused(&lab).await
}

/// A page of a list, with a link to the next one.
fn page(artifact_type: &str, next: &str) -> Fault {
    let list: &'static str = referrers(artifact_type).to_string().leak();
    let headers = vec![("content-type", media_type::OCI_INDEX.to_owned()), ("link", next.to_owned())];
    Fault::Respond(StatusCode::OK, headers, list)
}

#[tokio::test]
async fn soci_index_on_a_later_page_is_respected() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let next = |number| format!("</v2/app/referrers/{pushed}?page={number}>; rel=\"next\"");
    let (other, broken) = ("application/vnd.cyclonedx+json", StatusCode::NOT_FOUND);
    // The list may break off later; entries listed before count.
    for third in [page(other, ""), Fault::Respond(broken, vec![], "")] {
        lab.gateway.clear_faults();
        lab.gateway.fault(Method::GET, "?page=2", page(ARTIFACT_V1, &next(3)));
        lab.gateway.fault(Method::GET, "?page=3", third);
        lab.gateway.fault(Method::GET, "/referrers/sha256:", page(other, &next(2)));
        require_refused(&lab).await?;
        assert!(lab.gateway.calls().iter().any(|call| call.ends_with("?page=3")));
    }
    Ok(())
}

#[tokio::test]
async fn referrers_list_is_read_for_200_pages_at_most() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let again = format!("</v2/app/referrers/{pushed}>; rel=\"next\"");
    lab.gateway.fault(Method::GET, "/referrers/", page("application/vnd.cyclonedx+json", &again));
    lab.conversion("app:v1").run().await?;
    let calls = lab.gateway.calls();
    let pages = calls.iter().filter(|call| call.contains("/referrers/")).count();
    assert_eq!(pages, 200);
    Ok(())
}

#[tokio::test]
async fn unsupported_referrers_api_means_no_soci_index() -> Result<()> {
    for status in
        [StatusCode::FORBIDDEN, StatusCode::BAD_REQUEST, StatusCode::METHOD_NOT_ALLOWED, StatusCode::OK]
    {
        let lab = Lab::start().await?;
        Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::GET, "/referrers/", Fault::Respond(status, vec![], "<html>what?</html>"));
        lab.conversion("app:v1").run().await?;
    }
    Ok(())
}

/// An index of two platforms without SOCI indexes.
fn plain_index() -> Result<Index> {
    let image =
        |architecture| Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 9000);
    Index::new().oci().image(&image("amd64"))?.image(&image("arm64"))
}

#[tokio::test]
async fn failing_referrers_api_does_not_stop_the_conversion() -> Result<()> {
    for (status, attempts) in [
        (StatusCode::INTERNAL_SERVER_ERROR, 4),
        (StatusCode::BAD_GATEWAY, 4),
        (StatusCode::NOT_IMPLEMENTED, 2),
    ] {
        let lab = Lab::start().await?;
        plain_index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
        lab.gateway.fault(Method::GET, "/referrers/", Fault::Respond(status, vec![], "out of order"));
        let made = lab.conversion("app:v1").run().await;
        assert!(made.is_ok(), "{status}: {}", made.unwrap_err().chain());
        let calls = lab.gateway.calls();
        let reads = calls.iter().filter(|call| call.starts_with("GET "));
        let count = |part: &str| reads.clone().filter(|call| call.contains(part)).count();
        assert_eq!(count("/referrers/"), attempts, "{status}: {calls:#?}");
        assert_eq!(count("/manifests/sha256-"), 2, "{status}: {calls:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn rate_limited_referrers_are_asked_for_later() -> Result<()> {
    let lab = Lab::start().await?;
    plain_index()?.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let pause = Fault::Respond(StatusCode::TOO_MANY_REQUESTS, vec![("retry-after", "60".into())], "");
    let list: &'static str = referrers(ARTIFACT_V1).to_string().leak();
    let list = Fault::Respond(StatusCode::OK, vec![("content-type", media_type::OCI_INDEX.into())], list);
    lab.gateway.fault_times(1, Method::GET, "/referrers/", pause);
    lab.gateway.fault(Method::GET, "/referrers/", list);
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    let ErrorClass::RateLimited { retry_after } = error.class() else { panic!("{}", error.chain()) };
    assert_eq!(retry_after.map(|pause| pause.as_secs()), Some(60));
    assert_eq!(lab.writes(), [""; 0]);
    let error = lab.conversion("app:v1").run().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Refused, "{}", error.chain());
    Ok(())
}

#[tokio::test]
async fn soci_index_from_the_tag_counts_where_the_api_fails() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let list: &'static str = referrers(ARTIFACT_V1).to_string().leak();
    let list = Fault::Respond(StatusCode::OK, vec![("content-type", media_type::OCI_INDEX.into())], list);
    let failing = Fault::Respond(StatusCode::SERVICE_UNAVAILABLE, vec![], "");
    lab.gateway.fault(Method::GET, "/referrers/", failing);
    lab.gateway.fault(Method::GET, &format!("/manifests/sha256-{}", pushed.hex()), list);
    require_refused(&lab).await
}

#[tokio::test]
async fn soci_index_before_a_failing_page_is_respected() -> Result<()> {
    let lab = Lab::start().await?;
    let pushed = Fixture::new().layer(&[("app", b"files")]).push(&lab.registry.host(), "app:v1").await?;
    let next = format!("</v2/app/referrers/{pushed}?page=2>; rel=\"next\"");
    let failing = Fault::Respond(StatusCode::INTERNAL_SERVER_ERROR, vec![], "");
    lab.gateway.fault(Method::GET, "?page=2", failing);
    lab.gateway.fault(Method::GET, "/referrers/sha256:", page(ARTIFACT_V1, &next));
    require_refused(&lab).await
}

#[tokio::test]
async fn index_entry_with_soci_annotation_is_kept() -> Result<()> {
    let lab = Lab::start().await?;
    let image =
        |architecture| Fixture::new().oci().platform("linux", architecture).large_layer(architecture, 9000);
    let soci = json!({"annotations": {"com.amazon.soci.index-digest": Digest::sha256_of(b"the soci index")}});
    let index = Index::new().oci().image(&image("amd64").members(soci))?.image(&image("arm64"))?;
    index.prepare()?.push(&lab.registry.host(), "app:v1").await?;
    let made = lab.conversion("app:v1").run().await?;
    assert_eq!(made.image.platforms.len(), 1);
    let stored = RepositoryReader::new(&lab.registry, "app");
    let (source, variant) = (stored.manifest("v1").await?, stored.manifest(made.tag.as_str()).await?);
    assert_eq!(variant.json["manifests"][0], source.json["manifests"][0]);
    assert_ne!(variant.json["manifests"][1], source.json["manifests"][1]);
    Ok(())
}
