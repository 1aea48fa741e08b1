//! The webhook's certificates on a real API server: issued, kept, repaired, renewed, and trusted.

mod external;
mod handshake;
mod installation;
mod release;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;
use zstart_controller::certificates::certificate::Certificate;
use zstart_controller::certificates::issue::{AUTHORITY_LIFETIME, issue_authority};
use zstart_controller::certificates::secret_data::{authority_data, serving_data};
use zstart_controller::certificates::signer::Signer;

use crate::installation::{Installation, NAMESPACE, configuration, value};

fn count(bundle: Option<&Vec<u8>>) -> usize {
    bundle.and_then(|bundle| Certificate::read_all(bundle).ok()).map_or(0, |all| all.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_issued_once_for_the_service_names() -> Result<()> {
    let zstart = Installation::start().await?;
    zstart.apply_configuration(2).await?;
    let rotator = zstart.start_rotator().await?;
    let state = zstart.wait_until_trusted().await?;

    handshake::connect(&state, "zstart-webhook.zstart-system.svc.cluster.local")?;
    let refused = handshake::connect(&state, "zstart-webhook.elsewhere.svc");
    assert!(refused.is_err(), "a certificate is good for our own names alone");
    assert_eq!(state.serving.type_.as_deref(), Some("kubernetes.io/tls"));
    assert_eq!(value(&state.serving, "ca.crt")?, value(&state.authority, "ca.crt")?);
    let serving = state.serving.data.as_ref().context("no data")?;
    assert_eq!(serving.len(), 3, "the authority's key stays in its own Secret");

    // A restarted controller finds everything in order.
    rotator.stop().await?;
    let rotator = zstart.start_rotator().await?;
    // Repairing a later change proves that the controller has checked the objects.
    zstart.delete_secret("zstart-webhook-tls").await?;
    let again = zstart
        .wait_until("a new serving certificate", |now| now.serving.uid() != state.serving.uid())
        .await?;
    assert_eq!(again.authority.resource_version(), state.authority.resource_version());
    assert_eq!(again.bundle, state.bundle);
    rotator.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_or_broken_secret_is_repaired() -> Result<()> {
    let zstart = Installation::start().await?;
    zstart.apply_configuration(2).await?;
    let _rotator = zstart.start_rotator().await?;
    let first = zstart.wait_until_trusted().await?;

    zstart.delete_secret("zstart-webhook-ca").await?;
    let second = zstart
        .wait_until("a new authority", |now| {
            now.authority.uid() != first.authority.uid() && now.serving.data != first.serving.data
        })
        .await?;
    assert_eq!(count(second.bundle.as_ref()), 1, "a deleted authority isn't trusted any more");

    // A user empties the serving Secret and adds a label. The label must survive the repair.
    let emptied = json!({"metadata": {"labels": {"team": "platform"}}, "data": {"tls.key": ""}});
    zstart.secrets().patch("zstart-webhook-tls", &PatchParams::default(), &Patch::Merge(emptied)).await?;
    let third = zstart.wait_until("a readable key", |now| now.serving.data != second.serving.data).await?;
    assert_eq!(third.serving.labels().get("team").map(String::as_str), Some("platform"));
    assert_eq!(third.authority.data, second.authority.data);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_bundle_reaches_a_late_or_replaced_configuration() -> Result<()> {
    let zstart = Installation::start().await?;
    let _rotator = zstart.start_rotator().await?;
    // The Secrets are created without waiting for the configuration.
    let secrets =
        zstart_tests::wait::until("the serving Secret", std::time::Duration::from_mins(1), || async {
            Ok(zstart.secrets().get_opt("zstart-webhook-tls").await?)
        });
    secrets.await?;
    zstart.apply_configuration(2).await?;
    let first = zstart.wait_until_trusted().await?;

    // An upgrade by server-side apply keeps fields that it doesn't name.
    zstart.apply_configuration(1).await?;
    let upgraded = zstart.configurations().get("zstart").await?.webhooks.unwrap_or_default();
    assert_eq!(upgraded[0].timeout_seconds, Some(1));
    assert_eq!(upgraded[0].client_config.ca_bundle, first.bundle.clone().map(ByteString));

    // A replacement removes every field that it doesn't name.
    let mut whole = configuration(2)?;
    whole.metadata.resource_version = zstart.configurations().get("zstart").await?.resource_version();
    zstart.configurations().replace("zstart", &PostParams::default(), &whole).await?;
    let repaired = zstart.wait_until_trusted().await?;
    assert_eq!(repaired.bundle, first.bundle);

    // Deletes and recreates the configuration.
    zstart.configurations().delete("zstart", &DeleteParams::default()).await?;
    zstart.apply_configuration(2).await?;
    let recreated = zstart.wait_until_trusted().await?;
    assert_eq!(recreated.bundle, first.bundle);
    assert_eq!(recreated.serving.resource_version(), first.serving.resource_version());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_webhook_is_left_unchanged() -> Result<()> {
    let zstart = Installation::start().await?;
    let mut two = configuration(2)?;
    let mut foreign = two.webhooks.clone().unwrap_or_default();
    foreign[0].name = "pods.example.com".to_owned();
    if let Some(service) = &mut foreign[0].client_config.service {
        service.name = "other-webhook".to_owned();
    }
    two.webhooks.get_or_insert_default().splice(0..0, foreign);
    zstart.configurations().create(&PostParams::default(), &two).await?;
    let _rotator = zstart.start_rotator().await?;
    zstart.wait_until_trusted().await?;

    let mut now = zstart.configurations().get("zstart").await?.webhooks.unwrap_or_default();
    assert!(now[0].client_config.ca_bundle.is_none());
    now[1].client_config.ca_bundle = None;
    let mut before = two.webhooks.unwrap_or_default();
    // Defaults added by the API server.
    for (webhook, now) in before.iter_mut().zip(&now) {
        webhook.match_policy.clone_from(&now.match_policy);
        webhook.object_selector.clone_from(&now.object_selector);
        webhook.reinvocation_policy.clone_from(&now.reinvocation_policy);
        for (rule, now) in webhook.rules.iter_mut().flatten().zip(now.rules.iter().flatten()) {
            rule.scope.clone_from(&now.scope);
        }
    }
    assert_eq!(now, before, "nothing but the bundle changed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_controllers_agree_on_one_authority() -> Result<()> {
    let zstart = Installation::start().await?;
    zstart.apply_configuration(2).await?;
    let rotators =
        [zstart.start_rotator().await?, zstart.start_rotator().await?, zstart.start_rotator().await?];
    let mut before = zstart.wait_until_trusted().await?;
    // Several simultaneous deletions: each time the controllers race to recreate the Secrets.
    for _ in 0..5 {
        zstart.delete_secret("zstart-webhook-ca").await?;
        zstart.delete_secret("zstart-webhook-tls").await?;
        before =
            zstart.wait_until("new Secrets", |now| now.authority.uid() != before.authority.uid()).await?;
    }
    for rotator in rotators {
        rotator.stop().await?;
    }
    let end = zstart.wait_until_trusted().await?;
    assert_eq!(count(end.bundle.as_ref()), 1);
    assert_eq!(end.bundle.as_deref(), Some(value(&end.authority, "ca.crt")?));
    assert_eq!(value(&end.serving, "ca.crt")?, value(&end.authority, "ca.crt")?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn authority_renewal_keeps_the_webhook_trusted() -> Result<()> {
    let zstart = Installation::start().await?;
    zstart.apply_configuration(2).await?;
    // An installation whose authority is seven years old and whose serving certificate is new.
    let now = Timestamp::now();
    let old = issue_authority(now - AUTHORITY_LIFETIME / 10 * 7)?;
    let signer = Signer::read(old.certificate.as_bytes(), old.key.as_bytes())?;
    let names = zstart_controller::certificates::CertificateSettings::default().dns_names(NAMESPACE);
    let serving = zstart_controller::certificates::issue::issue_serving(
        now - SignedDuration::from_mins(1),
        &signer,
        &names,
    )?;
    zstart.create_secret("zstart-webhook-ca", "Opaque", authority_data(&old, None, now)).await?;
    zstart.create_secret("zstart-webhook-tls", "kubernetes.io/tls", serving_data(&serving, &signer)).await?;

    let _rotator = zstart.start_rotator().await?;
    let renewed =
        zstart.wait_until("both authorities to be trusted", |now| count(now.bundle.as_ref()) == 2).await?;
    assert_eq!(value(&renewed.authority, "previous.crt")?, old.certificate.replace("\r\n", "\n").as_bytes());
    assert_ne!(value(&renewed.authority, "ca.crt")?, value(&renewed.authority, "previous.crt")?);
    assert_eq!(
        value(&renewed.serving, "tls.crt")?,
        serving.certificate.as_bytes(),
        "API servers get time to learn of it"
    );

    // A new serving certificate is signed by the new authority.
    zstart.delete_secret("zstart-webhook-tls").await?;
    let state = zstart
        .wait_until("a new serving certificate", |now| now.serving.uid() != renewed.serving.uid())
        .await?;
    let authority = Certificate::read_first(value(&state.authority, "ca.crt")?)?;
    assert!(Certificate::read_first(value(&state.serving, "tls.crt")?)?.is_signed_by(&authority));
    assert_eq!(state.bundle, renewed.bundle);
    Ok(())
}
