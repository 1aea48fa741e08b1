//! Issuer of the webhook's certificate, as `webhook.certificate.mode` chooses it, and its actions.

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use kube::ResourceExt as _;

/// Annotation by which cert-manager finds the configuration whose `caBundle` it writes.
const INJECTED: &str = "cert-manager.io/inject-ca-from";

/// Issuer of the webhook's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Issuer {
    /// zstart's controller (`zstart`).
    Controller,
    /// cert-manager (`certManager`).
    CertManager,
    /// The administrator, who writes the Secret (`secret`).
    Administrator,
}

impl Issuer {
    /// Finds the issuer. In mode `secret`, the chart names the configuration like the webhook's Service.
    pub(super) fn of(configuration: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> Self {
        let service = webhook.client_config.service.as_ref().map(|service| service.name.as_str());
        if configuration.annotations().contains_key(INJECTED) {
            Self::CertManager
        } else if service == Some(&configuration.name_any()) {
            Self::Administrator
        } else {
            Self::Controller
        }
    }

    /// Action for a Secret without a valid certificate.
    pub(super) fn certificate_action(self, secret: &str) -> String {
        match self {
            Self::Controller => {
                "zstart's controller issues it within seconds: read the controller's log".to_owned()
            }
            Self::CertManager => {
                format!(
                    "cert-manager issues it: see the events of the Certificate {secret}, and cert-manager's log"
                )
            }
            Self::Administrator => format!(
                "webhook.certificate.mode is secret: write a valid certificate and its key to the Secret {secret}; the \
                 webhook reads it without a restart"
            ),
        }
    }

    /// Action for a `caBundle` that is empty or another authority's.
    pub(super) fn authority_action(self) -> &'static str {
        match self {
            Self::Controller => "zstart's controller writes caBundle: read the controller's log",
            Self::CertManager => "cert-manager's cainjector writes caBundle: see that it runs, and its log",
            Self::Administrator => {
                "webhook.certificate.mode is secret: set webhook.certificate.caBundle to the authority that signed the \
                 certificate"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn issuer_is_told_by_the_webhook_configuration() {
        let issuer = |name: &str, annotations: serde_json::Value| {
            let service = json!({"name": "zstart-webhook", "namespace": "zstart-system"});
            let configuration = json!({
                "metadata": {"name": name, "annotations": annotations},
                "webhooks": [{
                    "name": "pods.zstart.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                    "clientConfig": {"service": service},
                }],
            });
            let configuration: MutatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
            Issuer::of(&configuration, &configuration.webhooks.as_ref().unwrap()[0])
        };
        let injected = json!({"cert-manager.io/inject-ca-from": "zstart-system/zstart-webhook-tls"});
        assert_eq!(issuer("zstart", json!({})), Issuer::Controller);
        assert_eq!(issuer("zstart", injected), Issuer::CertManager);
        assert_eq!(issuer("zstart-webhook", json!({})), Issuer::Administrator);
    }
}
