//! A simulated cluster with zstart's webhook.

use std::fmt::Debug;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use zstart_core::ImageConversion;
use zstart_tests::definitions::define;
use zstart_tests::simulation::{Simulation, WebhookProcess};
use zstart_tests::{chart, wait};

use crate::images::{IMAGES, LAST};
use crate::nodes::Node;
use crate::pods::{Draft, NAMESPACES, OWNER};

/// Concurrent requests.
const CONCURRENCY: usize = 16;
/// Time limit. Watches deliver within milliseconds; two busy cores take longer.
const WITHIN: Duration = Duration::from_mins(1);

pub(crate) struct Cluster {
    pub(crate) simulation: Simulation,
    /// UID of the `ReplicaSet` of each namespace.
    pub(crate) owners: Vec<String>,
    // Ends with the cluster.
    _webhook: WebhookProcess,
}

impl Cluster {
    /// Starts everything, without nodes, records and pods.
    pub(crate) async fn start() -> Result<Self> {
        let simulation = Simulation::start().await?;
        let client = simulation.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        create(&namespaces, json!({"metadata": {"name": chart::NAMESPACE}})).await?;
        let mut owners = Vec::new();
        for (name, mode) in NAMESPACES {
            let labels = json!({"zstart.dev/rewrite": mode});
            create(&namespaces, json!({"metadata": {"name": name, "labels": labels}})).await?;
            let owners_api: Api<ReplicaSet> = Api::namespaced(client.clone(), name);
            let owner = create(&owners_api, replica_set()).await?;
            owners.push(owner.metadata.uid.context("the API server set no UID")?);
        }
        let user = chart::grant(&client, "zstart-webhook").await?;
        define(&client).await?;
        let webhook = WebhookProcess::start(&simulation, &user).await?;
        webhook.register(&simulation).await?;
        Ok(Self { simulation, owners, _webhook: webhook })
    }

    pub(crate) async fn create_nodes(&self, nodes: &[Node]) -> Result<()> {
        let api: Api<ApiNode> = Api::all(self.simulation.client());
        let requests = nodes.iter().map(|node| create(&api, node.first_object()));
        let _: Vec<ApiNode> = stream::iter(requests).buffered(CONCURRENCY).try_collect().await?;
        Ok(())
    }

    /// Gives nodes their labels, taints and runtime, if those differ from the first ones.
    pub(crate) async fn update_nodes(&self, nodes: &[Node]) -> Result<()> {
        let api: &Api<ApiNode> = &Api::all(self.simulation.client());
        let requests = nodes.iter().filter(|node| node.is_updated()).map(|node| async move {
            let object = Patch::Merge(node.object());
            api.patch(&node.name, &PatchParams::default(), &object).await?;
            // Only this request changes the status.
            api.patch_status(&node.name, &PatchParams::default(), &object).await
        });
        let _: Vec<ApiNode> = stream::iter(requests).buffered(CONCURRENCY).try_collect().await?;
        Ok(())
    }

    /// Ends the passing taints and cordons, as a node lifecycle controller and an administrator would.
    pub(crate) async fn settle_nodes(&self, nodes: &[Node]) -> Result<()> {
        let api: &Api<ApiNode> = &Api::all(self.simulation.client());
        let requests = nodes.iter().filter(|node| node.settles()).map(|node| async move {
            let spec = json!({"spec": node.settled_object()["spec"]});
            api.patch(&node.name, &PatchParams::default(), &Patch::Merge(spec)).await
        });
        let _: Vec<ApiNode> = stream::iter(requests).buffered(CONCURRENCY).try_collect().await?;
        Ok(())
    }

    /// Waits until kwok reports every node ready, and checks that kwok left platform and runtime alone.
    pub(crate) async fn wait_until_ready(&mut self, nodes: &[Node]) -> Result<()> {
        let found = self.simulation.wait_until_ready(nodes.len()).await?;
        for (node, expected) in found.iter().zip(nodes) {
            let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
            let info = info.with_context(|| format!("{} reports no runtime", expected.name))?;
            let platform = format!("{}/{}", info.operating_system, info.architecture);
            let reported = (node.name_any(), &*platform, &*info.container_runtime_version);
            let expected = (expected.name.clone(), expected.platform, expected.runtime);
            ensure!(reported == expected, "{reported:?} was created as {expected:?}");
        }
        Ok(())
    }

    /// Creates every image's record, with its status.
    pub(crate) async fn create_records(&self) -> Result<()> {
        let api: Api<ImageConversion> = Api::all(self.simulation.client());
        for record in IMAGES.iter().filter_map(super::images::Image::record) {
            let status = json!({"status": record["status"]});
            let name = record["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            create(&api, record).await?;
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        }
        Ok(())
    }

    /// Waits until the webhook knows the node and the record that were created last, and so all objects.
    pub(crate) async fn wait_until_known(&self, last: &Node) -> Result<()> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "probe"},
            "spec": {"nodeName": last.name, "containers": [{"name": "app", "image": LAST}]},
        }))?;
        let api: Api<Pod> = Api::namespaced(self.simulation.client(), NAMESPACES[0].0);
        let dry = PostParams { dry_run: true, field_manager: None };
        wait::until("the webhook to know every object", WITHIN, || async {
            let made = serde_json::to_value(api.create(&dry, &pod).await?)?;
            Ok((made["spec"]["containers"][0]["image"] != LAST).then_some(()))
        })
        .await
    }

    /// Creates the pods and returns the stored objects in order. A refused pod is an error.
    pub(crate) async fn create_pods(&self, drafts: &[Draft]) -> Result<Vec<Value>> {
        let client = self.simulation.client();
        let requests = drafts.iter().map(|draft| {
            let api: Api<Pod> = Api::namespaced(client.clone(), draft.namespace);
            async move {
                let made = create(&api, draft.object.clone()).await;
                let made = made.with_context(|| format!("{} was refused: {}", draft.name, draft.object))?;
                Ok(serde_json::to_value(made)?)
            }
        });
        stream::iter(requests).buffered(CONCURRENCY).try_collect().await
    }
}

fn replica_set() -> Value {
    let labels = json!({"app": OWNER});
    let pod =
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": LAST}]}});
    json!({"metadata": {"name": OWNER}, "spec": {"selector": {"matchLabels": labels}, "template": pod}})
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    let object: K = serde_json::from_value(object)?;
    let kind = K::kind(&());
    api.create(&PostParams::default(), &object).await.with_context(|| format!("failed to create a {kind}"))
}
