//! A Prometheus in the cluster of `make run KEEP=1`.

use std::os::unix::fs::symlink;

use anyhow::{Context as _, Result};

use crate::cluster::{Cluster, NAMESPACE};
use crate::prometheus::Prometheus;
use crate::steps::print_block;
use crate::tools::{self, Tool};

/// Port of the HTTP API, Prometheus' usual one. Each cluster has its own network namespace.
const PORT: u16 = 9090;

/// Starts a Prometheus with the chart's alerts, which scrapes zstart's pods as soon as they exist, and puts its tools on
/// the PATH of the cluster's commands.
pub async fn start(cluster: &Cluster) -> Result<Prometheus> {
    for tool in Tool::MONITORING {
        let link = cluster.binaries().join(tool.file_name());
        symlink(tools::find(tool).await?, &link)
            .with_context(|| format!("failed to link {}", link.display()))?;
    }
    Prometheus::scrape_pods(cluster.folder(), PORT, cluster.kubeconfig(), NAMESPACE).await
}

/// Prints how to ask the Prometheus.
pub(super) fn describe(prometheus: &Prometheus) {
    let address = prometheus.address();
    print_block(&format!(
        "A Prometheus with zstart's alerts has scraped the run. It has its API and no web interface:
  promtool query instant http://{address} 'sum by (reason) (zstart_webhook_images_total) > 0'
  curl -s http://{address}/api/v1/alerts         the alerts that are pending or fire
  curl -s http://{address}/api/v1/rules          all alerts"
    ));
}
