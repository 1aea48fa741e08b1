//! Certificates that zstart doesn't issue: a given Secret, and cert-manager's, whose part a test plays.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use zstart_controller::certificates::issue::{issue_authority, issue_serving};
use zstart_controller::certificates::secret_data::{Data, serving_data};
use zstart_controller::certificates::signer::Signer;
use zstart_tests::chart::{NAMESPACE, cert_manager};

use crate::installation::value;
use crate::release::Release;

/// An authority outside zstart.
struct Authority {
    pem: String,
    signer: Signer,
}

impl Authority {
    fn create() -> Result<Self> {
        let issued = issue_authority(Timestamp::now())?;
        let signer = Signer::read(issued.certificate.as_bytes(), issued.key.as_bytes())?;
        Ok(Self { pem: issued.certificate, signer })
    }

    /// Data of a serving Secret for these names and for loopback.
    fn issue(&self, names: impl IntoIterator<Item = String>) -> Result<Data> {
        let names: BTreeSet<String> = names.into_iter().chain(["127.0.0.1".to_owned()]).collect();
        Ok(serving_data(&issue_serving(Timestamp::now(), &self.signer, &names)?, &self.signer))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn given_secret_is_served_and_trusted() -> Result<()> {
    let authority = Authority::create()?;
    let (name, bundle) = ("internal-webhook", &authority.pem);
    let zstart = Release::install(&json!({"mode": "secret", "secretName": name, "caBundle": bundle})).await?;
    let _webhook = zstart.start_webhook().await?;
    zstart.call_webhook_directly("zstart-webhook").await?;
    let data = authority.issue(["zstart-webhook.zstart-system.svc".to_owned()])?;
    let mut secret = Secret { data: Some(data.clone()), ..Secret::default() };
    secret.type_ = Some("kubernetes.io/tls".to_owned());
    secret.metadata.name = Some(name.to_owned());
    zstart.secrets().create(&PostParams::default(), &secret).await?;
    zstart.wait_until_reviewed().await?;

    zstart.run_controller().await?;
    assert_eq!(zstart.secret_names().await?, [name], "the controller issues no certificate");
    assert_eq!(zstart.secrets().get(name).await?.data, Some(data));
    let rendered = zstart.bundle("zstart-webhook").await?.context("no caBundle")?;
    assert_eq!(String::from_utf8(rendered)?.trim(), bundle.trim());

    let other = STANDARD.encode(Authority::create()?.pem);
    zstart.change_webhook("zstart-webhook", &json!({"clientConfig": {"caBundle": other}})).await?;
    zstart.wait_until_distrusted().await
}

/// Plays cert-manager: issues the Certificate that the annotation names, and then plays cainjector.
async fn play_cert_manager(zstart: &Release, authority: &Authority) -> Result<()> {
    let mut configuration = zstart.configurations().get("zstart").await?;
    let annotation = configuration.annotations().get("cert-manager.io/inject-ca-from");
    let (namespace, name) = annotation.and_then(|value| value.split_once('/')).context("no annotation")?;
    assert_eq!(namespace, NAMESPACE);
    let certificate = cert_manager::objects(zstart.admin(), "Certificate").get(name).await?;
    let spec = &certificate.data["spec"];
    let names: Vec<String> = serde_json::from_value(spec["dnsNames"].clone())?;
    let secret_name = spec["secretName"].as_str().context("no secretName")?;

    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret_name},
        "type": "kubernetes.io/tls", "data": authority.issue(names)?,
    });
    let issuing = PatchParams::apply("cert-manager-certificates-issuing").force();
    let secret = zstart.secrets().patch(secret_name, &issuing, &Patch::Apply(secret)).await?;
    let bundle = ByteString(value(&secret, "ca.crt")?.to_vec());
    for webhook in configuration.webhooks.iter_mut().flatten() {
        webhook.client_config.ca_bundle = Some(bundle.clone());
    }
    let injector = Some("cert-manager-cainjector".to_owned());
    let injector = PostParams { field_manager: injector, dry_run: false };
    zstart.configurations().replace("zstart", &injector, &configuration).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cert_managers_certificate_is_served_and_renewed() -> Result<()> {
    let zstart = Release::install(&json!({"mode": "certManager"})).await?;
    let _webhook = zstart.start_webhook().await?;
    zstart.call_webhook_directly("zstart").await?;
    play_cert_manager(&zstart, &Authority::create()?).await?;
    zstart.wait_until_reviewed().await?;

    let renewed = Authority::create()?;
    play_cert_manager(&zstart, &renewed).await?;
    zstart.wait_until_served(&renewed.pem).await?;
    zstart.wait_until_reviewed().await?;
    zstart.run_controller().await?;
    assert_eq!(zstart.secret_names().await?, ["zstart-webhook-tls"], "the controller issues no certificate");
    let bundle = zstart.bundle("zstart").await?.context("no caBundle")?;
    assert_eq!(String::from_utf8(bundle)?.trim(), renewed.signer.certificate.to_pem().trim());
    Ok(())
}
