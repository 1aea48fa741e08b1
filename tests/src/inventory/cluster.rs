//! A real API server that holds a large cluster, and a real registry with its images.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::Request;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::DeleteParams;
use kube::{Api, Client};
use serde_json::{Value, json};
use zstart_core::FreshnessSweep;
use zstart_core::sweep::SWEEP;

use super::{Size, objects};
use crate::api_requests::Requests;
use crate::bench_webhook::nodes;
use crate::chart::NAMESPACE as SYSTEM;
use crate::control_plane::ControlPlane;
use crate::definitions;
use crate::images::{Compression, Fixture};
use crate::registry::Registry;

/// Concurrent writes. The API server doesn't limit the administrator's requests (priority level `exempt`).
const CONCURRENT_WRITES: usize = 32;

/// The API server and the registry.
pub(super) struct Cluster {
    plane: ControlPlane,
    client: Client,
    registry: Registry,
}

impl Cluster {
    /// Starts a registry, and an API server with opted-in namespaces.
    pub(super) async fn start() -> Result<Self> {
        // The plugin would taint each node until a controller finds the node ready, and no controller runs.
        let plane = ControlPlane::start_with(&["--disable-admission-plugins=TaintNodesByCondition"]);
        let (plane, registry) = tokio::try_join!(plane, Registry::start())?;
        let cluster = Self { client: plane.client().await?, plane, registry };
        definitions::define(&cluster.client).await?;
        cluster.create("/api/v1/namespaces", &json!({"metadata": {"name": SYSTEM}})).await?;
        for number in 0..objects::NAMESPACES {
            let labels = json!({"zstart.dev/rewrite": "enabled"});
            let namespace = json!({"metadata": {"name": objects::namespace(number), "labels": labels}});
            cluster.create("/api/v1/namespaces", &namespace).await?;
        }
        Ok(cluster)
    }

    /// Pushes an image to the registry under the tags of all references. Its layer is zstd, so that no conversion runs.
    pub(super) async fn push(&self, size: Size) -> Result<()> {
        let image = Fixture::new().oci().layer_as(Compression::Zstd, &[("etc/app", b"app")]);
        let repositories = objects::repositories(size.references).into_iter().map(|(repository, tags)| {
            let (image, host) = (&image, self.registry.host());
            async move {
                for tag in tags {
                    image.push(&host, &format!("{repository}:{tag}")).await?;
                }
                anyhow::Ok(())
            }
        });
        stream::iter(repositories).buffer_unordered(CONCURRENT_WRITES).try_collect().await
    }

    /// Creates all objects.
    pub(super) async fn fill(&self, size: Size) -> Result<()> {
        self.create_all(0..size.nodes, |number| ("/api/v1/nodes".to_owned(), nodes::node(number))).await?;
        self.create_all(0..size.references, |number| {
            let path = format!("/apis/apps/v1/namespaces/{}/deployments", objects::namespace(number));
            (path, objects::deployment(&self.registry(), number))
        })
        .await?;
        self.create_pods(0..size.pods, size, None).await
    }

    /// Reports pods as running, as the kubelet does: nothing that counts for the controller changes.
    pub(super) async fn report_running(&self, size: Size) -> Result<()> {
        let status = json!({"status": {"phase": "Running", "podIP": "10.1.2.3",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let body = serde_json::to_vec(&status)?;
        let patches = stream::iter(0..size.changes).map(|number| {
            let number = number % size.pods;
            let namespace = objects::namespace(number % size.references);
            let path = format!("{}/{}/status", pods(&namespace), objects::pod_name(number));
            let body = body.clone();
            async move {
                let request =
                    Request::patch(&path).header("content-type", "application/strategic-merge-patch+json");
                let patched = self.client.request::<Value>(request.body(body)?).await;
                patched.map(drop).with_context(|| format!("failed to patch {path}"))
            }
        });
        patches.buffer_unordered(CONCURRENT_WRITES).try_collect().await
    }

    /// Adds pods to Deployments.
    pub(super) async fn add_pods(&self, size: Size) -> Result<()> {
        self.create_pods(size.pods..size.pods + size.changes, size, None).await
    }

    /// Adds pods, each with an image of its own.
    pub(super) async fn add_images(&self, size: Size) -> Result<()> {
        let first = size.pods + size.changes;
        self.create_pods(first..first + size.changes, size, Some(size.references)).await
    }

    /// Creates pods of Deployments; with images of their own from number `new_images`.
    async fn create_pods(&self, numbers: Range<usize>, size: Size, new_images: Option<usize>) -> Result<()> {
        let first = numbers.start;
        self.create_all(numbers, |number| {
            let owner = number % size.references;
            let image = new_images.map_or(owner, |new| new + number - first);
            (
                pods(&objects::namespace(owner)),
                objects::pod(&self.registry(), number, owner, image, size.nodes),
            )
        })
        .await
    }

    async fn create_all(
        &self,
        numbers: Range<usize>,
        object: impl Fn(usize) -> (String, Value),
    ) -> Result<()> {
        let created = stream::iter(numbers).map(|number| {
            let (path, object) = object(number);
            async move { self.create(&path, &object).await }
        });
        created.buffer_unordered(CONCURRENT_WRITES).try_collect().await
    }

    async fn create(&self, path: &str, object: &Value) -> Result<()> {
        let request = Request::post(path).header("content-type", "application/json");
        let created = self.client.request_text(request.body(serde_json::to_vec(object)?)?).await;
        created.map(drop).with_context(|| format!("failed to create an object at {path}"))
    }

    /// Requests that the API server has answered so far.
    pub(super) async fn requests(&self) -> Result<Requests> {
        Requests::read(&self.client).await
    }

    /// Deletes the freshness sweep.
    pub(super) async fn forget_sweep(&self) -> Result<()> {
        Api::<FreshnessSweep>::all(self.client.clone()).delete(SWEEP, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Deletes the Lease of a controller that was killed, so that the next one doesn't wait for its end.
    pub(super) async fn forget_leader(&self) -> Result<()> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), SYSTEM);
        leases.delete("zstart-controller", &DeleteParams::default()).await?;
        Ok(())
    }

    /// `host:port` of the registry.
    pub(super) fn registry(&self) -> String {
        self.registry.host()
    }

    pub(super) fn folder(&self) -> &Path {
        self.plane.folder()
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }
}

fn pods(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods")
}
