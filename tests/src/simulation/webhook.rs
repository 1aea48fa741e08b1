//! zstart's webhook program in a simulation, with the chart's rights.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::{Simulation, write_json};
use crate::chart::NAMESPACE;
use crate::cluster::built_binaries;
use crate::pki::{Pki, Subject};
use crate::ports::free_ports;
use crate::process::Component;
use crate::wait;

/// Name of the registered webhook, and so the prefix of its audit annotations.
const WEBHOOK: &str = "pods.zstart.dev";
/// Time limit of the start.
const READY_WITHIN: Duration = Duration::from_mins(1);

/// A running webhook program.
#[derive(Debug)]
pub struct WebhookProcess {
    component: Component,
    https: SocketAddr,
    health: SocketAddr,
    authority: String,
}

impl WebhookProcess {
    /// Audit annotation that holds the webhook's decisions about a pod.
    pub const DECISIONS: &str = "pods.zstart.dev/decisions";

    /// Starts the program as the service account of the chart, and waits until it is ready. The namespace and
    /// the account's rights must exist, and the definition of records too.
    pub async fn start(simulation: &Simulation, user: &str) -> Result<Self> {
        let folder = simulation.plane().folder();
        let pki = Pki::create(&folder.join("webhook-pki"))?;
        let subject =
            Subject { file: "webhook", name: "webhook", organisation: "zstart", addresses: &["127.0.0.1"] };
        pki.issue(&subject)?;
        write_serving_secret(simulation, &pki).await?;
        let [https, health] = free_ports()?.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let config = json!({"listen": https, "healthListen": health});
        let config = write_json(&folder.join("webhook.json"), &config)?;
        let kubeconfig = write_json(
            &folder.join("webhook.kubeconfig"),
            &impersonation(simulation.plane().kubeconfig(), user)?,
        )?;
        let program = built_binaries()?.join("zstart-webhook");
        let component = Component::start("zstart-webhook", folder, &program, |command| {
            command.arg(format!("--config={}", config.display())).env("POD_NAMESPACE", NAMESPACE);
            command.env("KUBECONFIG", &kubeconfig)
        })?;
        let authority = STANDARD.encode(std::fs::read(pki.path("ca.crt"))?);
        let mut webhook = Self { component, https, health, authority };
        let ready = format!("http://{}/readyz", webhook.health);
        let ready = || async {
            let answer = reqwest::get(&ready).await?;
            let status = answer.status();
            ensure!(status.is_success(), "the webhook isn't ready: {}", answer.text().await?);
            Ok(Some(()))
        };
        wait::until_component(&mut webhook.component, "the webhook to be ready", READY_WITHIN, ready).await?;
        Ok(webhook)
    }

    /// Registers the webhook for new pods. A pod that the webhook fails to review is refused, unlike with the
    /// chart: no failure stays unseen.
    pub async fn register(&self, simulation: &Simulation) -> Result<()> {
        let configuration = serde_json::from_value(json!({"metadata": {"name": "zstart"}, "webhooks": [{
            "name": WEBHOOK, "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": format!("https://{}/mutate", self.https), "caBundle": self.authority},
            "failurePolicy": "Fail", "timeoutSeconds": 10, "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
            ],
        }]}))?;
        let api: Api<MutatingWebhookConfiguration> = Api::all(simulation.client());
        let made = api.create(&PostParams::default(), &configuration).await;
        made.context("failed to register the webhook")?;
        Ok(())
    }
}

async fn write_serving_secret(simulation: &Simulation, pki: &Pki) -> Result<()> {
    let read = |file: &str| std::fs::read_to_string(pki.path(file));
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "zstart-webhook-tls"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": read("webhook.crt")?, "tls.key": read("webhook.key")?},
    }))?;
    let api: Api<Secret> = Api::namespaced(simulation.client(), NAMESPACE);
    api.create(&PostParams::default(), &secret).await.context("failed to create the serving Secret")?;
    Ok(())
}

/// The administrator's kubeconfig, with requests as another user. (The lab's kubeconfig files are JSON.)
fn impersonation(kubeconfig: &Path, user: &str) -> Result<Value> {
    let mut config: Value = serde_json::from_slice(&std::fs::read(kubeconfig)?)?;
    let administrator = config.pointer_mut("/users/0/user").context("the kubeconfig has no user")?;
    administrator["as"] = json!(user);
    Ok(config)
}
