//! The demo's application, and the record of its image.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::{Api, Client};
use serde_json::{Value, json};
use zstart_core::record::{PlatformVariant, READY, Variant, condition, record_name};
use zstart_core::{Digest, ImageConversion, Reference, keys};

use crate::images::{open_repository, push_layout, real};
use crate::wait;

/// Namespace of the application.
pub(super) const NAMESPACE: &str = "shop";
/// Name of the application's image.
pub(super) const IMAGE: &str = "shop/forecast:v1";
const CONVERTED_WITHIN: Duration = Duration::from_mins(5);

/// Pushes the image from a layout folder to a registry. Returns its digest.
pub(super) async fn push_image(layout: &Path, registry: &str) -> Result<Digest> {
    let here: Reference = format!("{registry}/{IMAGE}").parse()?;
    push_layout(layout, &real::TAG.parse()?, &here).await
}

/// Requires that the source tag still points to the pushed digest.
pub(super) async fn require_source_unchanged(registry: &str, digest: &Digest) -> Result<()> {
    let here: Reference = format!("{registry}/{IMAGE}").parse()?;
    let now = zstart_convert::resolve(&*open_repository(&here)?, &here).await?;
    ensure!(now.digest() == digest, "{here} now points to {}, not to {digest}", now.digest());
    Ok(())
}

/// Objects that the application's owner applies: a namespace with zstart's label, and a Deployment.
pub(super) fn objects(image: &Reference) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": [
        {
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {keys::REWRITE: keys::ENABLED}},
        },
        {
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "forecast", "namespace": NAMESPACE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "forecast"}},
                "template": {"metadata": {"labels": {"app": "forecast"}}, "spec": pod_spec(image)},
            },
        },
    ]})
}

/// Specification of the application's pods.
pub(super) fn pod_spec(image: &Reference) -> Value {
    json!({
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "forecast", "image": image}],
    })
}

/// Result of a conversion whose record is Ready.
pub(crate) struct Ready {
    /// The serving variant.
    pub(crate) variant: Variant,
    /// Digest of the variant.
    pub(crate) digest: Digest,
}

impl Ready {
    /// Waits until the record of `source` is Ready.
    pub(crate) async fn wait(client: Client, source: &Reference) -> Result<Self> {
        let records: Api<ImageConversion> = Api::all(client);
        let name = record_name(source);
        let record = wait::until(format!("record {name} to be Ready"), CONVERTED_WITHIN, || async {
            let record = records.get(&name).await?;
            let ready = record.status.as_ref().and_then(|status| condition(status, READY));
            let is_ready = ready.is_some_and(|ready| ready.status == "True");
            Ok(is_ready.then_some(record))
        })
        .await?;
        let variant = record.status.and_then(|status| status.variant).context("the record has no variant")?;
        let digest = variant.reference.digest().cloned().context("the variant has no digest")?;
        Ok(Self { variant, digest })
    }

    /// Compressed bytes before and after the conversion.
    pub(super) fn sizes(&self) -> (u64, u64) {
        let sum = |bytes: fn(&PlatformVariant) -> i64| {
            self.variant.platforms.iter().map(bytes).sum::<i64>().unsigned_abs()
        };
        (sum(|platform| platform.source_bytes), sum(|platform| platform.variant_bytes))
    }

    /// Duration of the conversion.
    pub(super) fn duration(&self) -> Duration {
        Duration::from_millis(self.variant.duration_milliseconds.unsigned_abs())
    }
}
