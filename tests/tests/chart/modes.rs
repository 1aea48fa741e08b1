//! `helm upgrade` from each source of the webhook's certificate to each other one, on a real API server. The
//! test plays the controller's certificate rotation and cert-manager's cainjector.

use anyhow::{Context as _, Result, bail};
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::certificates::{authority, given};
use crate::server::{CONTROLLER, Installation};

/// Source of the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Zstart,
    CertManager,
    Secret,
}
use Mode::{CertManager, Secret, Zstart};

/// Visits each of the six changes once.
const TOUR: [Mode; 6] = [CertManager, Secret, Zstart, Secret, CertManager, Zstart];

struct Tour {
    zstart: Installation,
    /// Bundle that an administrator gives.
    given: String,
}

impl Tour {
    async fn start() -> Result<Self> {
        Ok(Self { zstart: Installation::start(&[]).await?, given: authority()? })
    }

    /// Upgrades with a value that differs in each upgrade.
    async fn upgrade(&self, flag: &str, mode: Mode, timeout: i32) -> Result<()> {
        let mut sets = vec![format!("webhook.timeoutSeconds={timeout}")];
        match mode {
            Zstart => sets.push("webhook.certificate.mode=zstart".to_owned()),
            CertManager => sets.push("webhook.certificate.mode=certManager".to_owned()),
            Secret => sets.extend(given(&self.given)),
        }
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        self.zstart.helm("upgrade", flag, &sets).await.with_context(|| format!("{flag} to {mode:?}"))?;
        Ok(())
    }

    fn configurations(&self) -> Api<MutatingWebhookConfiguration> {
        Api::all(self.zstart.client().clone())
    }

    /// The only webhook configuration: `caBundle` and `timeoutSeconds`.
    async fn webhook(&self) -> Result<(Option<ByteString>, Option<i32>)> {
        let all = self.configurations().list(&ListParams::default()).await?.items;
        let [configuration] = all.as_slice() else {
            bail!("configurations: {:?}", all.iter().map(ResourceExt::name_any).collect::<Vec<_>>());
        };
        let [webhook] = configuration.webhooks.as_deref().unwrap_or_default() else {
            bail!("not one webhook: {configuration:?}")
        };
        assert!(webhook.client_config.service.is_some());
        Ok((webhook.client_config.ca_bundle.clone(), webhook.timeout_seconds))
    }

    /// Writes `caBundle` as the mode's party does, and returns the written value.
    async fn publish(&self, mode: Mode) -> Result<ByteString> {
        let bundle = ByteString(authority()?.into_bytes());
        match mode {
            Zstart => {
                let controller: Api<MutatingWebhookConfiguration> =
                    Api::all(self.zstart.user(CONTROLLER, &[]).await?);
                let patch = json!({
                    "apiVersion": "admissionregistration.k8s.io/v1",
                    "kind": "MutatingWebhookConfiguration",
                    "webhooks": [{"name": "pods.zstart.dev", "clientConfig": {"caBundle": bundle}}],
                });
                let parameters = PatchParams::apply("zstart-controller").force();
                controller.patch("zstart", &parameters, &Patch::Apply(&patch)).await?;
            }
            CertManager => {
                let mut object = self.configurations().get("zstart").await?;
                for webhook in object.webhooks.iter_mut().flatten() {
                    webhook.client_config.ca_bundle = Some(bundle.clone());
                }
                let field_manager = Some("cert-manager-cainjector".to_owned());
                let parameters = PostParams { field_manager, dry_run: false };
                self.configurations().replace("zstart", &parameters, &object).await?;
            }
            Secret => return Ok(ByteString(self.given.clone().into_bytes())),
        }
        Ok(bundle)
    }

    /// Each change leaves one configuration, which then keeps the bundle of the mode's party.
    async fn run(&self, flag: &str) -> Result<()> {
        let (mut from, mut bundle) = (Zstart, self.publish(Zstart).await?);
        for to in TOUR {
            self.upgrade(flag, to, 1).await?;
            let (now, timeout) = self.webhook().await?;
            assert_eq!(timeout, Some(1), "{from:?} to {to:?}");
            let expected = match (from, to) {
                (_, Secret) => Some(ByteString(self.given.clone().into_bytes())),
                // The object of mode secret is removed with its bundle.
                (Secret, _) => None,
                // Trusted until the new party writes its own.
                _ => Some(bundle.clone()),
            };
            assert_eq!(now, expected, "{from:?} to {to:?}");

            bundle = self.publish(to).await?;
            self.upgrade(flag, to, 2).await?;
            assert_eq!(self.webhook().await?, (Some(bundle.clone()), Some(2)), "{from:?} to {to:?}");
            from = to;
        }
        Ok(())
    }
}

#[tokio::test]
async fn server_side_upgrade_changes_the_certificate_mode() -> Result<()> {
    Tour::start().await?.run("--server-side=true").await
}

#[tokio::test]
async fn client_side_upgrade_changes_the_certificate_mode() -> Result<()> {
    Tour::start().await?.run("--server-side=false").await
}
