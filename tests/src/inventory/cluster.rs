//! A real API server that holds a large cluster.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::Request;
use kube::Client;
use serde_json::{Value, json};

use super::{Size, objects};
use crate::bench_webhook::nodes;
use crate::chart::NAMESPACE as SYSTEM;
use crate::control_plane::ControlPlane;

/// Concurrent writes. The API server doesn't limit the administrator's requests (priority level `exempt`).
const CONCURRENT_WRITES: usize = 32;

/// The API server.
pub(super) struct Cluster {
    plane: ControlPlane,
    client: Client,
}

impl Cluster {
    /// Starts an API server with opted-in namespaces.
    pub(super) async fn start() -> Result<Self> {
        // The plugin would taint each node until a controller finds the node ready, and no controller runs.
        let plane = ControlPlane::start_with(&["--disable-admission-plugins=TaintNodesByCondition"]).await?;
        let cluster = Self { client: plane.client().await?, plane };
        cluster.create("/api/v1/namespaces", &json!({"metadata": {"name": SYSTEM}})).await?;
        for number in 0..objects::NAMESPACES {
            let labels = json!({"zstart.dev/rewrite": "enabled"});
            let namespace = json!({"metadata": {"name": objects::namespace(number), "labels": labels}});
            cluster.create("/api/v1/namespaces", &namespace).await?;
        }
        Ok(cluster)
    }

    /// Creates all objects.
    pub(super) async fn fill(&self, size: Size) -> Result<()> {
        self.create_all(0..size.nodes, |number| ("/api/v1/nodes".to_owned(), nodes::node(number))).await?;
        self.create_all(0..size.references, |number| {
            let path = format!("/apis/apps/v1/namespaces/{}/deployments", objects::namespace(number));
            (path, objects::deployment(number))
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
            (pods(&objects::namespace(owner)), objects::pod(number, owner, image, size.nodes))
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

    /// List requests that the API server has answered so far, by resource.
    pub(super) async fn lists(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.client.request_text(Request::get("/metrics").body(Vec::new())?).await?;
        Ok(parse_lists(&text))
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

/// Sums `apiserver_request_total` of the verb LIST.
fn parse_lists(metrics: &str) -> BTreeMap<String, u64> {
    let mut lists = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| Some(line.split_once(&format!("{name}=\""))?.1.split_once('"')?.0);
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some("LIST"), Some(resource), Some(count)) = (label("verb"), label("resource"), count) {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of requests"
            )]
            let count = count as u64;
            *lists.entry(resource.to_owned()).or_default() += count;
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_requests_are_summed_by_resource() {
        let metrics = "# HELP x\napiserver_request_total{code=\"200\",resource=\"pods\",verb=\"LIST\"} 500\n\
                       apiserver_request_total{code=\"410\",resource=\"pods\",verb=\"LIST\"} 1\n\
                       apiserver_request_total{code=\"200\",resource=\"nodes\",verb=\"LIST\"} 1.2e+01\n\
                       apiserver_request_total{code=\"200\",resource=\"pods\",verb=\"WATCH\"} 7\n";
        assert_eq!(
            parse_lists(metrics),
            BTreeMap::from([("nodes".to_owned(), 12), ("pods".to_owned(), 501)])
        );
    }
}
