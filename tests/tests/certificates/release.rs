//! The chart on an API server, installed by helm, with zstart's programs as processes. No kube-proxy runs, so
//! the API server calls the webhook at a loopback address.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use zstart_core::ImageConversion;
use zstart_tests::chart::{Helm, NAMESPACE, cert_manager, chart};
use zstart_tests::cluster::built_binaries;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::ports::free_ports;
use zstart_tests::wait;

use crate::handshake;

/// Start of a program, and delivery of an object to an API server's caches.
const WITHIN: Duration = Duration::from_mins(1);
/// Namespace of the pods.
const ENABLED: &str = "on";

pub(crate) struct Release {
    plane: ControlPlane,
    admin: Client,
    port: u16,
    health_port: u16,
}

impl Release {
    /// Installs the chart with this `webhook.certificate`.
    pub(crate) async fn install(certificate: &Value) -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let admin = plane.client().await?;
        cert_manager::define(&admin).await?;
        let [port, health_port] = free_ports()?;
        let values = plane.folder().join("values.yaml");
        let webhook = json!({"port": port, "healthPort": health_port, "certificate": certificate});
        std::fs::write(&values, json!({"webhook": webhook}).to_string())?;
        let helm = Helm::find().await?.with_kubeconfig(plane.kubeconfig());
        let chart = chart();
        let options = ["--create-namespace", "--namespace", NAMESPACE, "--values"];
        let files = [chart.as_os_str(), values.as_os_str()];
        helm.run(["install", "zstart"].into_iter().chain(options), [files[1], files[0]]).await?;
        let object = json!({"metadata": {"name": ENABLED, "labels": {"zstart.dev/rewrite": "enabled"}}});
        let namespaces: Api<Namespace> = Api::all(admin.clone());
        namespaces.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(Self { plane, admin, port, health_port })
    }

    pub(crate) fn admin(&self) -> &Client {
        &self.admin
    }

    pub(crate) fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.admin.clone())
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), NAMESPACE)
    }

    /// Names of the Secrets in zstart's namespace, without helm's own.
    pub(crate) async fn secret_names(&self) -> Result<Vec<String>> {
        let secrets = self.secrets().list(&ListParams::default()).await?;
        let ours = secrets.iter().filter(|secret| secret.type_.as_deref() != Some("helm.sh/release.v1"));
        Ok(ours.map(ResourceExt::name_any).collect())
    }

    /// `caBundle` of the only webhook.
    pub(crate) async fn bundle(&self, configuration: &str) -> Result<Option<Vec<u8>>> {
        let webhooks = self.configurations().get(configuration).await?.webhooks.unwrap_or_default();
        let [webhook] = webhooks.as_slice() else { anyhow::bail!("not one webhook: {webhooks:?}") };
        Ok(webhook.client_config.ca_bundle.clone().map(|bundle| bundle.0))
    }

    /// Starts the webhook with the chart's configuration and rights.
    pub(crate) async fn start_webhook(&self) -> Result<Child> {
        let mut config: Value = serde_json::from_slice(&std::fs::read(self.plane.kubeconfig())?)?;
        config["users"][0]["user"]["as"] = json!(format!("system:serviceaccount:{NAMESPACE}:zstart-webhook"));
        let kubeconfig = self.plane.folder().join("webhook.kubeconfig");
        std::fs::write(&kubeconfig, config.to_string())?;
        self.start("zstart-webhook", &kubeconfig).await
    }

    /// Runs the controller with the chart's configuration and with all rights until it has written a record,
    /// then terminates it.
    pub(crate) async fn run_controller(&self) -> Result<()> {
        let mut controller = self.start("zstart-controller", self.plane.kubeconfig()).await?;
        let records: Api<ImageConversion> = Api::all(self.admin.clone());
        wait::until("the controller to write a record", WITHIN, || async {
            Ok((!records.list(&ListParams::default()).await?.items.is_empty()).then_some(()))
        })
        .await?;
        let id = controller.id().context("the controller has ended")?;
        let told = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        anyhow::ensure!(told.success(), "kill: {told}");
        let ended = tokio::time::timeout(WITHIN, controller.wait()).await??;
        anyhow::ensure!(ended.success(), "zstart-controller: {ended}");
        Ok(())
    }

    /// Starts a program with the file in its `ConfigMap`, on loopback.
    async fn start(&self, name: &str, kubeconfig: &Path) -> Result<Child> {
        let config = self.write_config(name).await?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(built_binaries()?.join(name));
        command.arg("--config").arg(config).args(["--namespace", NAMESPACE]);
        command.env("KUBECONFIG", kubeconfig).env_remove("RUST_LOG");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command.spawn().with_context(|| format!("failed to start {name} with setpriv"))
    }

    async fn write_config(&self, name: &str) -> Result<PathBuf> {
        let maps: Api<ConfigMap> = Api::namespaced(self.admin.clone(), NAMESPACE);
        let data = maps.get(name).await?.data.unwrap_or_default();
        let text = data.get("config.yaml").with_context(|| format!("{name} has no config.yaml"))?;
        let file = self.plane.folder().join(format!("{name}.yaml"));
        // Nothing asks the controller's health port, 8080, which another test may use.
        let text = text.replace("0.0.0.0:8080", "127.0.0.1:0").replace("0.0.0.0", "127.0.0.1");
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Replaces the Service by the webhook's address, and refuses pods if the call fails.
    pub(crate) async fn call_webhook_directly(&self, configuration: &str) -> Result<()> {
        let url = format!("https://127.0.0.1:{}/mutate", self.port);
        self.change_webhook(
            configuration,
            &json!({"failurePolicy": "Fail", "clientConfig": {"service": null, "url": url}}),
        )
        .await
    }

    /// Changes members of the webhook as a person would, with kubectl.
    pub(crate) async fn change_webhook(&self, configuration: &str, members: &Value) -> Result<()> {
        let mut webhook = members.clone();
        webhook["name"] = json!("pods.zstart.dev");
        let patch = Patch::Strategic(json!({"webhooks": [webhook]}));
        self.configurations().patch(configuration, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn create_pod(&self) -> kube::Result<Pod> {
        let pods: Api<Pod> = Api::namespaced(self.admin.clone(), ENABLED);
        let mut pod = Pod::default();
        pod.metadata.generate_name = Some("app-".to_owned());
        // The controller finds no registry at this address.
        let container = k8s_openapi::api::core::v1::Container {
            name: "app".to_owned(),
            image: Some("127.0.0.1:1/app:v1".to_owned()),
            ..Default::default()
        };
        pod.spec.get_or_insert_default().containers.push(container);
        pods.create(&PostParams::default(), &pod).await
    }

    /// Number of images that the webhook decided on.
    async fn decisions(&self) -> Result<u64> {
        let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", self.health_port)).await?;
        let metrics = metrics.error_for_status()?.text().await?;
        let counters = metrics.lines().filter(|line| line.starts_with("zstart_webhook_images_total{"));
        counters.filter_map(|line| line.rsplit(' ').next()).map(|count| Ok(count.parse::<u64>()?)).sum()
    }

    /// Waits until the API server trusts the webhook's certificate and has a pod reviewed.
    pub(crate) async fn wait_until_reviewed(&self) -> Result<()> {
        wait::until("a pod to be reviewed", WITHIN, || async {
            let before = self.decisions().await?;
            self.create_pod().await?;
            Ok((self.decisions().await? > before).then_some(()))
        })
        .await
    }

    /// Waits until the webhook serves a certificate that this bundle verifies.
    pub(crate) async fn wait_until_served(&self, bundle: &str) -> Result<()> {
        let port = self.port;
        wait::until("the certificate to be served", WITHIN, || async {
            let bundle = bundle.as_bytes().to_vec();
            tokio::task::spawn_blocking(move || handshake::connect_to(port, &bundle)).await?.map(Some)
        })
        .await
    }

    /// Waits until the API server refuses a pod, because it distrusts the webhook's certificate.
    pub(crate) async fn wait_until_distrusted(&self) -> Result<()> {
        wait::until("a pod to be refused", WITHIN, || async {
            match self.create_pod().await {
                Err(kube::Error::Api(status)) if status.message.contains("unknown authority") => Ok(Some(())),
                Err(error) => Err(error.into()),
                Ok(_) => Ok(None),
            }
        })
        .await
    }
}
