//! An API server that calls a webhook in this process; the webhook has exactly the chart's rights.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use zstart_admission::config::Config;
use zstart_core::ImageConversion;
use zstart_tests::chart;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::definitions::define;
use zstart_tests::tcp_proxy::TcpProxy;
use zstart_tests::wait;
use zstart_webhook::run::{RunError, Webhook};

use crate::certificates::Authority;
use crate::records;

pub(crate) const SYSTEM: &str = "zstart-system";
const USER: &str = "system:serviceaccount:zstart-system:zstart-webhook";
/// Time limit. Watches deliver within milliseconds; two busy cores take longer.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

pub(crate) struct Installation {
    plane: ControlPlane,
    pub(crate) admin: Client,
    pub(crate) authority: Authority,
}

/// Fields of a webhook configuration.
pub(crate) struct Registration {
    /// Version of `AdmissionReview`.
    pub(crate) version: &'static str,
    pub(crate) timeout_seconds: u32,
}

impl Default for Registration {
    /// Values of the chart.
    fn default() -> Self {
        Self { version: "v1", timeout_seconds: 2 }
    }
}

/// A webhook in this process.
pub(crate) struct Running {
    pub(crate) https: SocketAddr,
    health: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), RunError>>,
}

impl Installation {
    /// Starts an API server with the webhook's rights, without the definition of records, certificate and
    /// configuration.
    pub(crate) async fn without_webhook() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let admin = plane.client().await?;
        let installation = Self { plane, admin, authority: Authority::create()? };
        installation.namespace(SYSTEM, &json!({})).await?;
        chart::grant(&installation.admin, "zstart-webhook").await?;
        Ok(installation)
    }

    /// Starts everything but a webhook: a serving certificate, a node, and the namespaces `on`, `audit` and
    /// `off`.
    pub(crate) async fn ready_for_webhook() -> Result<Self> {
        let installation = Self::without_webhook().await?;
        define(&installation.admin).await?;
        installation.write_serving_secret(&installation.authority.issue()?).await?;
        for (name, label) in [("on", "enabled"), ("audit", "audit"), ("off", "disabled")] {
            installation.namespace(name, &json!({"zstart.dev/rewrite": label})).await?;
        }
        installation.create::<Node>(Api::all(installation.admin.clone()), records::node("lab")).await?;
        Ok(installation)
    }

    /// Starts everything: the API server calls a ready webhook, which reviews pods.
    pub(crate) async fn with_webhook() -> Result<(Self, Running)> {
        let installation = Self::ready_for_webhook().await?;
        let webhook = installation.start("").await?;
        webhook.wait_until_ready().await?;
        installation.register_webhook(webhook.https, Registration::default()).await?;
        Ok((installation, webhook))
    }

    /// Folder for files of a test, deleted at its end.
    pub(crate) fn folder(&self) -> &Path {
        self.plane.folder()
    }

    /// Writes a kubeconfig file with the webhook's rights.
    pub(crate) fn webhook_kubeconfig(&self) -> Result<PathBuf> {
        let mut config: Value = serde_json::from_slice(&std::fs::read(self.plane.kubeconfig())?)?;
        config["users"][0]["user"]["as"] = json!(USER);
        let path = self.folder().join("webhook.kubeconfig");
        std::fs::write(&path, config.to_string())?;
        Ok(path)
    }

    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), namespace)
    }

    pub(crate) async fn create<K>(&self, api: Api<K>, object: Value) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
    {
        let object = serde_json::from_value(object)?;
        let kind = K::kind(&());
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("failed to create a {kind}"))?;
        Ok(())
    }

    pub(crate) async fn namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let object = json!({"metadata": {"name": name, "labels": labels}});
        self.create::<Namespace>(Api::all(self.admin.clone()), object).await
    }

    /// Creates or replaces the serving Secret.
    pub(crate) async fn write_serving_secret(&self, data: &Value) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "zstart-webhook-tls"},
            "type": "kubernetes.io/tls", "stringData": data,
        });
        let parameters = PatchParams::apply("test").force();
        self.namespaced::<Secret>(SYSTEM)
            .patch("zstart-webhook-tls", &parameters, &Patch::Apply(secret))
            .await?;
        Ok(())
    }

    /// Creates a record with its status.
    pub(crate) async fn record(&self, record: &Value) -> Result<()> {
        let api: Api<ImageConversion> = Api::all(self.admin.clone());
        self.create(api.clone(), record.clone()).await?;
        let name = record["metadata"]["name"].as_str().context("a record without a name")?;
        let status = json!({"status": record["status"]});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Starts a webhook with `config` and the chart's rights. The webhook shuts down without delay.
    pub(crate) async fn start(&self, config: &str) -> Result<Running> {
        self.start_with(config, self.plane.config().await?).await
    }

    /// Starts a webhook that reaches the API server through `proxy`.
    pub(crate) async fn start_through(&self, config: &str, proxy: &TcpProxy) -> Result<Running> {
        let mut api_server = self.plane.config().await?;
        api_server.cluster_url = format!("https://{}", proxy.host()).parse()?;
        self.start_with(config, api_server).await
    }

    /// Host and port of the API server.
    pub(crate) async fn api_server(&self) -> Result<String> {
        let url = self.plane.config().await?.cluster_url;
        Ok(url.authority().context("the API server's URL has no host")?.to_string())
    }

    async fn start_with(&self, config: &str, mut client: kube::Config) -> Result<Running> {
        let mut config = Config::parse(Path::new("config.yaml"), config)?;
        (config.listen, config.health_listen) = ("127.0.0.1:0".parse()?, "127.0.0.1:0".parse()?);
        config.drain.grace = Duration::ZERO;
        client.auth_info.impersonate = Some(USER.to_owned());
        let webhook = Webhook::bind(config).await?;
        let (https, health) = (webhook.address()?, webhook.health_address()?);
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(webhook.run(client, SYSTEM.to_owned(), shutdown.clone()));
        Ok(Running { https, health, shutdown, task })
    }

    /// Registers the webhook like the chart's configuration, except for `registration`.
    pub(crate) async fn register_webhook(
        &self,
        address: SocketAddr,
        registration: Registration,
    ) -> Result<()> {
        let Registration { version, timeout_seconds } = registration;
        let object = json!({"metadata": {"name": "zstart"}, "webhooks": [{
            "name": "pods.zstart.dev", "admissionReviewVersions": [version],
            "clientConfig": {"url": format!("https://{address}/mutate"), "caBundle": self.authority.bundle()},
            "failurePolicy": "Ignore", "timeoutSeconds": timeout_seconds, "sideEffects": "None",
            "reinvocationPolicy": "IfNeeded",
            // No namespace selector: the webhook itself must see that a namespace isn't opted in.
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
                    "resources": ["pods/ephemeralcontainers"]},
            ],
        }]});
        self.create::<MutatingWebhookConfiguration>(Api::all(self.admin.clone()), object).await
    }

    /// Changes the address in the webhook's configuration.
    pub(crate) async fn point_webhook_to(&self, address: SocketAddr) -> Result<()> {
        let api: Api<MutatingWebhookConfiguration> = Api::all(self.admin.clone());
        let path = "/webhooks/0/clientConfig/url";
        let operation =
            json!([{"op": "replace", "path": path, "value": format!("https://{address}/mutate")}]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(operation)?);
        api.patch("zstart", &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Creates a pod and returns the stored object.
    pub(crate) async fn pod(&self, namespace: &str, pod: &Value) -> Result<Value> {
        self.pod_with(&PostParams::default(), namespace, pod).await
    }

    /// Lets the API server admit a pod without storing it, and returns the object that it would store.
    pub(crate) async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value> {
        self.pod_with(&PostParams { dry_run: true, field_manager: None }, namespace, pod).await
    }

    async fn pod_with(&self, parameters: &PostParams, namespace: &str, pod: &Value) -> Result<Value> {
        let pod: Pod = serde_json::from_value(pod.clone())?;
        let made = self.namespaced::<Pod>(namespace).create(parameters, &pod).await?;
        Ok(serde_json::to_value(made)?)
    }

    /// Waits until a new pod with this image would be rewritten. The webhook then knows every object written
    /// before.
    pub(crate) async fn wait_until_rewritten(&self, image: &str) -> Result<()> {
        let pod = records::pod(image);
        wait::until(&format!("{image} to be rewritten"), WITHIN, || async {
            let made = self.dry_run_pod("on", &pod).await?;
            Ok((made["spec"]["containers"][0]["image"] != image).then_some(()))
        })
        .await
    }
}

impl Running {
    /// Status and text of the health port's response.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = reqwest::get(format!("http://{}{path}", self.health)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    pub(crate) async fn wait_until_ready(&self) -> Result<()> {
        wait::until("the webhook to be ready", WITHIN, || async {
            Ok((self.get("/readyz").await?.0 == 200).then_some(()))
        })
        .await
    }

    /// Number of decisions with this reason.
    pub(crate) async fn decisions(&self, reason: &str) -> Result<u64> {
        let (_, text) = self.get("/metrics").await?;
        let start = format!("zstart_webhook_images_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        Ok(line.map(str::parse).transpose()?.unwrap_or_default())
    }

    /// Requests shutdown and waits for it.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(self.task.await??)
    }
}
