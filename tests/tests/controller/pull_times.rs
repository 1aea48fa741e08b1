//! Measured pulls. The test writes the events of kubelets.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use zstart_core::record::{ImageConversionStatus, MeasuredPulls, PullFigures};
use zstart_core::{Digest, keys};
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;

use crate::lab::{Lab, USER, WITHIN};
use crate::program::Replica;
use crate::records::record_name_of;

/// Source whose pulls show that the controller receives events.
const PROBE: &str = "probe:v1";

/// A leading controller that receives the kubelets' events.
struct Meter<'a> {
    lab: &'a Lab,
    replica: Replica,
    /// Pulls of originals when the controller received its first event.
    probes: u64,
}

/// Makes names of events and nodes unique.
static NUMBER: AtomicUsize = AtomicUsize::new(0);

fn unique(name: &str) -> String {
    format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The kubelet's text about a pull.
fn pulled(image: &str, rest: &str) -> String {
    format!("Successfully pulled image \"{image}\" in {rest}")
}

impl Lab {
    /// Creates an event of a node's kubelet about a pod in a namespace. Returns its name.
    async fn kubelet_says(&self, node: &str, namespace: &str, message: &str) -> Result<String> {
        self.component_says("kubelet", node, namespace, message).await
    }

    async fn component_says(
        &self,
        component: &str,
        node: &str,
        namespace: &str,
        message: &str,
    ) -> Result<String> {
        let (name, pod) = (unique("pulled"), unique("pod"));
        let event = json!({
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": {
                "kind": "Pod", "namespace": namespace, "name": pod, "uid": pod, "apiVersion": "v1",
                "fieldPath": "spec.containers{app}",
            },
            "reason": "Pulled", "message": message, "type": "Normal", "count": 1,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
            "source": {"component": component, "host": node},
            "reportingComponent": component, "reportingInstance": node,
        });
        self.create::<Event>(&self.namespaced(namespace), event).await?;
        Ok(name)
    }

    /// Pushes and deploys an image.
    async fn application(&self, name: &str, content: &str) -> Result<Digest> {
        let digest = self.push(name, &Fixture::new().layer(&[("etc/app", content.as_bytes())])).await?;
        let app = name.split(':').next().unwrap_or_default();
        self.deploy("on", app, &self.image(name)).await?;
        Ok(digest)
    }

    async fn measured(&self, image: &str, expected: &MeasuredPulls) -> Result<ImageConversionStatus> {
        let what = format!("measured as {expected:?}");
        let measured = self.wait_for(image, &what, |status| status.pulls.as_ref() == Some(expected));
        match measured.await {
            Ok(status) => Ok(status),
            Err(error) => {
                let record = self.records().get(&record_name_of(image)?).await?;
                Err(error.context(format!("measured: {:?}", record.status.and_then(|status| status.pulls))))
            }
        }
    }
}

impl<'a> Meter<'a> {
    /// Starts a controller and waits until it receives events.
    async fn start(lab: &'a Lab, server: &str) -> Result<Self> {
        lab.application(PROBE, "probe").await?;
        let mut meter = Self { lab, replica: Replica::start(lab, "meter", server).await?, probes: 0 };
        meter.probes = wait::until("the first measured pull", WITHIN, || async {
            meter.probe().await?;
            let count = meter.count("pull_seconds_count", "original").await?;
            Ok((count > 0).then_some(count))
        })
        .await?;
        // Events that are under way count too.
        meter.probes = meter.settled().await?;
        Ok(meter)
    }

    async fn probe(&self) -> Result<()> {
        let message = pulled(&self.lab.image(PROBE), "1s (1s including waiting). Image size: 10 bytes.");
        self.lab.kubelet_says(&unique("node"), "off", &message).await?;
        Ok(())
    }

    async fn count(&self, metric: &str, kind: &str) -> Result<u64> {
        let front = format!("zstart_controller_{metric}{{kind=\"{kind}\"}} ");
        let (_, text) = self.replica.get("metrics").await?;
        let value = text.lines().find_map(|line| line.strip_prefix(&front));
        Ok(value.map(str::parse).transpose()?.unwrap_or_default())
    }

    /// Waits until the controller has received every event so far: it receives them in their order. Returns the
    /// number of measured pulls of originals.
    async fn settled(&self) -> Result<u64> {
        let image = self.lab.image(PROBE);
        let node = unique("settled");
        let before = self.count("repeated_pulls_total", "original").await?;
        for _ in 0..2 {
            self.lab.kubelet_says(&node, "off", &pulled(&image, "1s (1s including waiting)")).await?;
        }
        wait::until("all events to be received", WITHIN, || async {
            let repeated = self.count("repeated_pulls_total", "original").await?;
            Ok((repeated > before).then_some(()))
        })
        .await?;
        self.count("pull_seconds_count", "original").await
    }

    /// Ends the controller at once.
    async fn kill(mut self) -> Result<()> {
        self.replica.child.kill().await?;
        self.lab.forget_leader().await
    }
}

fn figures(pulls: i64, median_milliseconds: i64, image_bytes: Option<i64>) -> PullFigures {
    PullFigures { pulls, median_milliseconds, image_bytes }
}

/// Entries of `managedFields` with a record's measured pulls.
async fn managers_of_pulls(lab: &Lab, image: &str) -> Result<Vec<ManagedFieldsEntry>> {
    let record = lab.records().get(&record_name_of(image)?).await?;
    let has_pulls = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0["f:status"]["f:pulls"]);
        fields.is_some_and(|fields| !fields.is_null())
    };
    Ok(record.managed_fields().iter().filter(has_pulls).cloned().collect())
}

/// Requires that the measured pulls belong to their own field manager alone.
async fn require_own_manager(lab: &Lab, image: &str) -> Result<()> {
    let managers = managers_of_pulls(lab, image).await?;
    let names: Vec<&str> = managers.iter().filter_map(|entry| entry.manager.as_deref()).collect();
    assert_eq!(names, [keys::PULL_METER]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_of_kubelets_are_recorded_once() -> Result<()> {
    let lab = Lab::start().await?;
    let server = lab.api_server().await?;
    let original = lab.image("app:v1");
    // A pull from before the controller's start. It isn't listed.
    lab.kubelet_says("early", "on", &pulled(&original, "1h0m0s")).await?;
    let meter = Meter::start(&lab, &server).await?;
    let digest = lab.application("app:v1", "one").await?;
    let variant = lab.ready(&original).await?.variant.context("no variant")?.reference.to_string();

    lab.kubelet_says("a", "on", &pulled(&original, "4.0s")).await?;
    lab.kubelet_says("b", "off", &pulled(&original, "4.2s (1m9.3s including waiting)")).await?;
    let sized = "4.4s (4.4s including waiting). Image size: 1000 bytes.";
    lab.kubelet_says("c", "default", &pulled(&original, sized)).await?;
    let mut name = String::new();
    for (node, time) in [("d", "1s"), ("e", "2.1s"), ("f", "3s")] {
        let rest = format!("{time} (9s including waiting). Image size: 700 bytes.");
        name = lab.kubelet_says(node, "on", &pulled(&variant, &rest)).await?;
    }
    // No pulls, or no measurements.
    lab.kubelet_says("g", "on", &format!("Container image \"{variant}\" already present on machine")).await?;
    lab.component_says("other", "h", "on", &pulled(&variant, "1ms")).await?;
    lab.kubelet_says("a", "on", &pulled(&variant, "60ms (60ms including waiting)")).await?;
    lab.kubelet_says("i", "on", &pulled(&lab.image("unknown:v1"), "1ms")).await?;
    let again = Patch::Merge(json!({"count": 2}));
    lab.namespaced::<Event>("on").patch(&name, &PatchParams::default(), &again).await?;

    let expected = MeasuredPulls::new(
        digest.clone(),
        Some(figures(3, 4_200, Some(1000))),
        Some(figures(3, 2_100, Some(700))),
    );
    assert_eq!(expected.summary.saved, "50.0%");
    let status = lab.measured(&original, &expected).await?;
    // `settled` adds one pull.
    assert_eq!(meter.settled().await?, meter.probes + 3 + 1);
    assert_eq!(meter.count("pull_seconds_count", "variant").await?, 3);
    assert_eq!(meter.count("repeated_pulls_total", "variant").await?, 2);
    let sizes = &status.variant.as_ref().context("no variant")?.platforms[0];
    let saved = 3 * (sizes.source_bytes - sizes.variant_bytes);
    let (_, text) = meter.replica.get("metrics").await?;
    let line = format!("zstart_controller_pull_size_saved_bytes {saved}");
    assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");

    // A look at the source writes the status, and leaves the measured pulls alone.
    require_own_manager(&lab, &original).await?;
    let checked_at =
        |status: &ImageConversionStatus| status.source.as_ref().map(|source| source.checked_at.0);
    let before = checked_at(&status);
    lab.retry(&original).await?;
    let status = lab.wait_for(&original, "looked at again", |status| checked_at(status) > before).await?;
    assert_eq!(status.pulls, Some(expected));
    require_own_manager(&lab, &original).await?;

    // A new process continues, and counts no event twice.
    meter.kill().await?;
    let meter = Meter::start(&lab, &server).await?;
    lab.kubelet_says("j", "on", &pulled(&variant, "2s (2s including waiting). Image size: 701 bytes."))
        .await?;
    let expected =
        MeasuredPulls::new(digest, Some(figures(3, 4_200, Some(1000))), Some(figures(4, 2_100, Some(701))));
    lab.measured(&original, &expected).await?;

    // The tag moves. The figures begin again, also on a node that pulled before.
    meter.kill().await?;
    let moved = lab.push("app:v1", &Fixture::new().layer(&[("etc/app", b"two")])).await?;
    let _meter = Meter::start(&lab, &server).await?;
    lab.retry(&original).await?;
    let status = lab
        .wait_for(&original, "ready again", |status| {
            status.variant.as_ref().is_some_and(|variant| variant.source_digest == moved)
        })
        .await?;
    let variant = status.variant.context("no variant")?.reference.to_string();
    lab.kubelet_says("j", "on", &pulled(&variant, "2s (2s including waiting)")).await?;
    let expected = MeasuredPulls::new(moved, None, Some(figures(1, 2_000, None)));
    assert_eq!(expected.summary.saved, "too few");
    lab.measured(&original, &expected).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_before_the_opt_in_are_counted() -> Result<()> {
    let lab = Lab::start().await?;
    let meter = Meter::start(&lab, &lab.api_server().await?).await?;
    let original = lab.image("app:v1");
    for (node, time) in [("a", "4s"), ("b", "5s")] {
        lab.kubelet_says(node, "off", &pulled(&original, time)).await?;
    }
    meter.settled().await?;
    let digest = lab.application("app:v1", "one").await?;
    let variant = lab.ready(&original).await?.variant.context("no variant")?.reference.to_string();
    for node in ["b", "c"] {
        lab.kubelet_says(node, "on", &pulled(&variant, "2s")).await?;
    }
    // Node b has the layers.
    let expected = MeasuredPulls::new(digest, Some(figures(2, 4_500, None)), Some(figures(1, 2_000, None)));
    lab.measured(&original, &expected).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_watch_loses_no_pull_and_repeats_none() -> Result<()> {
    let lab = Lab::start().await?;
    let mut proxy = TcpProxy::start(lab.api_server().await?).await?;
    let meter = Meter::start(&lab, &proxy.host()).await?;
    let before = meter.probes;
    proxy.stop().await;
    for _ in 0..3 {
        meter.probe().await?;
    }
    proxy.restart().await?;
    // `settled` adds one pull.
    assert_eq!(meter.settled().await?, before + 3 + 1);
    // One of each call of `settled`.
    assert_eq!(meter.count("repeated_pulls_total", "original").await?, 2);
    Ok(())
}

/// Many records have new pulls at once, as after the start of a controller.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_written_at_most_every_two_seconds() -> Result<()> {
    const RECORDS: i64 = 5;
    let lab = Lab::start().await?;
    let server = lab.api_server().await?;
    let _meter = Meter::start(&lab, &server).await?;
    let images: Vec<String> = (0..RECORDS).map(|number| format!("app-{number}:v1")).collect();
    for name in &images {
        lab.application(name, "one").await?;
        lab.ready(&lab.image(name)).await?;
    }
    for name in &images {
        lab.kubelet_says("a", "on", &pulled(&lab.image(name), "1s (1s including waiting)")).await?;
    }
    let mut written = Vec::new();
    for name in &images {
        let image = lab.image(name);
        lab.wait_for(&image, "measured", |status| status.pulls.is_some()).await?;
        let entry = managers_of_pulls(&lab, &image).await?.pop().context("no entry of managedFields")?;
        written.push(entry.time.context("no time")?.0.as_second());
    }
    written.sort_unstable();
    // Times are whole seconds.
    assert!(written[written.len() - 1] - written[0] >= 2 * (RECORDS - 1) - 1, "{written:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn measurement_that_is_off_asks_for_no_events() -> Result<()> {
    let lab = Lab::start_with(ControlPlane::with_definitions(), &["controller.measurePulls=false"]).await?;
    lab.application("app:v1", "app").await?;
    let (server, image) = (lab.api_server().await?, lab.image("app:v1"));
    let replica = Replica::start_as(&lab, "meter", &server, Some(USER), "measurePulls: false").await?;
    lab.ready(&image).await.with_context(|| replica.log())?;
    assert!(!replica.log().contains("kubelets' events"), "{}", replica.log());
    Ok(())
}
