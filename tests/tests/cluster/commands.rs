//! `zstart check` and `zstart explain` on a real cluster: as it should be, and broken.

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use zstart_tests::cluster::{self, Cluster};
use zstart_tests::objects::{is_pod_ready, node_info};
use zstart_tests::wait;

use crate::shop::{Finished, NAMESPACE, Shop, WITHIN, deployment, images, pod, source, zstart};

/// Deployment of the scenarios.
pub(crate) const APP: &str = "web";

/// Starts the Deployment and waits until its pods run the variant. Returns the variant's reference.
pub(crate) async fn deploy(shop: &Shop) -> Result<String> {
    let digest = shop.push(APP, "one").await?;
    shop.apply(&deployment(APP, 2, "IfNotPresent"))?;
    let variant = shop.variant(APP, &digest).await?;
    shop.replace(APP, &[APP], 2, &variant).await?;
    Ok(variant)
}

/// Requires that all checks of a sound installation pass.
pub(crate) async fn sound(shop: &Shop) -> Result<()> {
    let report = wait::until("zstart check to pass", WITHIN, || async {
        let report = shop.zstart(&["check"])?;
        let is_sound =
            report.code == Some(0) && report.text.contains(" 0 with a warning, 0 failed, 0 skipped");
        ensure!(is_sound, "{}", report.text);
        Ok(Some(report))
    });
    shop.show_output("zstart check", &report.await?);
    Ok(())
}

/// Explains pods that run a variant and pods that don't.
pub(crate) async fn explain(shop: &Shop, variant: &str) -> Result<()> {
    let rewritten =
        shop.running(NAMESPACE, APP, 2, |pod| images(pod) == [variant]).await?.remove(0).name_any();
    let now = format!("  now: Rewritten, a new pod runs {variant}\n");
    let then = format!("\n  then: rewritten from {}, and runs on node lab\n", source(APP));
    expect(shop, &["explain", "pod", &rewritten, "-n", NAMESPACE], 0, &[&now, &then])?;
    let json = shop.zstart(&["explain", &format!("pod/{rewritten}"), "-n", NAMESPACE, "--output", "json"])?;
    shop.show_output(&format!("zstart explain pod/{rewritten} -n {NAMESPACE} --output json"), &json);
    let report: Value = serde_json::from_str(&json.text).with_context(|| json.text.clone())?;
    let image = &report["images"][0];
    ensure!(image["reason"] == "Rewritten" && image["runs"] == variant, "{report:#}");

    let opted_out = json!({zstart_core::keys::REWRITE: zstart_core::keys::DISABLED});
    shop.create(&pod(NAMESPACE, "left", &opted_out, &json!({"image": source(APP)})))?;
    expect(
        shop,
        &["explain", "pod", "left", "-n", NAMESPACE],
        0,
        &[
            "✗ the objectSelector of zstart excludes the pod by its labels, zstart.dev/rewrite=disabled",
            "now: NotReviewed",
        ],
    )?;
    let unknown = shop.file("unknown.json", &deployment("unknown", 1, "IfNotPresent"))?;
    let no_record = format!("✗ no record of {} exists", source("unknown"));
    expect(shop, &["explain", "-f", &unknown], 0, &[&no_record, "now: NoRecord"])?;
    expect(shop, &["explain", "pod", "absent", "-n", NAMESPACE], 3, &["pod absent doesn't exist"])
}

/// Stops the controller, so that nothing looks at tags, and restarts a rollout.
pub(crate) async fn not_fresh(shop: &Shop) -> Result<()> {
    scale(shop, "controller", 0).await?;
    shop.kubectl(&["rollout", "restart", "deployment", APP])?;
    let left =
        shop.running(NAMESPACE, APP, 2, |pod| images(pod) == [source(APP)]).await?.remove(0).name_any();
    expect(
        shop,
        &["explain", "pod", &left, "-n", NAMESPACE],
        0,
        &[
            "then: not rewritten, and runs on node lab",
            "✗ the pod's template was made or restarted at ",
            "now: NotFresh, a new pod runs",
        ],
    )?;
    let crosses = [
        "✗ the Deployment of the controller is scaled to 0 replicas",
        "kubectl -n zstart-system scale deployment/zstart-controller",
    ];
    expect(shop, &["check"], 1, &crosses)
}

/// Lets the API server distrust the webhook, while the controller is away. The controller repairs it.
pub(crate) async fn wrong_authority(shop: &Shop) -> Result<()> {
    let foreign = std::fs::read(shop.cluster.folder().join("pki/ca.crt"))?;
    let patch = json!([{
        "op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": STANDARD.encode(foreign),
    }]);
    let configuration = "mutatingwebhookconfiguration";
    shop.kubectl(&["patch", configuration, "zstart", "--type=json", "--patch", &patch.to_string()])?;
    let crosses = [
        "✗ no authority in the webhook configuration's caBundle signed the certificate",
        "✗ the API server admitted a dry-run pod in namespace shop without the webhook's answer",
    ];
    until_check(shop, &crosses).await?;
    scale(shop, "controller", 1).await?;
    sound(shop).await
}

/// Takes the webhook away.
pub(crate) async fn no_webhook(shop: &Shop) -> Result<()> {
    scale(shop, "webhook", 0).await?;
    let crosses = [
        "✗ the Deployment of the webhook is scaled to 0 replicas",
        "kubectl -n zstart-system scale deployment/zstart-webhook",
        "✗ the Service zstart-system/zstart-webhook has no ready endpoint",
        "✗ the API server admitted a dry-run pod in namespace shop without the webhook's answer",
    ];
    until_check(shop, &crosses).await?;
    scale(shop, "webhook", 2).await?;
    sound(shop).await
}

/// Adds a node whose containerd can't start zstd images.
pub(crate) fn old_node(shop: &Shop) -> Result<()> {
    let mut info = node_info("linux", "amd64", "containerd://1.4.13");
    info["kubeletVersion"] = json!("v1.20.15");
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": "old-node", "labels": {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"},
        },
        "status": {"nodeInfo": info},
    });
    shop.create(&node)?;
    let report = shop.zstart(&["check"])?;
    shop.show_output("zstart check", &report);
    ensure!(report.code == Some(0), "{report:?}");
    ensure!(report.text.contains("e.g. node old-node (containerd://1.4.13)"), "{}", report.text);
    let file = shop.file("web.json", &deployment(APP, 2, "IfNotPresent"))?;
    let blocked = "✗ node old-node (linux/amd64 with containerd://1.4.13) can't start the variant";
    expect(shop, &["explain", "-f", &file], 0, &[blocked, "now: RuntimeUnsupported"])?;
    shop.kubectl(&["delete", "node", "old-node"]).map(drop)
}

/// Runs the checks before the installation.
pub(crate) fn before_install(cluster: &Cluster) -> Result<Finished> {
    zstart(cluster, &["check"])
}

/// Runs and prints a command, whose exit code and words must be these.
fn expect(shop: &Shop, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let finished = shop.zstart(arguments)?;
    shop.show_output(&format!("zstart {}", arguments.join(" ")), &finished);
    ensure!(finished.code == Some(code), "{finished:?}");
    for word in words {
        ensure!(finished.text.contains(word), "{word:?} is missing");
    }
    Ok(())
}

/// Runs `zstart check` until it has these crosses, and prints it.
async fn until_check(shop: &Shop, words: &[&str]) -> Result<()> {
    let report = wait::until(format!("zstart check to say {words:?}"), WITHIN, || async {
        let report = shop.zstart(&["check"])?;
        let is_met = report.code == Some(1) && words.iter().all(|word| report.text.contains(word));
        ensure!(is_met, "{}", report.text);
        Ok(Some(report))
    });
    shop.show_output("zstart check", &report.await?);
    Ok(())
}

/// Scales one of zstart's Deployments, and waits until its pods are this many.
async fn scale(shop: &Shop, component: &str, replicas: usize) -> Result<()> {
    let deployment = format!("deployment/zstart-{component}");
    let zstart = ["--namespace", cluster::NAMESPACE];
    let replicas_argument = format!("--replicas={replicas}");
    shop.cluster.kubectl(&[&zstart[..], &["scale", &deployment, &replicas_argument]].concat())?;
    shop.say(&format!("scaled {deployment} to {replicas}"));
    let selector = format!("app.kubernetes.io/component={component}");
    let pods: kube::Api<Pod> = kube::Api::namespaced(shop.cluster.client(), cluster::NAMESPACE);
    wait::until(format!("{replicas} pods of the {component}"), WITHIN, || async {
        let found = pods.list(&kube::api::ListParams::default().labels(&selector)).await?.items;
        Ok((found.len() == replicas && found.iter().all(is_pod_ready)).then_some(()))
    })
    .await
}
