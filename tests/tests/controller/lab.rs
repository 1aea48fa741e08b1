//! An API server, a registry with a gateway in front of it, and a controller in this process.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use zstart_controller::config::Config;
use zstart_controller::run::{RunError, run};
use zstart_core::{Digest, ImageConversion};
use zstart_process::boot::Identity;
use zstart_tests::chart;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::Gateway;

use zstart_tests::registry::repository_reader::RepositoryReader;
/// Namespace of the installation.
pub(crate) const SYSTEM: &str = chart::NAMESPACE;
/// Lease of the controllers.
const LEASE: &str = "zstart-controller";
/// User name of the controller for the API server.
pub(crate) const USER: &str = "system:serviceaccount:zstart-system:zstart-controller";
/// Time limit. Most results take less than a second, second attempts less than five; two busy cores take
/// longer.
pub(crate) const WITHIN: Duration = Duration::from_mins(1);

/// A cluster without running nodes, with the namespaces `on`, `audit` and `off`.
pub(crate) struct Lab {
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Client,
    pub(crate) registry: Registry,
    /// Gateway through which the controller reaches the registry.
    pub(crate) gateway: Gateway,
}

/// A controller in this process, ended with the test at the latest.
pub(crate) struct Controller {
    shutdown: CancellationToken,
    task: AbortOnDropHandle<Result<(), RunError>>,
}

impl Lab {
    pub(crate) async fn start() -> Result<Self> {
        // The log of a failed test is shown.
        let _ = tracing_subscriber::fmt().with_test_writer().with_ansi(false).try_init();
        Self::start_on(ControlPlane::with_definitions()).await
    }

    /// A lab on another API server.
    pub(crate) async fn start_on(plane: impl Future<Output = Result<ControlPlane>>) -> Result<Self> {
        Self::start_with(plane, &[]).await
    }

    /// A lab with the rights of an installation with `--set` values.
    pub(crate) async fn start_with(
        plane: impl Future<Output = Result<ControlPlane>>,
        sets: &[&str],
    ) -> Result<Self> {
        let (plane, registry) = tokio::try_join!(plane, Registry::start())?;
        let gateway = Gateway::start(&registry.host()).await?;
        let admin = plane.client().await?;
        let lab = Self { plane, admin, registry, gateway };
        for (name, label) in
            [(SYSTEM, "disabled"), ("on", "enabled"), ("audit", "audit"), ("off", "disabled")]
        {
            lab.namespace(name, label).await?;
        }
        chart::grant_with(&lab.admin, "zstart-controller", sets).await?;
        lab.node("lab", "amd64").await?;
        Ok(lab)
    }

    /// `host:port` of the API server.
    pub(crate) async fn api_server(&self) -> Result<String> {
        Ok(self.plane.config().await?.cluster_url.authority().context("no address")?.to_string())
    }

    /// The Lease of the controllers, if there is one.
    pub(crate) async fn lease(&self) -> Result<Option<LeaseSpec>> {
        let lease = self.namespaced::<Lease>(SYSTEM).get_opt(LEASE).await?;
        Ok(lease.and_then(|lease| lease.spec))
    }

    /// Gives the Lease, which exists, to a leader that never renews it: it ends 15 seconds after a candidate saw it.
    pub(crate) async fn lead_as(&self, identity: &str) -> Result<()> {
        let patch = json!({"spec": {"holderIdentity": identity, "leaseDurationSeconds": 15}});
        let leases = self.namespaced::<Lease>(SYSTEM);
        leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Deletes the Lease of a killed controller, so that the next one doesn't wait for its end.
    pub(crate) async fn forget_leader(&self) -> Result<()> {
        self.namespaced::<Lease>(SYSTEM).delete(LEASE, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) fn records(&self) -> Api<ImageConversion> {
        Api::all(self.admin.clone())
    }

    pub(crate) fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), namespace)
    }

    pub(crate) async fn create<K>(&self, api: &Api<K>, object: Value) -> Result<()>
    where
        K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
    {
        let object = serde_json::from_value(object)?;
        let made = api.create(&PostParams::default(), &object).await;
        made.with_context(|| format!("failed to create a {}", K::kind(&())))?;
        Ok(())
    }

    async fn namespace(&self, name: &str, rewrite: &str) -> Result<()> {
        let object = json!({"metadata": {"name": name, "labels": {"zstart.dev/rewrite": rewrite}}});
        self.create::<Namespace>(&Api::all(self.admin.clone()), object).await
    }

    /// Creates a Linux node.
    pub(crate) async fn node(&self, name: &str, architecture: &str) -> Result<()> {
        let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": architecture});
        let node = json!({"metadata": {"name": name, "labels": labels}});
        self.create::<Node>(&Api::all(self.admin.clone()), node).await
    }

    /// `HOST:PORT/name`: name of an image for the controller and the cluster's users.
    pub(crate) fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.gateway.host())
    }

    /// Pushes directly to the registry, bypassing the gateway.
    pub(crate) async fn push(&self, name: &str, image: &Fixture) -> Result<Digest> {
        image.push(&self.registry.host(), name).await
    }

    /// Reader of the registry's content.
    pub(crate) fn stored(&self, repository: &str) -> RepositoryReader {
        RepositoryReader::new(&self.registry, repository)
    }

    /// Creates a Deployment of one container.
    pub(crate) async fn deploy(&self, namespace: &str, name: &str, image: &str) -> Result<()> {
        self.deploy_with(namespace, name, image, &json!({})).await
    }

    /// Creates or changes a Deployment, with more members of the pod specification.
    pub(crate) async fn deploy_with(
        &self,
        namespace: &str,
        name: &str,
        image: &str,
        more: &Value,
    ) -> Result<()> {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
            "spec": {"selector": {"matchLabels": {"app": name}}, "template": template(name, image)},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            object["spec"]["template"]["spec"][key] = value.clone();
        }
        let deployments = self.namespaced::<Deployment>(namespace);
        deployments.patch(name, &PatchParams::apply("test"), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Starts a controller with the chart's rights. The controller checks tags every five minutes.
    pub(crate) async fn start_controller(&self) -> Result<Controller> {
        self.start_controller_with("").await
    }

    /// Starts a controller with more settings.
    pub(crate) async fn start_controller_with(&self, more: &str) -> Result<Controller> {
        start_controller_at(self.plane.config().await?, &[&self.gateway.host()], more)
    }
}

/// Starts a controller with another client configuration and other registries.
pub(crate) fn start_controller_at(
    mut client: kube::Config,
    registries: &[&str],
    more: &str,
) -> Result<Controller> {
    let config = Config::parse(Path::new("test"), &configuration(registries, more))?;
    client.auth_info.impersonate = Some(USER.to_owned());
    let identity = Identity { namespace: SYSTEM.to_owned(), pod: "zstart-controller-0".to_owned() };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(run(client, config, identity, shutdown.clone()));
    Ok(Controller { shutdown, task: AbortOnDropHandle::new(task) })
}

/// Text of a configuration file.
pub(crate) fn configuration(registries: &[&str], more: &str) -> String {
    format!("healthListen: 127.0.0.1:0\nplainHttpRegistries: {}\n{more}\n", json!(registries))
}

/// Pod template with one container.
pub(crate) fn template(name: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    })
}

impl Controller {
    /// Requests shutdown and requires success.
    pub(crate) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        Ok(tokio::time::timeout(WITHIN, self.task).await???)
    }
}
