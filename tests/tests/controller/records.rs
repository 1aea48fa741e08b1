//! Waits for the state of a record and reads the events about it.

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::Resource;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use zstart_core::record::{ImageConversionStatus, READY, RecordReason, condition, record_name};
use zstart_core::{Digest, Reference, VariantNames, keys};
use zstart_tests::registry::repository_reader::RepositoryReader;
use zstart_tests::{sweep, wait};

use crate::lab::{Lab, WITHIN};

/// An event: type, reason and text.
#[derive(Debug)]
pub(crate) struct ReportedEvent {
    pub(crate) type_: String,
    pub(crate) reason: String,
    pub(crate) note: String,
}

/// Name of an image's record.
pub(crate) fn record_name_of(image: &str) -> Result<String> {
    Ok(record_name(&image.parse::<Reference>()?))
}

/// Status, reason and message of a condition.
pub(crate) fn condition_of<'a>(
    status: &'a ImageConversionStatus,
    type_: &str,
) -> (&'a str, &'a str, &'a str) {
    condition(status, type_).map_or(("", "", ""), |condition| {
        (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
    })
}

/// Names of the variants of `image` at `digest`.
pub(crate) fn names_of(image: &str, digest: &Digest) -> Result<VariantNames> {
    Ok(VariantNames::of(&image.parse::<Reference>()?, digest))
}

/// Tag of the variant that a status records.
pub(crate) fn recorded_tag(status: &ImageConversionStatus) -> Result<String> {
    let variant = status.variant.as_ref().context("no variant")?;
    Ok(variant.reference.tag().context("no tag")?.to_string())
}

/// Tag of a repository in the form of a variant's of `image` at `digest`, if there is exactly one.
pub(crate) async fn variant_tag(stored: &RepositoryReader, image: &str, digest: &Digest) -> Result<String> {
    let names = names_of(image, digest)?;
    let tags = stored.tags().await?;
    let mut own = tags.iter().filter(|tag| tag.parse().is_ok_and(|tag| names.contains(&tag)));
    let (tag, None) = (own.next().context("no variant")?, own.next()) else { bail!("several: {tags:?}") };
    Ok(tag.clone())
}

/// Returns whether a request completes the upload of a blob.
pub(crate) fn is_upload(call: &str) -> bool {
    call.starts_with("PUT ") && call.contains("/blobs/uploads/")
}

impl Lab {
    /// Asks for a look at an image now.
    pub(crate) async fn retry(&self, image: &str) -> Result<()> {
        let retry = json!({"metadata": {"annotations": {keys::RETRY: Timestamp::now().to_string()}}});
        let (name, parameters) = (record_name_of(image)?, PatchParams::default());
        self.records().patch(&name, &parameters, &Patch::Merge(retry)).await?;
        Ok(())
    }

    /// Waits until the status of an image's record matches.
    pub(crate) async fn wait_for(
        &self,
        image: &str,
        what: &str,
        holds: impl Fn(&ImageConversionStatus) -> bool,
    ) -> Result<ImageConversionStatus> {
        self.wait_for_record(&record_name_of(image)?, &format!("{image} to be {what}"), holds).await
    }

    async fn wait_for_record(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&ImageConversionStatus) -> bool,
    ) -> Result<ImageConversionStatus> {
        let holds = &holds;
        wait::until(format!("the record of {what}"), WITHIN, || async move {
            let found = self.records().get_opt(name).await?;
            let Some(mut record) = found else { bail!("the record doesn't exist") };
            sweep::refresh(&self.admin, &mut record).await?;
            let status = record.status.unwrap_or_default();
            if holds(&status) {
                return Ok(Some(status));
            }
            let conditions = status.conditions.iter().map(|condition| {
                format!(
                    "{}={} ({}): {}",
                    condition.type_, condition.status, condition.reason, condition.message
                )
            });
            bail!("the record's conditions: {}", conditions.collect::<Vec<_>>().join("; "))
        })
        .await
    }

    /// Waits for the look that an object of the controller's first list asks for, two seconds after its creation.
    pub(crate) async fn settled_after_list<K>(&self, object: &K, image: &str) -> Result<()>
    where
        K: Resource<DynamicType = ()>,
    {
        let created = object.meta().creation_timestamp.as_ref().context("no time")?.0.as_second();
        self.wait_for(image, "settled", |status| {
            status.source.as_ref().is_some_and(|source| source.checked_at.0.as_second() > created + 1)
        })
        .await?;
        Ok(())
    }

    /// Waits until a verified variant serves.
    pub(crate) async fn ready(&self, image: &str) -> Result<ImageConversionStatus> {
        let verified = ("True", RecordReason::Verified.as_str());
        self.wait_for(image, "ready", |status| {
            let (met, reason, _) = condition_of(status, READY);
            (met, reason) == verified && status.variant.is_some()
        })
        .await
    }

    /// Waits until the record reports this reason for serving no variant. Returns the message.
    pub(crate) async fn not_ready(&self, image: &str, expected: RecordReason) -> Result<String> {
        self.record_not_ready(&record_name_of(image)?, expected).await
    }

    /// Waits like [`not_ready`](Self::not_ready), for a record with any name.
    pub(crate) async fn record_not_ready(&self, record: &str, expected: RecordReason) -> Result<String> {
        let what = format!("{record} to be {expected}");
        let status = self.wait_for_record(record, &what, |status| {
            let (met, reason, _) = condition_of(status, READY);
            (met, reason) == ("False", expected.as_str())
        });
        let status = status.await?;
        assert_eq!(status.variant, None, "a record that isn't Ready has no variant");
        Ok(condition_of(&status, READY).2.to_owned())
    }

    /// The controller's events about an object. The API server writes some too, about the address of a Service.
    pub(crate) async fn events(&self, namespace: &str, kind: &str, name: &str) -> Result<Vec<ReportedEvent>> {
        let events = self.namespaced::<Event>(namespace).list(&ListParams::default()).await?;
        let mut told = Vec::new();
        for event in events {
            if event.reporting_controller.as_deref() != Some(keys::CONTROLLER) {
                continue;
            }
            let regarding = event.regarding.context("an event about nothing")?;
            if (regarding.kind.as_deref(), regarding.name.as_deref()) != (Some(kind), Some(name)) {
                continue;
            }
            told.push(ReportedEvent {
                type_: event.type_.unwrap_or_default(),
                reason: event.reason.unwrap_or_default(),
                note: event.note.unwrap_or_default(),
            });
        }
        Ok(told)
    }

    /// Message of a warning with this reason on a Deployment in the namespace `on`.
    pub(crate) async fn warning(&self, deployment: &str, reason: RecordReason) -> Result<String> {
        wait::until(format!("a {reason} event on {deployment}"), WITHIN, || async {
            let told = self.events("on", "Deployment", deployment).await?;
            let warning =
                told.into_iter().find(|told| told.type_ == "Warning" && told.reason == reason.as_str());
            Ok(warning.map(|told| told.note))
        })
        .await
    }
}
