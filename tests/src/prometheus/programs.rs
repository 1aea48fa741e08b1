//! zstart's two programs on an API server, with their metrics.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use zstart_admission::snapshot::watch::CacheAges;

use super::exposition::Exposition;
use crate::chart::NAMESPACE;
use crate::cluster::built_binaries;
use crate::control_plane::ControlPlane;
use crate::definitions::define;
use crate::ports::free_ports;
use crate::process::Component;
use crate::wait;

/// Time limit for every family of metrics to have a sample.
const WITHIN: Duration = Duration::from_mins(1);

/// Running programs. The webhook has no certificate.
pub struct Programs {
    _components: [Component; 2],
    controller: String,
    webhook: String,
    // Ends last.
    plane: ControlPlane,
}

impl Programs {
    /// Starts an API server and both programs, with all rights.
    pub async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        define(&plane.client().await?).await?;
        let ports = free_ports::<3>()?;
        let [controller, webhook, https] = ports.map(|port| format!("127.0.0.1:{port}"));
        let start = |name: &'static str, config: &Value| {
            let folder = plane.folder();
            let file = folder.join(format!("{name}.yaml"));
            std::fs::write(&file, config.to_string())?;
            Component::start(name, folder, &built_binaries()?.join(name), |command| {
                command.arg("--config").arg(&file).env("KUBECONFIG", plane.kubeconfig());
                command.env("POD_NAMESPACE", NAMESPACE).env("POD_NAME", format!("{name}-0"))
            })
        };
        let components = [
            start("zstart-controller", &json!({"healthListen": controller}))?,
            start("zstart-webhook", &json!({"healthListen": webhook, "listen": https}))?,
        ];
        Ok(Self { _components: components, controller, webhook, plane })
    }

    /// Folder for files of a test.
    pub fn folder(&self) -> &Path {
        self.plane.folder()
    }

    /// Names of the programs, and the addresses of their health ports.
    pub fn addresses(&self) -> [(&'static str, String); 2] {
        [("controller", self.controller.clone()), ("webhook", self.webhook.clone())]
    }

    /// Metrics of both programs, when every family has a sample, and the webhook has heard about every kind of object.
    pub async fn metrics(&self) -> Result<Exposition> {
        wait::until("a sample of each metric", WITHIN, || async {
            let mut metrics = Exposition::default();
            for (_, address) in self.addresses() {
                let answer = reqwest::get(format!("http://{address}/metrics")).await?;
                metrics.merge(Exposition::parse(&answer.error_for_status()?.text().await?));
            }
            let empty = metrics.empty_families();
            ensure!(empty.is_empty(), "no sample of {empty:?}; a metric must exist before its first event");
            let heard =
                metrics.labels("zstart_webhook_cache_age_seconds").and_then(|ages| ages.get("resource"));
            let unheard = |kind: &&str| heard.is_none_or(|heard| !heard.contains(*kind));
            let unheard: Vec<&str> = CacheAges::kinds().filter(unheard).collect();
            ensure!(unheard.is_empty(), "the webhook hasn't heard about {unheard:?}");
            Ok(Some(metrics))
        })
        .await
    }
}
