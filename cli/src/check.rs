//! `zstart check`: looks at a cluster before and after zstart's installation, and says what to do. The command
//! changes nothing: its only write is a dry run.

mod api_server;
mod certificate;
mod definitions;
mod issuer;
mod name;
mod namespaces;
mod nodes;
mod outcome;
mod probe;
mod programs;
mod records;
mod report;
mod rights;
mod signatures;
mod webhook;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node as ApiNode, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, ResourceExt as _};
use zstart_admission::config::Config;
use zstart_core::chain;
use zstart_core::eligibility::node::Node;

use self::certificate::Serving;
use self::definitions::Stage;
use self::issuer::Issuer;
use self::name::CheckName;
use self::outcome::{Check, Read, Section, Unread};
use self::report::Report;
use crate::args::CheckArguments;
use crate::cluster::{Cluster, ClusterArguments, ClusterError, WEBHOOK, default_settings, list_all};
use crate::error::CliError;

/// Version of this program.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Cluster, as all checks see it.
struct Subject {
    client: Client,
    /// zstart's namespace.
    namespace: String,
    nodes: Read<Vec<Node>>,
    namespaces: Read<Vec<ObjectMeta>>,
    configurations: Read<Vec<MutatingWebhookConfiguration>>,
    deployments: Read<Vec<Deployment>>,
}

/// Runs all checks that fit the cluster's state. Fails if a check fails.
pub(crate) async fn run(arguments: CheckArguments) -> Result<(), CliError> {
    let CheckArguments { context, namespace, pre, output } = arguments;
    let cluster = ClusterArguments { context, namespace: Some(namespace) };
    let cluster = Cluster::connect(&cluster).await?;
    let report = Report::new(sections(&cluster, pre).await?);
    output.format().print(&report, || report.lines())?;
    match report.failed() {
        (0, _) => Ok(()),
        (failed, all) => Err(CliError::ChecksFailed { failed, all }),
    }
}

async fn sections(cluster: &Cluster, pre: bool) -> Result<Vec<Section>, ClusterError> {
    let server = match cluster.client.apiserver_version().await {
        Ok(info) => api_server::version(&info),
        Err(error) => {
            let check = Check::failed(
                CheckName::ApiServer,
                format!("the API server doesn't answer: {}", chain(&error)),
                "compare with kubectl get --raw /version; --context names another cluster",
            );
            return Ok(vec![Section { title: "cluster", checks: vec![check] }]);
        }
    };
    let subject = Subject::read(cluster).await;
    match subject.webhook().filter(|_| !pre) {
        Some((configuration, webhook)) => subject.installed(server, configuration, webhook).await,
        None if !pre && subject.is_partly_installed() => Ok(subject.partly_installed(server).await),
        None => subject.before_install(server).await,
    }
}

impl Subject {
    async fn read(cluster: &Cluster) -> Self {
        let client = cluster.client.clone();
        let nodes = Api::<ApiNode>::all(client.clone());
        let nodes = list_all(async |page| nodes.list(page).await).await.map_err(Unread::new("list nodes"));
        let namespaces = Api::<Namespace>::all(client.clone());
        let namespaces = list_all(async |page| namespaces.list_metadata(page).await).await;
        let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone());
        let configurations = list_all(async |page| configurations.list(page).await).await;
        let configurations = configurations.map_err(Unread::new("list webhook configurations"));
        let service =
            configurations.as_ref().ok().and_then(|all| own(all)).and_then(|(_, webhook)| service(webhook));
        let namespace = service.map_or(&cluster.namespace, |(namespace, _)| namespace).clone();
        Self {
            nodes: nodes.map(|nodes| nodes.into_iter().map(Node::from).collect()),
            namespaces: namespaces
                .map(|found| found.into_iter().map(|namespace| namespace.metadata).collect())
                .map_err(Unread::new("list namespaces")),
            deployments: programs::deployments(&client, &namespace).await,
            configurations,
            namespace,
            client,
        }
    }

    fn webhook(&self) -> Option<(&MutatingWebhookConfiguration, &MutatingWebhook)> {
        own(self.configurations.as_ref().ok()?)
    }

    /// Returns whether zstart's programs are there without a webhook configuration that the user may see.
    fn is_partly_installed(&self) -> bool {
        self.deployments.as_ref().is_ok_and(|deployments| !deployments.is_empty())
    }

    async fn before_install(&self, server: Check) -> Result<Vec<Section>, ClusterError> {
        let config = default_settings()?;
        let mut cluster = vec![server];
        cluster.extend(nodes::checks(&self.nodes, &config.policy.runtimes));
        let mut install = vec![rights::check(&self.client, &self.namespace).await];
        install.extend(definitions::checks(&self.client, Stage::BeforeInstall).await);
        let mut others = self.other_webhooks("zstart");
        others.extend(signatures::checks(&self.client, &self.opted_in(), &config.policy.signed_images).await);
        Ok(vec![
            Section { title: "cluster", checks: cluster },
            Section { title: "before the installation", checks: install },
            Section { title: "other programs", checks: others },
        ])
    }

    async fn partly_installed(&self, server: Check) -> Vec<Section> {
        let missing = match &self.configurations {
            Ok(_) => Check::failed(
                CheckName::WebhookConfiguration,
                format!(
                    "no webhook configuration has the webhook {WEBHOOK}: the API server never calls zstart"
                ),
                "helm upgrade creates it",
            ),
            Err(unread) => Check::unread(CheckName::WebhookConfiguration, unread),
        };
        let mut installed = programs::checks(&self.deployments, &self.namespace);
        installed.extend(definitions::checks(&self.client, Stage::Installed).await);
        vec![
            Section { title: "cluster", checks: vec![server] },
            Section { title: "installation", checks: installed },
            Section { title: "webhook", checks: vec![missing] },
        ]
    }

    async fn installed(
        &self,
        server: Check,
        configuration: &MutatingWebhookConfiguration,
        webhook: &MutatingWebhook,
    ) -> Result<Vec<Section>, ClusterError> {
        let (config, settings) = self.settings(configuration).await?;
        let policy = &config.policy;
        let mut cluster = vec![server];
        cluster.extend(nodes::checks(&self.nodes, &policy.runtimes));

        let mut installation = programs::checks(&self.deployments, &self.namespace);
        if let Ok(deployments) = &self.deployments {
            installation.extend(rights::of_programs(&self.client, &self.namespace, deployments).await);
        }
        installation.push(settings);
        installation.extend(definitions::checks(&self.client, Stage::Installed).await);
        installation.push(programs::record_policy(&self.client).await);

        let mut reach = webhook::checks(configuration, webhook);
        reach.push(self.certificate(&config, configuration, webhook).await);
        if let Some((namespace, service)) = service(webhook) {
            reach.push(programs::endpoints(&self.client, namespace, service).await);
        }
        if let (Ok(all), Ok(nodes)) = (&self.configurations, &self.nodes) {
            reach.extend(webhook::cloud_checks(configuration, all, nodes, config.listen.port()));
        }
        let namespaces = self.namespaces.as_deref().unwrap_or_default();
        let reviewed = namespaces::reviewed(namespaces, webhook);
        reach.extend(probe::checks(&self.client, &reviewed).await);

        let mut others = self.other_webhooks(&configuration.name_any());
        others.extend(signatures::checks(&self.client, &reviewed, &policy.signed_images).await);
        let mut work = namespaces::checks(&self.namespaces, Some(webhook));
        work.extend(records::checks(&self.client).await);
        Ok(vec![
            Section { title: "cluster", checks: cluster },
            Section { title: "installation", checks: installation },
            Section { title: "webhook", checks: reach },
            Section { title: "other programs", checks: others },
            Section { title: "namespaces and images", checks: work },
        ])
    }

    fn opted_in(&self) -> Vec<&ObjectMeta> {
        let namespaces = self.namespaces.as_deref().unwrap_or_default();
        namespaces.iter().filter(|namespace| namespaces::is_opted_in(namespace)).collect()
    }

    fn other_webhooks(&self, own: &str) -> Vec<Check> {
        match &self.configurations {
            Ok(all) => vec![webhook::others(own, all)],
            Err(unread) => vec![Check::unread(CheckName::OtherWebhooks, unread)],
        }
    }

    /// Reads the webhook's settings. The other checks use the defaults if the settings can't be read.
    async fn settings(
        &self,
        configuration: &MutatingWebhookConfiguration,
    ) -> Result<(Config, Check), ClusterError> {
        const NAME: CheckName = CheckName::Settings;
        Ok(match Cluster::settings(&self.client, configuration).await {
            Ok((config, None)) => (config, Check::passed(NAME, "the webhook's settings are valid")),
            Ok((config, Some(remark))) => (config, Check::skipped(NAME, remark)),
            Err(error) => {
                let check = Check::failed(
                    NAME,
                    chain(&error),
                    "use the zstart program of the installed version, or correct the chart's values; the checks \
                     below use the default settings",
                );
                (default_settings()?, check)
            }
        })
    }

    async fn certificate(
        &self,
        config: &Config,
        configuration: &MutatingWebhookConfiguration,
        webhook: &MutatingWebhook,
    ) -> Check {
        const NAME: CheckName = CheckName::Certificate;
        let secret = &config.serving_secret;
        let issuer = Issuer::of(configuration, webhook);
        let Some(host) = host(webhook) else {
            return Check::skipped(
                NAME,
                "the webhook configuration names neither a Service nor a URL with a host",
            );
        };
        let api = Api::<Secret>::namespaced(self.client.clone(), &self.namespace);
        let found = match api.get_opt(secret).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Check::failed(
                    NAME,
                    format!(
                        "the Secret {}/{secret} with the webhook's certificate is missing",
                        self.namespace
                    ),
                    issuer.certificate_action(secret),
                );
            }
            Err(error) => {
                return Check::unread(NAME, &Unread::new(format!("read the Secret {secret}"))(error));
            }
        };
        let bundle = webhook.client_config.ca_bundle.as_ref().map_or(&[][..], |bundle| &bundle.0);
        // The private key in the Secret isn't looked at.
        let chain =
            found.data.as_ref().and_then(|data| data.get("tls.crt")).map_or(&[][..], |chain| &chain.0);
        Serving { secret, chain, bundle, host: &host, issuer }.check(Timestamp::now())
    }
}

/// Finds zstart's webhook.
fn own(all: &[MutatingWebhookConfiguration]) -> Option<(&MutatingWebhookConfiguration, &MutatingWebhook)> {
    all.iter().find_map(|configuration| {
        let webhook = configuration.webhooks.iter().flatten().find(|webhook| webhook.name == WEBHOOK)?;
        Some((configuration, webhook))
    })
}

/// Namespace and name of the webhook's Service.
fn service(webhook: &MutatingWebhook) -> Option<(&String, &String)> {
    webhook.client_config.service.as_ref().map(|service| (&service.namespace, &service.name))
}

/// Name by which the API server verifies the webhook's certificate.
fn host(webhook: &MutatingWebhook) -> Option<String> {
    if let Some((namespace, name)) = service(webhook) {
        return Some(format!("{name}.{namespace}.svc"));
    }
    let url = webhook.client_config.url.as_deref()?;
    let authority = url.strip_prefix("https://")?.split('/').next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    Some(host.trim_matches(['[', ']']).to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn host_is_the_services_or_the_urls() {
        let host = |client: serde_json::Value| {
            let webhook = json!({"name": WEBHOOK, "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "clientConfig": client});
            host(&serde_json::from_value(webhook).unwrap())
        };
        let service = json!({"service": {"name": "zstart-webhook", "namespace": "zstart-system"}});
        assert_eq!(host(service).as_deref(), Some("zstart-webhook.zstart-system.svc"));
        assert_eq!(host(json!({"url": "https://127.0.0.1:8443/mutate"})).as_deref(), Some("127.0.0.1"));
        assert_eq!(host(json!({"url": "https://[::1]:8443/mutate"})).as_deref(), Some("::1"));
        assert_eq!(host(json!({})), None);
    }
}
