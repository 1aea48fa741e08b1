//! The freshness sweep, and records that no workload uses.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use zstart_core::sweep::SWEEP;
use zstart_core::{FreshnessSweep, keys};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::Fault;
use zstart_tests::{sweep, wait};

use crate::lab::{Lab, WITHIN};
use crate::program::Replica;
use crate::records::{is_upload, record_name_of, recorded_tag};

fn small(content: &[u8]) -> Fixture {
    Fixture::new().layer(&[("etc/app", content)])
}

/// Pushes images, deploys each, and returns their names.
async fn deploy_all(lab: &Lab, tags: &[&str]) -> Result<Vec<String>> {
    let mut images = Vec::new();
    for tag in tags {
        let image = lab.image(&format!("app:{tag}"));
        lab.push(&format!("app:{tag}"), &small(tag.as_bytes())).await?;
        lab.deploy("on", tag, &image).await?;
        images.push(image);
    }
    Ok(images)
}

/// Versions of all records.
async fn versions(lab: &Lab) -> Result<BTreeMap<String, Option<String>>> {
    let records = lab.records().list(&ListParams::default()).await?;
    Ok(records.into_iter().map(|record| (record.name_any(), record.resource_version())).collect())
}

/// Waits until the sweep has a look at this image of a later second than `after`. Returns its time.
pub(crate) async fn swept(lab: &Lab, image: &str, after: Timestamp) -> Result<Timestamp> {
    let name = record_name_of(image)?;
    wait::until(format!("a look at {image} in the sweep"), WITHIN, || async {
        let look = sweep::sweep(&lab.admin).await?.confirmations.last_look(&name);
        Ok(look.filter(|look| look.as_second() > after.as_second()))
    })
    .await
}

/// Creation time of a Deployment.
async fn created(lab: &Lab, name: &str) -> Result<Timestamp> {
    let deployment = lab.namespaced::<Deployment>("on").get(name).await?;
    Ok(deployment.creation_timestamp().context("no time")?.0)
}

async fn delete_deployment(lab: &Lab, name: &str) -> Result<()> {
    lab.namespaced::<Deployment>("on").delete(name, &DeleteParams::default()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_looks_write_the_sweep_alone() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1", "v2", "v3"]).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for image in &images {
        lab.ready(image).await?;
        swept(&lab, image, Timestamp::UNIX_EPOCH).await?;
    }
    let before = versions(&lab).await?;
    let since = Timestamp::now();
    for image in &images {
        let first = swept(&lab, image, since).await?;
        swept(&lab, image, first).await?;
    }
    assert_eq!(versions(&lab).await?, before, "a look that finds nothing new changes no record");
    let found = Api::<FreshnessSweep>::all(lab.admin.clone()).get(SWEEP).await?.spec;
    assert_eq!((found.confirmed, found.unconfirmed), (3, 0));
    let [registry] = &found.registries[..] else { bail!("{:?}", found.registries) };
    assert_eq!((&registry.registry, registry.reachable, registry.confirmed), (&lab.gateway.host(), true, 3));
    assert!(registry.confirmed_since.as_ref().is_some_and(|since| since.0 <= found.swept_at.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_controller_goes_on_with_the_sweep() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1", "v2"]).await?;
    let controller = lab.start_controller().await?;
    for (tag, image) in ["v1", "v2"].into_iter().zip(&images) {
        lab.ready(image).await?;
        // A look of the seconds in which the template settles is repeated.
        swept(&lab, image, created(&lab, tag).await? + Duration::from_secs(1)).await?;
    }
    controller.stop().await?;
    let before = sweep::sweep(&lab.admin).await?;
    let recording = lab.gateway.record();
    let controller = lab.start_controller().await?;
    let [new] = &deploy_all(&lab, &["v3"]).await?[..] else { bail!("one image") };
    lab.ready(new).await?;
    swept(&lab, new, created(&lab, "v3").await?).await?;
    let of_old = |call: &&String| call.contains("/manifests/v1") || call.contains("/manifests/v2");
    let calls = recording.calls();
    assert_eq!(calls.iter().filter(of_old).count(), 0, "the looks of the first process count: {calls:?}");
    let after = sweep::sweep(&lab.admin).await?.confirmations;
    for image in &images {
        let name = record_name_of(image)?;
        assert_eq!(after.last_look(&name), before.confirmations.last_look(&name), "{image}");
    }
    // A user asks for a look while no controller runs.
    controller.stop().await?;
    lab.retry(&images[0]).await?;
    let earlier = after.last_look(&record_name_of(&images[0])?).context("no look")?;
    let controller = lab.start_controller().await?;
    let earlier = swept(&lab, &images[0], earlier).await?;
    // A template that is created meanwhile is newer than the last look.
    controller.stop().await?;
    lab.deploy("on", "second", &images[0]).await?;
    let created = created(&lab, "second").await?;
    let _controller = lab.start_controller().await?;
    swept(&lab, &images[0], created.max(earlier)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_look_counts_as_unconfirmed() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1", "v2"]).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    for image in &images {
        lab.ready(image).await?;
    }
    lab.gateway.fault(Method::HEAD, "/manifests/v1", Fault::Respond(StatusCode::NOT_FOUND, vec![], "gone"));
    lab.gateway.fault(Method::GET, "/manifests/v1", Fault::Respond(StatusCode::NOT_FOUND, vec![], "gone"));
    let name = record_name_of(&images[0])?;
    wait::until("the failed look in the sweep", WITHIN, || async {
        let found = Api::<FreshnessSweep>::all(lab.admin.clone()).get(SWEEP).await?.spec;
        let registry = found.registries.first().context("no registry")?;
        Ok((registry.unconfirmed == [name.clone()] && registry.confirmed == 1).then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_record_goes_and_its_variant_stays() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1", "v2"]).await?;
    let _controller = lab.start_controller_with("keepRecordsFor: 4s").await?;
    let tag = recorded_tag(&lab.ready(&images[0]).await?)?;
    lab.ready(&images[1]).await?;
    let (unused, used) = (record_name_of(&images[0])?, record_name_of(&images[1])?);
    delete_deployment(&lab, "v1").await?;
    wait::until("the mark on the unused record", WITHIN, || async {
        let record = lab.records().get(&unused).await?;
        Ok(record.annotations().contains_key(keys::UNUSED_SINCE).then_some(()))
    })
    .await?;
    wait::until("the deletion of the unused record", WITHIN, || async {
        Ok(lab.records().get_opt(&unused).await?.is_none().then_some(()))
    })
    .await?;
    assert!(lab.records().get_opt(&used).await?.is_some());
    assert!(lab.stored("app").tags().await?.contains(&tag), "variants stay");

    let recording = lab.gateway.record();
    lab.deploy("on", "again", &images[0]).await?;
    assert_eq!(recorded_tag(&lab.ready(&images[0]).await?)?, tag);
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| is_upload(call)), "the new record finds the variant: {calls:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn record_that_is_used_again_stays() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1"]).await?;
    let _controller = lab.start_controller_with("keepRecordsFor: 100s").await?;
    lab.ready(&images[0]).await?;
    let name = record_name_of(&images[0])?;
    let uid = lab.records().get(&name).await?.uid();
    let is_marked = |expected: bool| {
        let (lab, name) = (&lab, &name);
        wait::until(format!("the record to be marked: {expected}"), WITHIN, move || async move {
            let record = lab.records().get(name).await?;
            Ok((record.annotations().contains_key(keys::UNUSED_SINCE) == expected).then_some(()))
        })
    };
    delete_deployment(&lab, "v1").await?;
    is_marked(true).await?;
    lab.deploy("on", "v1", &images[0]).await?;
    is_marked(false).await?;
    assert_eq!(lab.records().get(&name).await?.uid(), uid);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_sweep_is_reported_and_replaced() -> Result<()> {
    let lab = Lab::start().await?;
    let images = deploy_all(&lab, &["v1"]).await?;
    let kind = ApiResource::erase::<FreshnessSweep>(&());
    let sweeps: Api<DynamicObject> = Api::all_with(lab.admin.clone(), &kind);
    // Base64 of seven bytes, and a text that is no base64.
    for (damaged, cause) in [("ZGFtYWdlZA==", "the confirmations have 7 bytes"), ("%", "Invalid symbol")] {
        let spec =
            json!({"sweptAt": Timestamp::now(), "confirmed": 1, "unconfirmed": 0, "confirmations": damaged});
        let object = DynamicObject::new(SWEEP, &kind).data(json!({"spec": spec}));
        sweeps.create(&PostParams::default(), &object).await?;
        let mut replica = Replica::start(&lab, "reader", &lab.api_server().await?).await?;
        lab.ready(&images[0]).await.with_context(|| replica.log())?;
        swept(&lab, &images[0], Timestamp::UNIX_EPOCH).await.with_context(|| replica.log())?;
        let log = replica.log();
        let line = log.lines().find(|line| line.contains("ignoring an unreadable freshness sweep"));
        assert!(line.is_some_and(|line| line.contains(cause)), "{cause}: {log}");
        replica.child.kill().await?;
        lab.forget_leader().await?;
        sweeps.delete(SWEEP, &DeleteParams::default()).await?;
    }
    Ok(())
}
