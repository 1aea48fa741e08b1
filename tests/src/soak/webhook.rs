//! The installed webhook: its replicas, and everything that replaces them or their certificate.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use zstart_core::keys;

use crate::cluster::{Cluster, NAMESPACE};
use crate::objects::is_pod_ready;
use crate::tls::served_certificate;
use crate::wait;

/// Replicas by the chart's default.
pub(super) const REPLICAS: usize = 2;
const DEPLOYMENT: &str = "deployment/zstart-webhook";
const HTTPS_PORT: u16 = 8443;
/// Name by which the API server verifies the certificate.
const SERVICE: &str = "zstart-webhook.zstart-system.svc";
/// Time limit of a change, which includes the drain of the old replicas.
const WITHIN: Duration = Duration::from_mins(3);
const TIMEOUT: &str = "--timeout=3m";

/// The webhook's Deployment.
pub(super) struct Webhook<'a> {
    cluster: &'a Cluster,
    pods: Api<Pod>,
    secrets: Api<Secret>,
}

/// A ready replica.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) name: String,
    pub(super) node: String,
    address: IpAddr,
}

impl<'a> Webhook<'a> {
    pub(super) fn new(cluster: &'a Cluster) -> Self {
        let (pods, secrets) = (cluster.client(), cluster.client());
        Self { cluster, pods: Api::namespaced(pods, NAMESPACE), secrets: Api::namespaced(secrets, NAMESPACE) }
    }

    /// Waits until all replicas are ready and no other pod of the webhook is left.
    pub(super) async fn settled(&self) -> Result<Vec<Replica>> {
        let of_webhook = ListParams::default().labels("app.kubernetes.io/component=webhook");
        let settled = wait::until("the webhook's replicas to be ready and alone", WITHIN, || async {
            let pods = self.pods.list(&of_webhook).await?.items;
            ensure!(pods.len() == REPLICAS, "{} pods exist", pods.len());
            pods.iter().map(replica).collect::<Result<Vec<_>>>().map(Some)
        });
        settled.await.with_context(|| self.cluster.pod_diagnostics(NAMESPACE))
    }

    /// Restarts the Deployment as users do, and waits until the old replicas are gone.
    pub(super) async fn restart(&self) -> Result<()> {
        self.replace(|cluster| {
            cluster.kubectl(&["-n", NAMESPACE, "rollout", "restart", DEPLOYMENT])?;
            cluster.kubectl(&["-n", NAMESPACE, "rollout", "status", DEPLOYMENT, TIMEOUT]).map(drop)
        })
        .await
    }

    /// Makes a change that must replace every replica.
    pub(super) async fn replace(&self, change: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
        let before = self.settled().await?;
        change(self.cluster)?;
        let before: BTreeSet<String> = before.into_iter().map(|replica| replica.name).collect();
        let after = self.settled().await?;
        ensure!(after.iter().all(|replica| !before.contains(&replica.name)), "{after:?} weren't replaced");
        Ok(())
    }

    /// Drains a node and makes it schedulable again.
    pub(super) async fn drain(&self, node: &str) -> Result<()> {
        self.cluster.kubectl(&["drain", node, "--ignore-daemonsets", "--delete-emptydir-data", TIMEOUT])?;
        let left = self.settled().await?;
        ensure!(left.iter().all(|replica| replica.node != node), "{node} still runs one of {left:?}");
        self.cluster.kubectl(&["uncordon", node]).map(drop)
    }

    /// Deletes the serving Secret and waits until every replica serves the certificate that the controller issues.
    pub(super) async fn rotate_certificate(&self) -> Result<()> {
        let before = self.issued().await?;
        self.secrets.delete(keys::SERVING_SECRET, &DeleteParams::default()).await?;
        let (replicas, bundle) = (self.settled().await?, self.bundle().await?);
        wait::until("every replica to serve the new certificate", WITHIN, || async {
            let issued = self.issued().await?;
            ensure!(issued != before, "the controller has issued no new certificate");
            for Replica { name, address, .. } in &replicas {
                let address = SocketAddr::from((*address, HTTPS_PORT));
                let served = served_certificate(address, ServerName::try_from(SERVICE)?, &bundle).await?;
                ensure!(served == issued, "{name} serves the old certificate");
            }
            Ok(Some(()))
        })
        .await
    }

    /// Certificate in the serving Secret, as DER.
    async fn issued(&self) -> Result<Vec<u8>> {
        let secret = self.secrets.get(keys::SERVING_SECRET).await?;
        let certificate = secret.data.as_ref().and_then(|data| data.get("tls.crt"));
        let certificate = certificate.context("the serving Secret has no certificate")?;
        Ok(CertificateDer::from_pem_slice(&certificate.0)?.to_vec())
    }

    /// Authorities by which the API server verifies the certificate, as PEM.
    async fn bundle(&self) -> Result<Vec<u8>> {
        let configurations: Api<MutatingWebhookConfiguration> = Api::all(self.cluster.client());
        let of_zstart = ListParams::default().labels("app.kubernetes.io/name=zstart");
        let found = configurations.list(&of_zstart).await?.items;
        let webhook = found.first().and_then(|found| found.webhooks.as_ref()?.first());
        let bundle = webhook.and_then(|webhook| webhook.client_config.ca_bundle.clone());
        Ok(bundle.context("the webhook's configuration has no caBundle")?.0)
    }
}

/// The pod's place, if the pod is ready and doesn't end.
fn replica(pod: &Pod) -> Result<Replica> {
    let name = pod.name_any();
    ensure!(pod.metadata.deletion_timestamp.is_none(), "{name} ends");
    let status = pod.status.as_ref().with_context(|| format!("{name} has no status"))?;
    ensure!(is_pod_ready(pod), "{name} isn't ready");
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).context("no node")?;
    let address = status.pod_ip.as_ref().with_context(|| format!("{name} has no address"))?.parse()?;
    Ok(Replica { name, node, address })
}
