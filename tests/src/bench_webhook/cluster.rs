//! A real API server that holds a growing number of records and nodes.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use zstart_core::{keys, units};

use super::reviews::{NAMESPACE, ReplicaSet};
use super::{Size, nodes, pods, records};
use crate::chart::{self, NAMESPACE as SYSTEM};
use crate::control_plane::ControlPlane;
use crate::pki::{Pki, Subject};
use crate::wait;

/// Concurrent writes. The API server doesn't limit the administrator's requests (priority level `exempt`).
const CONCURRENT_WRITES: usize = 32;
/// Definition of records, relative to the chart.
const DEFINITIONS: &str = "files/crd.yaml";
/// URL path of records.
const RECORDS: &str = "/apis/zstart.dev/v1alpha1/imageconversions";

/// The API server, and the certificate of the measured servers.
pub(super) struct LoadedCluster {
    plane: ControlPlane,
    client: Client,
    pki: Pki,
    owners: Vec<ReplicaSet>,
    size: Size,
}

impl LoadedCluster {
    /// Starts an API server with everything that the webhook needs, without records and nodes. The
    /// `replica_sets` that own the pods exist before the first record: a pod's template that is newer than the
    /// last look at a source would make the record too old.
    pub(super) async fn start(replica_sets: usize) -> Result<Self> {
        // The plugin would taint each node until a controller finds the node ready, and no controller runs.
        let plane = ControlPlane::start_with(&["--disable-admission-plugins=TaintNodesByCondition"]).await?;
        let client = plane.client().await?;
        let pki = Pki::create(&plane.folder().join("serving"))?;
        // The name of both files is the default of controller-runtime.
        pki.issue(&Subject {
            file: "tls",
            name: keys::WEBHOOK,
            organisation: "zstart",
            addresses: &["127.0.0.1"],
        })?;
        let size = Size { records: 0, nodes: 0 };
        let mut cluster = Self { plane, client, pki, owners: Vec::new(), size };
        cluster.install(replica_sets).await?;
        Ok(cluster)
    }

    async fn install(&mut self, replica_sets: usize) -> Result<()> {
        for definition in record_definitions()? {
            self.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await?;
        }
        for (name, labels) in [(SYSTEM, json!({})), (NAMESPACE, json!({"zstart.dev/rewrite": "enabled"}))] {
            self.create("/api/v1/namespaces", &json!({"metadata": {"name": name, "labels": labels}})).await?;
        }
        let file = |name: &str| fs::read_to_string(self.pki.path(name));
        let secret = json!({
            "metadata": {"name": keys::SERVING_SECRET}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": file("tls.crt")?, "tls.key": file("tls.key")?},
        });
        self.create(&format!("/api/v1/namespaces/{SYSTEM}/secrets"), &secret).await?;
        let owners: Vec<ReplicaSet> = stream::iter(0..replica_sets)
            .map(|number| self.create_owner(number))
            .buffered(CONCURRENT_WRITES)
            .try_collect()
            .await?;
        self.owners = owners;
        wait::until("records to be served", super::READY_WITHIN, || async {
            self.client.request_text(Request::get(RECORDS).body(Vec::new())?).await?;
            Ok(Some(()))
        })
        .await
    }

    /// Creates the missing records and nodes.
    #[expect(clippy::print_stdout, reason = "this is a command line")]
    pub(super) async fn grow(&mut self, size: Size) -> Result<()> {
        ensure!(
            size.records >= self.size.records && size.nodes >= self.size.nodes,
            "the cluster has {:?} already, more than {size:?}",
            self.size
        );
        let Size { records, nodes } = size;
        println!("==> writing records up to {records} and nodes up to {nodes} to the API server");
        let started = Instant::now();
        self.create_all(RECORDS, self.size.records..records, records::record).await?;
        self.create_all("/api/v1/nodes", self.size.nodes..nodes, |number| Ok(nodes::node(number))).await?;
        println!("    written in {}", units::duration(started.elapsed()));
        self.size = size;
        Ok(())
    }

    async fn create_all(
        &self,
        path: &str,
        numbers: Range<usize>,
        object: impl Fn(usize) -> Result<Value>,
    ) -> Result<()> {
        let created = stream::iter(numbers).map(|number| {
            let object = object(number);
            async move { self.create(path, &object?).await.map(drop) }
        });
        created.buffer_unordered(CONCURRENT_WRITES).try_collect::<()>().await
    }

    /// Creates an object and returns it as stored.
    async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        let request = Request::post(path).header("content-type", "application/json");
        let created = self.client.request::<Value>(request.body(serde_json::to_vec(object)?)?).await;
        created.with_context(|| format!("failed to create an object at {path}"))
    }

    async fn create_owner(&self, number: usize) -> Result<ReplicaSet> {
        let name = format!("{}-{number}-5d4f7c9b8", pods::workload(number));
        let labels = json!({"app.kubernetes.io/name": name, "pod-template-hash": "5d4f7c9b8"});
        let object = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": records::source(number)}]},
            }},
        });
        let created =
            self.create(&format!("/apis/apps/v1/namespaces/{NAMESPACE}/replicasets"), &object).await?;
        let uid = created["metadata"]["uid"].as_str().context("the ReplicaSet has no uid")?;
        Ok(ReplicaSet { name, uid: uid.to_owned() })
    }

    /// Folder for files of the run, deleted with the cluster.
    pub(super) fn folder(&self) -> &Path {
        self.plane.folder()
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        self.plane.kubeconfig()
    }

    /// Folder with `tls.crt` and `tls.key` of the measured servers.
    pub(super) fn certificates(&self) -> PathBuf {
        self.pki.path("")
    }

    /// Certificate authority of the measured servers.
    pub(super) fn authority(&self) -> PathBuf {
        self.pki.path("ca.crt")
    }

    pub(super) fn owners(&self) -> &[ReplicaSet] {
        &self.owners
    }
}

/// The chart's definitions, changed in one point: the status of a record is an ordinary member, so that one
/// write creates a record with its status instead of two. Stored and watched records are the same.
fn record_definitions() -> Result<Vec<Value>> {
    let file = chart::chart().join(DEFINITIONS);
    let text = fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let mut definitions: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    for definition in &mut definitions {
        let versions =
            definition["spec"]["versions"].as_array_mut().context("a definition without versions")?;
        for version in versions.iter_mut().filter_map(Value::as_object_mut) {
            version.remove("subresources");
        }
    }
    Ok(definitions)
}
