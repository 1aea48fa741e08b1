//! Looks at a source, as record and freshness sweep tell them together.

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Client, ResourceExt as _};
use zstart_core::sweep::{ConfirmationKey, SWEEP, SweepView};
use zstart_core::{FreshnessSweep, ImageConversion};

/// The sweep; an empty one before the controller's first.
pub async fn sweep(client: &Client) -> Result<SweepView> {
    let found = Api::<FreshnessSweep>::all(client.clone()).get_opt(SWEEP).await?;
    Ok(found.map(SweepView::try_from).transpose()?.unwrap_or_default())
}

/// Sets the time of the last look in a record's status to the sweep's, if that is later.
pub async fn refresh(client: &Client, record: &mut ImageConversion) -> Result<()> {
    let name = record.name_any();
    let Some(source) = record.status.as_mut().and_then(|status| status.source.as_mut()) else {
        return Ok(());
    };
    let swept = sweep(client).await?.confirmations.get(ConfirmationKey::new(&name, &source.digest));
    if let Some(swept) = swept.filter(|swept| *swept > source.checked_at.0) {
        source.checked_at = Time(swept);
    }
    Ok(())
}
