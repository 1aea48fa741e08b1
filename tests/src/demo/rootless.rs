//! The demo without root: API server, registry, conversion, and the pod that the API server stores after the
//! webhook's review.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_core::{Digest, Reference, keys, units};

use super::application::{self, IMAGE, NAMESPACE, Ready};
use super::layer_check::{self, LayerCheck};
use crate::cluster::NAMESPACE as SYSTEM;
use crate::control_plane::ControlPlane;
use crate::objects::node_info;
use crate::pki::{Pki, Subject};
use crate::ports::free_ports;
use crate::process::{self, Component};
use crate::registry::Registry;
use crate::steps::{print_below, print_block, step};
use crate::table::table;
use crate::tools::{self, Tool};
use crate::{oracle, wait};

const READY_WITHIN: Duration = Duration::from_mins(1);
/// The repository's file that users apply.
const DEFINITION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/zstart/files/crd.yaml");

/// Runs the demo with the image in a layout folder. Prints the table and the steps left out.
pub(super) async fn run(binaries: &Path, layout: &Path) -> Result<()> {
    let starting = async { anyhow::Ok((ControlPlane::start().await?, Registry::start().await?)) };
    let (plane, registry) =
        step("starting a Kubernetes API server and a registry (no root, so no node)", starting).await?;
    let kubectl = Kubectl { program: tools::find(Tool::Kubectl).await?, plane: &plane };
    let host = registry.host();
    let source: Reference = format!("{host}/{IMAGE}").parse()?;
    let pushing = application::push_image(layout, &host);
    let digest = step(&format!("pushing the gzip image as {source}"), pushing).await?;

    let zstart =
        step("starting zstart's controller and webhook", Zstart::start(&kubectl, binaries, &host)).await?;
    let deploying = async { kubectl.apply("shop", &application::objects(&source)) };
    step("applying a Deployment in a namespace labelled zstart.dev/rewrite=enabled", deploying).await?;
    let converting = Ready::wait(plane.client().await?, &source);
    let ready = step("waiting for the conversion record to become Ready", converting).await;
    let ready = ready.with_context(|| zstart.controller.log_tail())?;
    print_below(&kubectl.run(&["get", "imgconv"])?);

    let pod = step("creating a pod of the gzip image", rewritten_pod(&kubectl, &source, &ready)).await?;
    let blobs = registry.folder().join("blobs/docker/registry/v2/blobs");
    let check = layer_check::check_layers(|digest| blob(&blobs, digest), &ready.digest)?;
    application::require_source_unchanged(&host, &digest).await?;
    let comparing = oracle::require_equal(&host, &source, &ready.variant.reference);
    step("comparing image and variant with code that zstart's converter doesn't use", comparing).await?;
    report(&ready, &pod, &check);
    Ok(())
}

/// kubectl with the API server's kubeconfig.
struct Kubectl<'a> {
    program: PathBuf,
    plane: &'a ControlPlane,
}

impl Kubectl<'_> {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = std::process::Command::new(&self.program);
        process::run(command.env("KUBECONFIG", self.plane.kubeconfig()).args(arguments))
    }

    fn apply(&self, name: &str, objects: &Value) -> Result<()> {
        let file = self.plane.folder().join(format!("{name}.json"));
        std::fs::write(&file, serde_json::to_vec_pretty(objects)?)?;
        self.run(&["apply", "-f", &file.display().to_string()]).map(drop)
    }
}

/// zstart's two programs.
struct Zstart {
    controller: Component,
    _webhook: Component,
}

impl Zstart {
    async fn start(kubectl: &Kubectl<'_>, binaries: &Path, registry: &str) -> Result<Self> {
        let folder = kubectl.plane.folder();
        kubectl.run(&["apply", "-f", DEFINITION])?;
        let pki = Pki::create(&folder.join("webhook-pki"))?;
        let name = "webhook";
        pki.issue(&Subject { file: name, name, organisation: "zstart", addresses: &["127.0.0.1"] })?;
        let text = |file: &str| std::fs::read_to_string(pki.path(file));
        let [https, webhook_health, controller_health] = free_ports()?;
        kubectl.apply("zstart", &json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}},
            {
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": keys::SERVING_SECRET, "namespace": SYSTEM},
                "stringData": {"tls.crt": text("webhook.crt")?, "tls.key": text("webhook.key")?},
            },
            // Stands in for a kubelet, which would register the node.
            {
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": "lab", "labels": {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}},
            },
        ]}))?;
        let containerd = Tool::Containerd.version().trim_start_matches('v');
        let info = node_info("linux", "amd64", &format!("containerd://{containerd}"));
        let runtime = json!({"status": {"nodeInfo": info}});
        kubectl.run(&["patch", "node", "lab", "--subresource=status", "--patch", &runtime.to_string()])?;

        let start = |program: &'static str, config: &Value| -> Result<Component> {
            let file = folder.join(format!("{program}.yaml"));
            std::fs::write(&file, config.to_string())?;
            Component::start(program, folder, &binaries.join(program), |command| {
                command.env("KUBECONFIG", kubectl.plane.kubeconfig());
                command.arg("--config").arg(file).args(["--namespace", SYSTEM])
            })
        };
        let mut controller = start(
            "zstart-controller",
            &json!({
                "healthListen": local(controller_health), "plainHttpRegistries": [registry],
                // The controller's certificate is for a Service, which needs a cluster.
                "webhook": {"servingSecret": "unused"},
            }),
        )?;
        let mut webhook =
            start("zstart-webhook", &json!({"listen": local(https), "healthListen": local(webhook_health)}))?;
        for (component, port) in [(&mut controller, controller_health), (&mut webhook, webhook_health)] {
            let ready = || async move {
                let answer = reqwest::get(format!("http://{}/readyz", local(port))).await?;
                Ok(answer.status().is_success().then_some(()))
            };
            wait::until_component(component, "zstart to be ready", READY_WITHIN, ready).await?;
        }
        kubectl.apply("webhook", &configuration(&local(https), &text("ca.crt")?))?;
        Ok(Self { controller, _webhook: webhook })
    }
}

/// The chart's webhook configuration, with an address in place of the Service.
fn configuration(address: &str, authority: &str) -> Value {
    use base64::Engine as _;
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority);
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zstart"},
        "webhooks": [{
            "name": "pods.zstart.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {"url": format!("https://{address}/mutate"), "caBundle": bundle},
            "failurePolicy": "Ignore", "timeoutSeconds": 2, "reinvocationPolicy": "IfNeeded",
            "namespaceSelector": {"matchExpressions": [
                {"key": keys::REWRITE, "operator": "In", "values": [keys::ENABLED, keys::AUDIT]},
            ]},
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
            ],
        }],
    })
}

fn local(port: u16) -> String {
    format!("{}:{port}", Ipv4Addr::LOCALHOST)
}

/// Creates pods until one is rewritten: the webhook learns of the record through a watch.
async fn rewritten_pod(kubectl: &Kubectl<'_>, source: &Reference, ready: &Ready) -> Result<Value> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "forecast-", "namespace": NAMESPACE},
        "spec": application::pod_spec(source),
    });
    let file = kubectl.plane.folder().join("pod.json");
    std::fs::write(&file, pod.to_string())?;
    let variant = ready.variant.reference.to_string();
    wait::until(format!("a pod to get {variant}"), READY_WITHIN, || async {
        let made = kubectl.run(&["create", "-o", "json", "-f", &file.display().to_string()])?;
        let made: Value = serde_json::from_str(&made)?;
        Ok((made["spec"]["containers"][0]["image"] == variant.as_str()).then_some(made))
    })
    .await
}

/// File of a blob in the registry's storage.
fn blob(blobs: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    blobs.join(digest.algorithm().as_str()).join(&hex[..2]).join(hex).join("data")
}

fn report(ready: &Ready, pod: &Value, check: &LayerCheck) {
    let (gzip, zstd) = ready.sizes();
    print_block(&table(&[
        vec![String::new(), "gzip".into(), "zstd".into(), "saved".into()],
        vec!["compressed size".into(), units::size(gzip), units::size(zstd), units::saving(gzip, zstd)],
    ]));
    print_below(&format!("conversion       {} in zstart's controller", units::duration(ready.duration())));
    print_below(&format!(
        "files            {0} of {0} layers unpack to the config's diff_ids ({1} uncompressed)",
        check.equal_layers,
        units::size(check.uncompressed_bytes)
    ));
    print_below(&format!(
        "pod's image      {}",
        pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default()
    ));
    let originals = pod["metadata"]["annotations"][keys::ORIGINALS].as_str().unwrap_or_default();
    print_below(&format!("pod's originals  {originals}"));
    print_block(
        "Left out, because it needs root: a node with kubelet and containerd that pulls and starts the
pod, pull times, zstart's own images, and the installation with helm. `sudo make run` does all of it.",
    );
}
