//! Access to a Kubernetes cluster, for the commands that look into one.

use std::collections::BTreeMap;

use clap::Args;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::ListParams;
use kube::config::KubeConfigOptions;
use kube::core::{ObjectList, Selector, SelectorExt as _};
use kube::{Api, Client};
use thiserror::Error;
use zstart_admission::config::{Config, ConfigError};

/// Name of the webhook in its configuration, as the chart writes it.
pub(crate) const WEBHOOK: &str = "pods.zstart.dev";
/// Key of a program's settings in its `ConfigMap`.
pub(crate) const CONFIG_KEY: &str = "config.yaml";
/// Field manager of annotations and labels that a command sets.
pub(crate) const MANAGER: &str = "zstart-cli";
/// Objects in a page of a list.
const PAGE: u32 = 500;

/// Arguments that choose a cluster.
#[derive(Debug, Args)]
pub(crate) struct ClusterArguments {
    /// Context of the kubeconfig. Default: the current context, or the cluster that the command runs in.
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of the pod. Default: the context's namespace, or the manifest's.
    #[arg(long, short = 'n', value_name = "NAME")]
    pub(crate) namespace: Option<String>,
}

/// Error of a request to the cluster.
#[derive(Debug, Error)]
pub(crate) enum ClusterError {
    /// No usable kubeconfig, and not within a cluster.
    #[error("failed to find a cluster: set KUBECONFIG, or name a context with --context")]
    Kubeconfig {
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The API server refused a request or didn't answer.
    #[error("failed to {action}")]
    Request {
        action: String,
        #[source]
        source: Box<kube::Error>,
    },
    /// The webhook's settings can't be parsed, perhaps because they are of another version.
    #[error("failed to read the webhook's settings")]
    Settings {
        #[source]
        source: Box<ConfigError>,
    },
}

/// Cluster, and the namespace that the user works in.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Installed webhook.
pub(crate) struct Installed {
    pub(crate) configuration: MutatingWebhookConfiguration,
    /// Settings; the defaults if the user may not read them.
    pub(crate) config: Config,
    /// Remark about the settings.
    pub(crate) remark: Option<String>,
}

impl Cluster {
    /// Reads the kubeconfig.
    pub(crate) async fn connect(arguments: &ClusterArguments) -> Result<Self, ClusterError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Kubeconfig { source };
        let config = match &arguments.context {
            Some(context) => {
                let options =
                    KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                kube::Config::from_kubeconfig(&options).await.map_err(|error| failed(error.into()))?
            }
            None => kube::Config::infer().await.map_err(|error| failed(error.into()))?,
        };
        let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| failed(error.into()))?;
        Ok(Self { client, namespace })
    }

    /// Finds the webhook's configuration and its settings. Returns `None` if zstart isn't installed.
    pub(crate) async fn webhook(&self) -> Result<Option<Installed>, ClusterError> {
        let configurations = Api::<MutatingWebhookConfiguration>::all(self.client.clone());
        let found = configurations.list(&ListParams::default()).await;
        let found = found.map_err(request("list webhook configurations"))?;
        let is_own = |configuration: &MutatingWebhookConfiguration| {
            configuration.webhooks.iter().flatten().any(|webhook| webhook.name == WEBHOOK)
        };
        let Some(configuration) = found.items.into_iter().find(is_own) else { return Ok(None) };
        let (config, remark) = Self::settings(&self.client, &configuration).await?;
        Ok(Some(Installed { configuration, config, remark }))
    }

    /// Reads the settings from the namespace of the webhook's Service. Returns the defaults with a remark if the
    /// user may not read them.
    pub(crate) async fn settings(
        client: &Client,
        configuration: &MutatingWebhookConfiguration,
    ) -> Result<(Config, Option<String>), ClusterError> {
        let Some(namespace) = service_namespace(configuration) else {
            return Ok((
                default_settings()?,
                Some("the webhook has no Service: its settings are taken as the defaults".to_owned()),
            ));
        };
        let text = match settings_text(client, namespace, "webhook").await {
            Ok(text) => text,
            Err(error) if is_forbidden(&error) => None,
            Err(error) => return Err(request("list ConfigMaps of the webhook")(error)),
        };
        let remark = format!(
            "the webhook's settings in namespace {namespace} can't be read: they are taken as the defaults"
        );
        match text {
            Some(text) => Ok((parse_settings(&text)?, None)),
            None => Ok((default_settings()?, Some(remark))),
        }
    }
}

/// Namespace of the webhook's Service, which is the one that zstart is installed in; `None` if the webhook is called by
/// a URL.
pub(crate) fn service_namespace(configuration: &MutatingWebhookConfiguration) -> Option<&str> {
    let mut webhooks = configuration.webhooks.iter().flatten();
    webhooks.find_map(|webhook| Some(&*webhook.client_config.service.as_ref()?.namespace))
}

/// Returns whether a selector of a webhook matches an object's labels. An absent selector matches all; so does one that
/// can't be parsed, which the API server never accepts.
pub(crate) fn selects(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    let selector = selector.cloned().and_then(|selector| Selector::try_from(selector).ok());
    selector.is_none_or(|selector| selector.matches(labels))
}

/// Text of the settings of a program of zstart, from its `ConfigMap`.
pub(crate) async fn settings_text(
    client: &Client,
    namespace: &str,
    component: &str,
) -> Result<Option<String>, kube::Error> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let own = format!("app.kubernetes.io/name=zstart,app.kubernetes.io/component={component}");
    let maps = maps.list(&ListParams::default().labels(&own)).await?;
    Ok(maps.items.into_iter().find_map(|map| map.data?.remove(CONFIG_KEY)))
}

/// Settings of a webhook whose file is empty.
pub(crate) fn default_settings() -> Result<Config, ClusterError> {
    parse_settings("")
}

fn parse_settings(text: &str) -> Result<Config, ClusterError> {
    let parsed = Config::parse(CONFIG_KEY.as_ref(), text);
    parsed.map_err(|source| ClusterError::Settings { source: Box::new(source) })
}

/// Lists all objects, page by page.
pub(crate) async fn list_all<K: Clone>(
    page: impl AsyncFn(&ListParams) -> Result<ObjectList<K>, kube::Error>,
) -> Result<Vec<K>, kube::Error> {
    let (mut objects, mut parameters) = (Vec::new(), ListParams::default().limit(PAGE));
    loop {
        let found = page(&parameters).await?;
        objects.extend(found.items);
        match found.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

/// Names the action of a failed request.
pub(crate) fn request(action: impl Into<String>) -> impl FnOnce(kube::Error) -> ClusterError {
    let action = action.into();
    move |source| ClusterError::Request { action, source: Box::new(source) }
}

/// Returns whether the API server refused a request for lack of a right.
pub(crate) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// Returns whether the API server doesn't know the object, or its kind.
pub(crate) fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
