//! Platforms that join a cluster, and conversions for them that fail.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use jiff::Timestamp;
use tokio::process::Child;
use zstart_core::record::{CONVERTED, ImageConversionStatus, READY, RecordReason, Variant};
use zstart_core::{Digest, VariantNames};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::ecr::{FakeEcr, Identity, PRIVATE};
use zstart_tests::registry::gateway::Fault;
use zstart_tests::registry::repository_reader::{RepositoryReader, text};

use crate::lab::{Lab, configuration};
use crate::program::{command, terminate};
use crate::records::{condition_of, is_upload, record_name_of};
use crate::sweep::swept;

/// Pushes an index for amd64, arm64 and s390x.
async fn push_index(lab: &Lab, name: &str) -> Result<Digest> {
    let of = |architecture: &str| {
        let content = format!("{name} for {architecture}");
        Fixture::new().platform("linux", architecture).layer(&[("etc/app", content.as_bytes())])
    };
    let index = Index::new().image(&of("amd64"))?.image(&of("arm64"))?.image(&of("s390x"))?;
    index.prepare()?.push(&lab.registry.host(), name).await
}

fn serves(platforms: usize) -> impl Fn(&ImageConversionStatus) -> bool {
    move |status| {
        condition_of(status, READY).0 == "True"
            && status.variant.as_ref().is_some_and(|variant| variant.platforms.len() == platforms)
    }
}

async fn serving(lab: &Lab, image: &str, platforms: usize) -> Result<Variant> {
    let status = lab.wait_for(image, &format!("ready for {platforms} platforms"), serves(platforms)).await?;
    status.variant.context("no variant")
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_addition_of_a_platform_keeps_the_variant() -> Result<()> {
    let lab = Lab::start().await?;
    let refuse = |status, body| Fault::Respond(status, vec![], body);
    let mut cases = vec![
        (
            "denied",
            (Method::POST, "/v2/denied/blobs/uploads/".to_owned()),
            refuse(StatusCode::FORBIDDEN, r#"{"errors":[{"code":"DENIED"}]}"#),
            RecordReason::PushDenied,
        ),
        (
            "immutable",
            (Method::PUT, "/v2/immutable/manifests/v1-zstd-".to_owned()),
            refuse(StatusCode::BAD_REQUEST, r#"{"errors":[{"code":"TAG_INVALID"}]}"#),
            RecordReason::VariantConflict,
        ),
    ];
    for (name, ..) in &cases {
        push_index(&lab, &format!("{name}:v1")).await?;
    }
    push_index(&lab, "damaged:v1").await?;
    let joining = lab.stored("damaged").manifest_for("v1", "arm64").await?;
    let layer = (Method::GET, text(&joining["layers"][0]["digest"])?.to_owned());
    cases.push(("damaged", layer, Fault::FlipBytes, RecordReason::ContentMismatch));
    let image = |name: &str| lab.image(&format!("{name}:v1"));
    for (name, ..) in &cases {
        lab.deploy("on", name, &image(name)).await?;
    }
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let mut before = Vec::new();
    for (name, ..) in &cases {
        before.push(serving(&lab, &image(name), 1).await?);
    }

    for (_, (method, path), fault, _) in &cases {
        lab.gateway.fault(method.clone(), path, fault.clone());
    }
    lab.node("graviton", "arm64").await?;
    for ((name, _, _, reason), before) in cases.iter().zip(&before) {
        let failed = |status: &ImageConversionStatus| condition_of(status, CONVERTED).1 == reason.as_str();
        let status = lab.wait_for(&image(name), &format!("reported as {reason}"), failed).await?;
        assert_eq!(status.variant.as_ref(), Some(before), "{name}");
        let ready = condition_of(&status, READY);
        assert_eq!((ready.0, ready.1), ("True", "Verified"), "{name}: {ready:?}");
        let message = condition_of(&status, CONVERTED).2;
        assert!(message.starts_with("failed to add linux/arm64 to the variant: "), "{name}: {message}");
        let variant = before.reference.digest().context("no digest")?;
        assert_eq!(&lab.stored(name).digest(variant.as_str()).await?, variant, "pods pull it");
    }

    // The next attempt is due in a minute. The tag is looked at meanwhile: otherwise the variant would become stale.
    let denied = image("denied");
    let first = swept(&lab, &denied, Timestamp::now()).await?;
    swept(&lab, &denied, first).await?;
    let status = lab.records().get(&record_name_of(&denied)?).await?.status.context("no status")?;
    assert_eq!(condition_of(&status, CONVERTED).1, "PushDenied");
    lab.gateway.clear_faults();
    for (name, ..) in &cases {
        // A denial is remembered for hours.
        lab.retry(&image(name)).await?;
        serving(&lab, &image(name), 2).await?;
    }
    Ok(())
}

/// A cluster whose images are in the fake ECR, whose tags are immutable.
struct EcrLab {
    lab: Lab,
    ecr: FakeEcr,
    image: String,
}

impl EcrLab {
    async fn start() -> Result<Self> {
        let lab = Lab::start().await?;
        let ecr = FakeEcr::start(&lab.registry.host(), &["app"]).await?;
        ecr.make_tags_immutable();
        push_index(&lab, "app:v1").await?;
        let image = format!("{PRIVATE}/app:v1");
        lab.deploy("on", "web", &image).await?;
        Ok(Self { lab, ecr, image })
    }

    fn start_controller(&self, level: i32) -> Result<Child> {
        let config = self.lab.plane.folder().join("controller.yaml");
        let more = format!("ecrRegistries: [{PRIVATE}]\nlevel: {level}\nrecheckInterval: 1s");
        std::fs::write(&config, configuration(&[], &more))?;
        let mut command = command(self.lab.plane.kubeconfig(), &config)?;
        command.envs(self.ecr.environment(&Identity::WebIdentity)?);
        Ok(command.spawn()?)
    }

    /// Waits for a variant of so many platforms, and requires that the record is Ready all the time.
    async fn joined(&self, platforms: usize) -> Result<Variant> {
        let status = self
            .lab
            .wait_for(&self.image, &format!("ready for {platforms} platforms"), |status| {
                assert_eq!(condition_of(status, READY).0, "True", "{status:?}");
                serves(platforms)(status)
            })
            .await?;
        status.variant.context("no variant")
    }

    /// Requires that a variant can be pulled whole for these nodes, by tag and by digest.
    async fn require_pullable(&self, variant: &Variant, architectures: &[&str]) -> Result<()> {
        let stored = self.stored();
        let digest = variant.reference.digest().context("no digest")?;
        let tag = variant.reference.tag().context("no tag")?.to_string();
        assert_eq!(&stored.digest(&tag).await?, digest, "{tag} moved");
        for architecture in architectures {
            let manifest = stored.manifest_for(digest.as_str(), architecture).await?;
            let source = stored.manifest_for("v1", architecture).await?;
            stored.require_same_files(&manifest, &source).await?;
        }
        Ok(())
    }

    fn stored(&self) -> RepositoryReader {
        self.lab.stored("app")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollout_across_joining_nodes_with_immutable_tags() -> Result<()> {
    let cluster = EcrLab::start().await?;
    let mut controller = cluster.start_controller(3)?;
    let first = serving(&cluster.lab, &cluster.image, 1).await?;
    cluster.lab.node("graviton", "arm64").await?;
    let second = cluster.joined(2).await?;
    // A new level changes nothing until another platform joins.
    assert_eq!(terminate(&mut controller).await?, Some(0));
    let mut controller = cluster.start_controller(9)?;
    cluster.lab.node("telum", "s390x").await?;
    let third = cluster.joined(3).await?;
    assert!(third.settings.ends_with("level=9"), "{third:?}");
    assert!(second.settings.ends_with("level=3;method=auto"), "{second:?}");
    let tags = [&first, &second, &third].map(|variant| variant.reference.tag().cloned());
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), 3, "{tags:?}");
    assert_eq!(terminate(&mut controller).await?, Some(0));

    // Pods of all three run now.
    assert_eq!(cluster.ecr.expire_untagged(&cluster.lab.registry).await?, [""; 0]);
    cluster.require_pullable(&first, &["amd64"]).await?;
    cluster.require_pullable(&second, &["amd64", "arm64"]).await?;
    cluster.require_pullable(&third, &["amd64", "arm64", "s390x"]).await?;
    let statuses = cluster.ecr.manifest_push_statuses();
    assert!(statuses.iter().all(|status| *status == StatusCode::CREATED), "{statuses:?}");
    // ECR keeps the manifests of a kept index: they need no tags.
    assert_eq!(cluster.stored().tags().await?.len(), 4);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn first_form_variant_serves_and_keeps_its_tag() -> Result<()> {
    let lab = Lab::start().await?;
    let source = push_index(&lab, "app:v1").await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let controller = lab.start_controller().await?;
    let made = serving(&lab, &image, 1).await?;
    controller.stop().await?;
    // As an earlier version of zstart left it.
    let (stored, digest) = (lab.stored("app"), made.reference.digest().context("no digest")?);
    let names = VariantNames::of(&image.parse()?, &source);
    let old = names.first_form().to_string();
    stored.tag_manifest(digest.as_str(), &old).await?;
    stored.delete_tag(made.reference.tag().context("no tag")?.as_str()).await?;
    lab.records()
        .delete(&crate::records::record_name_of(&image)?, &kube::api::DeleteParams::default())
        .await?;

    let recording = lab.gateway.record();
    let _controller = lab.start_controller().await?;
    let found = serving(&lab, &image, 1).await?;
    assert_eq!(found.reference.tag().map(ToString::to_string), Some(old.clone()));
    assert_eq!(found.reference.digest(), Some(digest));
    let calls = recording.calls();
    assert!(!calls.iter().any(|call| is_upload(call)), "{calls:?}");

    lab.node("graviton", "arm64").await?;
    let both = serving(&lab, &image, 2).await?;
    assert_ne!(both.reference.tag(), found.reference.tag());
    assert_eq!(&stored.digest(&old).await?, digest, "pods run it");
    Ok(())
}

/// A cluster that meets the variant of another cluster's platforms only.
#[tokio::test(flavor = "multi_thread")]
async fn whole_part_serves_while_the_rest_cannot_be_pushed() -> Result<()> {
    let lab = Lab::start().await?;
    push_index(&lab, "app:v1").await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let controller = lab.start_controller().await?;
    let first = serving(&lab, &image, 1).await?;
    controller.stop().await?;
    lab.records()
        .delete(&crate::records::record_name_of(&image)?, &kube::api::DeleteParams::default())
        .await?;
    lab.node("graviton", "arm64").await?;
    let denied = Fault::Respond(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#);
    lab.gateway.fault(Method::POST, "/blobs/uploads/", denied);
    let _controller = lab.start_controller().await?;
    let failed = |status: &ImageConversionStatus| condition_of(status, CONVERTED).1 == "PushDenied";
    let status = lab.wait_for(&image, "reported as PushDenied", failed).await?;
    assert_eq!(condition_of(&status, READY).0, "True");
    assert_eq!(status.variant.context("no variant")?.reference, first.reference);
    Ok(())
}
