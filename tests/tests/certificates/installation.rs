//! An API server with the chart's objects that concern certificates: the namespace, the webhook
//! configuration, and exactly the controller's rights.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use zstart_controller::certificates::secret_data::Data;
use zstart_controller::certificates::{CertificateError, CertificateSettings, rotate};
use zstart_tests::chart;
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::wait;

use crate::handshake;

pub(crate) const NAMESPACE: &str = "zstart-system";
const CONTROLLER: &str = "system:serviceaccount:zstart-system:zstart-controller";
/// Creating keys and objects takes one or two seconds; two busy cores take longer.
const WITHIN: Duration = Duration::from_mins(1);

pub(crate) struct Installation {
    plane: ControlPlane,
    admin: Client,
}

impl Installation {
    /// Starts everything except the webhook configuration.
    pub(crate) async fn start() -> Result<Self> {
        let plane = ControlPlane::start().await?;
        let admin = plane.client().await?;
        let installation = Self { plane, admin };
        installation.apply::<Namespace>(None, json!({"metadata": {"name": NAMESPACE}})).await?;
        chart::grant(&installation.admin, "zstart-controller").await?;
        Ok(installation)
    }

    async fn apply<K: Resource<DynamicType = ()>>(
        &self,
        namespace: Option<&str>,
        mut object: Value,
    ) -> Result<()> {
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk(&K::group(&()), &K::version(&()), &K::kind(&())));
        object["apiVersion"] = json!(K::api_version(&()));
        object["kind"] = json!(K::kind(&()));
        let object: DynamicObject = serde_json::from_value(object)?;
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(self.admin.clone(), namespace, &resource),
            None => Api::all_with(self.admin.clone(), &resource),
        };
        let parameters = PatchParams::apply("helm").force();
        let TypeMeta { kind, .. } = object.types.clone().unwrap_or_default();
        let answer = api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await;
        answer.with_context(|| format!("failed to apply the {kind} {}", object.name_any()))?;
        Ok(())
    }

    /// Applies the configuration without a bundle, like `helm install` and `helm upgrade`.
    pub(crate) async fn apply_configuration(&self, timeout: i32) -> Result<()> {
        let object = serde_json::to_value(configuration(timeout)?)?;
        self.apply::<MutatingWebhookConfiguration>(None, object).await
    }

    pub(crate) fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.admin.clone())
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), NAMESPACE)
    }

    pub(crate) async fn create_secret(&self, name: &str, kind: &str, data: Data) -> Result<()> {
        let mut secret = Secret { data: Some(data), type_: Some(kind.to_owned()), ..Secret::default() };
        secret.metadata.name = Some(name.to_owned());
        self.secrets().create(&PostParams::default(), &secret).await?;
        Ok(())
    }

    pub(crate) async fn delete_secret(&self, name: &str) -> Result<()> {
        self.secrets().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Starts the controller's certificate rotation with the controller's rights.
    pub(crate) async fn start_rotator(&self) -> Result<Rotator> {
        let mut config = self.plane.config().await?;
        config.auth_info.impersonate = Some(CONTROLLER.to_owned());
        let client = Client::try_from(config)?;
        let shutdown = CancellationToken::new();
        let settings = CertificateSettings::default();
        let task = tokio::spawn(rotate(client, settings, NAMESPACE.to_owned(), shutdown.clone()));
        Ok(Rotator { shutdown: shutdown.drop_guard(), task })
    }

    /// Current state of the three objects.
    pub(crate) async fn state(&self) -> Result<State> {
        let secrets = self.secrets();
        let configuration = self.configurations().get_opt("zstart").await?;
        let webhook = configuration.and_then(|object| object.webhooks).and_then(|mut all| all.pop());
        Ok(State {
            authority: secrets.get("zstart-webhook-ca").await?,
            serving: secrets.get("zstart-webhook-tls").await?,
            bundle: webhook.and_then(|webhook| webhook.client_config.ca_bundle).map(|bundle| bundle.0),
        })
    }

    /// Waits until the API server can call the webhook and the condition holds.
    pub(crate) async fn wait_until(&self, what: &str, holds: impl Fn(&State) -> bool) -> Result<State> {
        wait::until(what, WITHIN, || async {
            let state = self.state().await?;
            handshake::connect(&state, "zstart-webhook.zstart-system.svc")?;
            Ok(holds(&state).then_some(state))
        })
        .await
    }

    /// Waits until the API server can call the webhook.
    pub(crate) async fn wait_until_trusted(&self) -> Result<State> {
        self.wait_until("the webhook to be trusted", |_| true).await
    }
}

/// The chart's configuration.
pub(crate) fn configuration(timeout: i32) -> Result<MutatingWebhookConfiguration> {
    Ok(serde_json::from_value(json!({
        "metadata": {"name": "zstart"},
        "webhooks": [{
            "name": "pods.zstart.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {
                "name": "zstart-webhook", "namespace": NAMESPACE, "path": "/mutate", "port": 443,
            }},
            "failurePolicy": "Ignore",
            "timeoutSeconds": timeout,
            "sideEffects": "None",
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
            }],
            // No pod of these tests matches the selector.
            "namespaceSelector": {"matchLabels": {"zstart.dev/rewrite": "enabled"}},
        }],
    }))?)
}

/// State of the three objects.
#[derive(Clone)]
pub(crate) struct State {
    pub(crate) authority: Secret,
    pub(crate) serving: Secret,
    pub(crate) bundle: Option<Vec<u8>>,
}

/// Value of a Secret's key.
pub(crate) fn value<'a>(secret: &'a Secret, key: &str) -> Result<&'a [u8]> {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    Ok(&value.with_context(|| format!("the Secret {} has no {key}", secret.name_any()))?.0)
}

/// A running rotation, ended with the test.
pub(crate) struct Rotator {
    shutdown: DropGuard,
    task: JoinHandle<Result<(), CertificateError>>,
}

impl Rotator {
    /// Requests shutdown and waits for it.
    pub(crate) async fn stop(self) -> Result<()> {
        drop(self.shutdown);
        Ok(self.task.await??)
    }
}
