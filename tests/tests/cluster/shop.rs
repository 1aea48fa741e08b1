//! Workloads of a user, in a cluster with zstart: images whose container prints their version, Deployments, pods.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use zstart_core::record::{ImageConversionStatus, READY, condition, record_name};
use zstart_core::{Digest, ImageConversion};
use zstart_tests::cluster::{self, Cluster, LOCAL_REGISTRY, REGISTRY};
use zstart_tests::images::Fixture;
use zstart_tests::{sweep, wait};

/// Namespace that is opted in.
pub(crate) const NAMESPACE: &str = "shop";
/// Namespace that isn't opted in.
pub(crate) const PLAIN: &str = "plain";
/// Time limit of each wait.
pub(crate) const WITHIN: Duration = Duration::from_mins(2);
/// Debian's static build (package busybox-static), which the lab needs for its own images too.
const BUSYBOX: &str = "/bin/busybox";
/// File of an image that contains its version.
const VERSION: &str = "version";

/// Cluster with zstart, two namespaces, and the user's commands.
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    started: Instant,
}

/// Exit code and output of a `zstart` command.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Shop {
    /// Installs zstart and creates the namespaces.
    pub(crate) fn open(cluster: Cluster, values: &[&str]) -> Result<Self> {
        let shop = Self { cluster, started: Instant::now() };
        shop.cluster.push_zstart_images(&cluster::built_binaries()?)?;
        shop.cluster.install_zstart(values)?;
        shop.say("zstart is installed");
        for (name, labels) in
            [(NAMESPACE, json!({zstart_core::keys::REWRITE: zstart_core::keys::ENABLED})), (PLAIN, json!({}))]
        {
            let metadata = json!({"name": name, "labels": labels});
            shop.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))?;
        }
        Ok(shop)
    }

    /// Prints a line with the time since the start.
    #[expect(clippy::print_stdout, reason = "the course of a scenario is a result of the test")]
    pub(crate) fn say(&self, text: &str) {
        println!("[{:6.1} s] {text}", self.started.elapsed().as_secs_f64());
    }

    /// Pushes an image whose container prints `version` and then waits. Returns the image's digest.
    pub(crate) async fn push(&self, name: &str, version: &str) -> Result<Digest> {
        let program = std::fs::read(BUSYBOX).with_context(|| format!("failed to read {BUSYBOX}"))?;
        let image = Fixture::new().layer(&[("bin/busybox", &program), ("bin/sh", &program)]);
        let script = format!("{BUSYBOX} cat /{VERSION}; exec {BUSYBOX} sleep 2147483647");
        let image = image
            .layer(&[(VERSION, format!("{version}\n").as_bytes())])
            .entrypoint(&["/bin/sh", "-c", &script]);
        let digest = image.push(LOCAL_REGISTRY, &format!("shop/{name}:v1")).await?;
        self.say(&format!("pushed {} with the content {version:?}: {digest}", source(name)));
        Ok(digest)
    }

    /// Waits until the record of an image serves the variant of this digest. Returns the variant's reference.
    pub(crate) async fn variant(&self, name: &str, digest: &Digest) -> Result<String> {
        let what = format!("a variant of {} as {digest}", source(name));
        let found = wait::until(what, WITHIN, || async {
            let Some(status) = self.record(name).await? else { return Ok(None) };
            let is_ready = condition(&status, READY).is_some_and(|ready| ready.status == "True");
            let variant = status.variant.filter(|variant| is_ready && variant.source_digest == *digest);
            Ok(variant.map(|variant| variant.reference.to_string()))
        });
        let found = found.await.with_context(|| self.diagnostics())?;
        self.say(&format!("the record serves {found}"));
        Ok(found)
    }

    /// Status of the record of an image, if it has one.
    pub(crate) async fn record(&self, name: &str) -> Result<Option<ImageConversionStatus>> {
        let records: Api<ImageConversion> = Api::all(self.cluster.client());
        let mut record = records.get(&record_name(&source(name).parse()?)).await?;
        sweep::refresh(&self.cluster.client(), &mut record).await?;
        Ok(record.status)
    }

    /// Applies an object, as its user does.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        let file = self.file("object.json", object)?;
        self.cluster.kubectl(&["apply", "-f", &file]).map(drop)
    }

    /// Creates an object without marks of `kubectl apply`.
    pub(crate) fn create(&self, object: &Value) -> Result<()> {
        let file = self.file("object.json", object)?;
        self.cluster.kubectl(&["create", "-f", &file]).map(drop)
    }

    /// Path of a file with this content.
    pub(crate) fn file(&self, name: &str, content: &Value) -> Result<String> {
        let path = self.cluster.folder().join(name);
        std::fs::write(&path, serde_json::to_vec_pretty(content)?)?;
        Ok(path.display().to_string())
    }

    /// Runs `kubectl` in the namespace that is opted in.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut all = vec!["--namespace", NAMESPACE];
        all.extend(arguments);
        self.cluster.kubectl(&all)
    }

    /// Pods with the label `app=NAME` that aren't being deleted.
    pub(crate) async fn pods(&self, namespace: &str, app: &str) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client(), namespace);
        let mut found = pods.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        found.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(found)
    }

    /// Waits until the pods with the label `app=NAME` are this many, and all are ready and fit `accept`.
    pub(crate) async fn running(
        &self,
        namespace: &str,
        app: &str,
        number: usize,
        accept: impl Fn(&Pod) -> bool,
    ) -> Result<Vec<Pod>> {
        let found = wait::until(format!("{number} accepted pods of {app}"), WITHIN, || async {
            let pods = self.pods(namespace, app).await?;
            let is_met = pods.len() == number && pods.iter().all(|pod| is_ready(pod) && accept(pod));
            Ok(is_met.then_some(pods))
        });
        found.await.with_context(|| self.diagnostics())
    }

    /// Replaces the pods of a Deployment, whose template stays as it is, by pods that run this image. `sources` are
    /// the names of all images of the template.
    pub(crate) async fn replace(
        &self,
        app: &str,
        sources: &[&str],
        number: usize,
        image: &str,
    ) -> Result<Vec<Pod>> {
        self.looked_at(app, sources).await?;
        let label = format!("app={app}");
        self.kubectl(&["delete", "pods", "--selector", &label, "--grace-period=1"])?;
        self.running(NAMESPACE, app, number, |pod| images(pod).contains(&image)).await
    }

    /// Waits until the controller has looked at the tags in a second after the one in which the Deployment's newest
    /// template was made: earlier looks say nothing about its freshness.
    pub(crate) async fn looked_at(&self, app: &str, sources: &[&str]) -> Result<()> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.cluster.client(), NAMESPACE);
        let sets = sets.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        let made = sets.iter().filter_map(|set| set.metadata.creation_timestamp.as_ref());
        let made = made.map(|made| made.0.as_second()).max().context("the Deployment has no ReplicaSet")?;
        for name in sources {
            let looked = wait::until(format!("a look at the tag of {name}"), WITHIN, || async {
                let looked = self.record(name).await?.and_then(|status| status.source);
                Ok(looked.filter(|looked| looked.checked_at.0.as_second() > made).map(drop))
            });
            looked.await.with_context(|| self.diagnostics())?;
        }
        Ok(())
    }

    /// First line that a pod's container printed.
    pub(crate) async fn version(&self, pod: &Pod) -> Result<String> {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        wait::until(format!("pod {name} to print its version"), WITHIN, || async {
            let printed = self.cluster.kubectl(&["--namespace", &namespace, "logs", &name])?;
            Ok(printed.lines().next().map(str::to_owned))
        })
        .await
    }

    /// Prints each pod with its image and its version, and returns the versions.
    pub(crate) async fn show(&self, pods: &[Pod]) -> Result<Vec<String>> {
        let mut versions = Vec::new();
        for pod in pods {
            let version = self.version(pod).await?;
            let (namespace, image) = (pod.namespace().unwrap_or_default(), images(pod).join(", "));
            self.say(&format!("  {namespace}/{} prints {version:?} and runs {image}", pod.name_any()));
            versions.push(version);
        }
        Ok(versions)
    }

    /// Runs `zstart` with the administrator's kubeconfig.
    pub(crate) fn zstart(&self, arguments: &[&str]) -> Result<Finished> {
        zstart(&self.cluster, arguments)
    }

    /// Prints a command and its output.
    pub(crate) fn show_output(&self, command: &str, finished: &Finished) {
        let code = finished.code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.say(&format!("$ {command}\n{}(exit code {code})\n", finished.text));
    }

    /// Waits until the events with these fields fit `accept`: their components write them some time after the change.
    pub(crate) async fn events(
        &self,
        namespace: &str,
        fields: &str,
        accept: impl Fn(&[Event]) -> bool,
    ) -> Result<Vec<Event>> {
        let events: Api<Event> = Api::namespaced(self.cluster.client(), namespace);
        let found = wait::until(format!("accepted events with {fields}"), WITHIN, || async {
            let events = events.list(&ListParams::default().fields(fields)).await?.items;
            Ok(accept(&events).then_some(events))
        });
        found.await.with_context(|| self.diagnostics())
    }

    /// State of the workloads and of zstart, for an error message.
    pub(crate) fn diagnostics(&self) -> String {
        let records = self.cluster.kubectl(&["describe", "imgconv"]).unwrap_or_default();
        let pods = [NAMESPACE, cluster::NAMESPACE].map(|namespace| self.cluster.pod_diagnostics(namespace));
        format!("{records}\n{}", pods.join("\n"))
    }
}

/// Runs `zstart` with the administrator's kubeconfig.
pub(crate) fn zstart(cluster: &Cluster, arguments: &[&str]) -> Result<Finished> {
    let program: PathBuf = cluster::built_binaries()?.join("zstart");
    ensure!(program.is_file(), "{} is missing: run `make build`", program.display());
    let mut command = cluster.command(&program.display().to_string());
    let output = command.args(arguments).output().context("failed to start zstart")?;
    let text = [output.stdout, output.stderr].concat();
    Ok(Finished { code: output.status.code(), text: String::from_utf8(text)? })
}

/// Image as its user writes it.
pub(crate) fn source(name: &str) -> String {
    format!("{REGISTRY}/shop/{name}:v1")
}

/// Deployment of an image, with the same name.
pub(crate) fn deployment(name: &str, replicas: u32, pull_policy: &str) -> Value {
    let container = json!({"name": "app", "image": source(name), "imagePullPolicy": pull_policy});
    deployment_of(name, replicas, &json!({"containers": [container]}))
}

/// Deployment with this pod specification.
pub(crate) fn deployment_of(name: &str, replicas: u32, spec: &Value) -> Value {
    let labels = json!({"app": name});
    let mut spec = spec.clone();
    spec["terminationGracePeriodSeconds"] = json!(1);
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    })
}

/// Pod without a controller.
pub(crate) fn pod(namespace: &str, name: &str, labels: &Value, container: &Value) -> Value {
    let mut container = container.clone();
    container["name"] = json!("app");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    })
}

/// Returns whether all containers of a pod are ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let statuses = statuses(pod);
    !statuses.is_empty() && statuses.values().all(|status| status.ready)
}

/// Status of each container, by name.
pub(crate) fn statuses(pod: &Pod) -> BTreeMap<&str, &ContainerStatus> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| (status.name.as_str(), status)).collect()
}

/// Images of a pod's containers.
pub(crate) fn images(pod: &Pod) -> Vec<&str> {
    pod.spec
        .iter()
        .flat_map(|spec| &spec.containers)
        .filter_map(|container| container.image.as_deref())
        .collect()
}
