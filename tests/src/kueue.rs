//! Kueue, which starts and suspends Jobs by quotas. Its webhooks aren't registered: they only add defaults.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::definitions;
use crate::pki::{Pki, Subject};
use crate::ports::free_ports;
use crate::process::Component;
use crate::settings;
use crate::tools::{self, Tool};
use crate::wait;

/// Time limit for Kueue's definitions to be served, and for Kueue to be ready.
const READY_WITHIN: Duration = Duration::from_mins(1);
/// Version of the API.
const VERSION: &str = "v1beta2";

/// Runs a program with a folder of certificates at the place where Kueue looks for those of its metrics, whether or not
/// it serves metrics (`cmd/kueue/main.go`). The mount is of this process alone.
const WITH_CERTIFICATES: &str = "mount -t tmpfs none /etc && mkdir -p /etc/kueue/metrics \
     && ln -s \"$1\" /etc/kueue/metrics/certs && shift && exec setpriv --pdeathsig KILL -- \"$@\"";

/// A running Kueue.
pub struct Kueue {
    _component: Component,
    client: Client,
}

impl Kueue {
    /// Installs Kueue's definitions and starts Kueue. The first call builds Kueue.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let program = tools::find(Tool::Kueue).await?;
        let client = plane.client().await?;
        define(&client).await?;
        let folder = plane.folder().join("kueue");
        std::fs::create_dir(&folder)?;
        let [health, webhook] = free_ports()?;
        let pki = Pki::create(&folder)?;
        pki.issue(&Subject { file: "tls", name: "kueue", organisation: "lab", addresses: &["localhost"] })?;
        let config = json!({
            "apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration",
            "health": {"healthProbeBindAddress": format!("127.0.0.1:{health}")},
            "metrics": {"bindAddress": "0"},
            "webhook": {"port": webhook, "host": "127.0.0.1", "certDir": folder},
            "leaderElection": {"leaderElect": false},
            "internalCertManagement": {"enable": false},
            "integrations": {"frameworks": ["batch/job"]},
        });
        let file = folder.join("config.yaml");
        std::fs::write(&file, config.to_string())?;
        let mut component = Component::start("kueue", &folder, Path::new("unshare"), |command| {
            command
                .args(if settings::is_root() { &[][..] } else { &["--user", "--map-root-user"] })
                .args(["--mount", "sh", "-c", WITH_CERTIFICATES, "sh"])
                .arg(&folder)
                .args([program.as_os_str(), format!("--config={}", file.display()).as_ref()])
                // The visibility server is an API server of its own.
                .arg("--feature-gates=VisibilityOnDemand=false")
                .env("KUBECONFIG", plane.kubeconfig())
        })?;
        wait::until_component(&mut component, "Kueue to be ready", READY_WITHIN, || async {
            let answer = reqwest::get(format!("http://127.0.0.1:{health}/readyz")).await?;
            Ok(answer.status().is_success().then_some(()))
        })
        .await?;
        Ok(Self { _component: component, client })
    }

    /// Objects of one of Kueue's kinds.
    pub fn objects(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = resource(kind);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Creates a queue of a namespace, whose quota is this much processor time and memory.
    pub async fn create_queue(&self, namespace: &str, name: &str, cpu: &str, memory: &str) -> Result<()> {
        let flavor = json!({"metadata": {"name": "default"}, "spec": {}});
        let resources =
            json!([{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": memory}]);
        let cluster = json!({"metadata": {"name": name}, "spec": {
            "namespaceSelector": {},
            "resourceGroups": [{
                "coveredResources": ["cpu", "memory"],
                "flavors": [{"name": "default", "resources": resources}],
            }],
        }});
        let local = json!({"metadata": {"name": name}, "spec": {"clusterQueue": name}});
        for (kind, namespace, object) in [
            ("ResourceFlavor", None, flavor),
            ("ClusterQueue", None, cluster),
            ("LocalQueue", Some(namespace), local),
        ] {
            let mut object = object;
            object["apiVersion"] = json!(format!("kueue.x-k8s.io/{VERSION}"));
            object["kind"] = json!(kind);
            let object = serde_json::from_value(object)?;
            let created = self.objects(kind, namespace).create(&PostParams::default(), &object).await;
            created.with_context(|| format!("failed to create a {kind}"))?;
        }
        Ok(())
    }
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("kueue.x-k8s.io", VERSION, kind))
}

/// Installs the definitions of the Go module's own folder.
async fn define(client: &Client) -> Result<()> {
    let module = tools::module_source("kueue", "sigs.k8s.io/kueue").await?;
    for entry in std::fs::read_dir(module.join("config/components/crd/bases"))? {
        definitions::create_file(client, &entry?.path()).await?;
    }
    wait::until("Kueue's definitions to be served", READY_WITHIN, || async {
        for kind in ["Workload", "ClusterQueue", "LocalQueue", "ResourceFlavor"] {
            let objects: Api<DynamicObject> = Api::all_with(client.clone(), &resource(kind));
            objects.list(&ListParams::default()).await?;
        }
        Ok(Some(()))
    })
    .await
}
