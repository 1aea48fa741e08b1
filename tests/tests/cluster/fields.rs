//! A pod with an image in each field: init container, restartable init container, container, ephemeral container
//! and image volume.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::keys;
use zstart_tests::wait;

use crate::shop::{NAMESPACE, Shop, WITHIN, deployment_of, images, pod, source, statuses};

const APP: &str = "fields";
/// Image of the init container and of the debugging container.
const TOOLS: &str = "tools";

/// Starts the pod and requires a variant in each field.
pub(crate) async fn every_field(shop: &Shop) -> Result<()> {
    let names = ["proxy", APP, "data", TOOLS];
    let mut digests = Vec::new();
    for name in names {
        digests.push(shop.push(name, &format!("{name} one")).await?);
    }
    let mount = json!([{"name": "data", "mountPath": "/data"}]);
    let print = |file: &str| json!(["/bin/busybox", "cat", file]);
    let serve = "/bin/busybox cat /version /data/version; exec /bin/busybox sleep 2147483647";
    shop.apply(&deployment_of(
        APP,
        1,
        &json!({
            "initContainers": [
                {"name": "init", "image": source(TOOLS), "command": print("/version")},
                {"name": "sidecar", "image": source("proxy"), "restartPolicy": "Always"},
            ],
            "containers": [{
                "name": "app", "image": source(APP), "command": ["/bin/sh", "-c", serve], "volumeMounts": mount,
            }],
            "volumes": [{"name": "data", "image": {"reference": source("data")}}],
        }),
    ))?;
    let mut variants = Vec::new();
    for (name, digest) in names.iter().zip(&digests) {
        variants.push(shop.variant(name, digest).await?);
    }
    let [proxy, app, data, tools] = &variants[..] else { anyhow::bail!("not four variants") };
    let pod = shop.replace(APP, &names, 1, app).await?.remove(0);
    let name = pod.name_any();
    shop.say(&format!("$ kubectl debug {name} --image={} --container=debugger", source(TOOLS)));
    let image = format!("--image={}", source(TOOLS));
    let mut debug = vec!["debug", &name, &image, "--container=debugger", "--profile=general", "--"];
    debug.extend(["/bin/busybox", "cat", "/version"]);
    shop.kubectl(&debug)?;
    let pod = debugged(shop, &name).await?;

    let spec = serde_json::to_value(&pod.spec)?;
    for (pointer, variant) in [
        ("/initContainers/0/image", tools),
        ("/initContainers/1/image", proxy),
        ("/containers/0/image", app),
        ("/ephemeralContainers/0/image", tools),
        ("/volumes/0/image/reference", data),
    ] {
        ensure!(spec.pointer(pointer).and_then(Value::as_str) == Some(variant), "{pointer} of {spec:#}");
    }
    for (container, printed) in [
        ("init", "tools one\n"),
        ("sidecar", "proxy one\n"),
        ("app", "fields one\ndata one\n"),
        ("debugger", "tools one\n"),
    ] {
        let logs = shop.kubectl(&["logs", &name, "--container", container])?;
        ensure!(logs == printed, "container {container} printed {logs:?}");
    }
    let originals = pod.annotations().get(keys::ORIGINALS).context("the pod has no annotation")?;
    let originals: Value = serde_json::from_str(originals)?;
    // The API server accepts no annotation together with an ephemeral container.
    ensure!(
        originals
            == json!({
                "initContainers/init": source(TOOLS), "initContainers/sidecar": source("proxy"),
                "containers/app": source(APP), "volumes/data": source("data"),
            }),
        "{originals:#}"
    );
    shop.say(&format!(
        "$ kubectl get pod {name} -o yaml\n{}",
        shop.kubectl(&["get", "pod", &name, "-o", "yaml"])?
    ));
    explained(shop, &name, &variants)
}

/// Applies a pod without a controller twice, as its user does. A rewrite would be undone by the second time, and with
/// an image volume the API server would refuse it.
pub(crate) async fn applied_bare_pod(shop: &Shop) -> Result<()> {
    let container = json!({
        "image": source(APP), "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    let mut bare = pod(NAMESPACE, "bare", &json!({"app": "bare"}), &container);
    bare["spec"]["volumes"] = json!([{"name": "data", "image": {"reference": source("data")}}]);
    shop.apply(&bare)?;
    let first = shop.running(NAMESPACE, "bare", 1, |_| true).await?.remove(0);
    shop.apply(&bare)?;
    let file = shop.file("bare.json", &bare)?;
    // kubectl diff exits with 1 if the cluster's object differs.
    shop.kubectl(&["diff", "-f", &file])?;
    let again = shop.running(NAMESPACE, "bare", 1, |_| true).await?.remove(0);
    ensure!(images(&again) == [source(APP)] && again.uid() == first.uid(), "{again:#?}");
    ensure!(statuses(&again).values().all(|status| status.restart_count == 0), "{again:#?}");
    let explained = shop.zstart(&["explain", "pod", "bare", "-n", NAMESPACE])?;
    shop.show_output(&format!("zstart explain pod bare -n {NAMESPACE}"), &explained);
    ensure!(explained.text.matches("\n  now: AppliedBare, ").count() == 2, "{}", explained.text);
    Ok(())
}

/// Waits until the ephemeral container has ended well and everything else is ready.
async fn debugged(shop: &Shop, name: &str) -> Result<Pod> {
    let pods: Api<Pod> = Api::namespaced(shop.cluster.client(), NAMESPACE);
    let pod = wait::until("the ephemeral container to end", WITHIN, || async {
        let pod = pods.get(name).await?;
        let status = serde_json::to_value(&pod.status)?;
        let code = status.pointer("/ephemeralContainerStatuses/0/state/terminated/exitCode").cloned();
        let is_ready = |pointer| status.pointer(pointer) == Some(&json!(true));
        let is_met = code == Some(json!(0))
            && is_ready("/initContainerStatuses/1/ready")
            && is_ready("/containerStatuses/0/ready");
        Ok(is_met.then_some(pod))
    });
    pod.await.with_context(|| shop.diagnostics())
}

/// Requires that `zstart explain` names each field with its variant.
fn explained(shop: &Shop, name: &str, variants: &[String]) -> Result<()> {
    let explained = shop.zstart(&["explain", "pod", name, "-n", NAMESPACE])?;
    shop.show_output(&format!("zstart explain pod {name} -n {NAMESPACE}"), &explained);
    ensure!(explained.code == Some(0), "{explained:?}");
    for field in ["initContainers/init", "initContainers/sidecar", "containers/app", "volumes/data"] {
        ensure!(explained.text.contains(&format!("\n{field}  ")), "{}", explained.text);
    }
    for words in [
        "\n  then: a variant whose original isn't recorded, as that of an ephemeral container; it runs on node lab\n",
        "\n  now: AlreadyVariant, a new ephemeral container of this image runs ",
    ] {
        ensure!(explained.text.contains(words), "{}", explained.text);
    }
    for variant in variants {
        let now = format!("now: Rewritten, a new pod runs {variant}");
        ensure!(explained.text.contains(&now), "{}", explained.text);
    }
    Ok(())
}
