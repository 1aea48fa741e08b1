//! Blames the record of an image, or a node, for a failed pull: the webhook points no later pod there.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::events::EventType;
use kube::{Api, Resource as _, ResourceExt as _};
use serde_json::json;
use tracing::{info, warn};
use zstart_core::owner_hold::{HoldReason, Owner, OwnerHoldSpec, hold_name};
use zstart_core::pull_failure::{ImageFault, PullFailure, UnpackFault};
use zstart_core::record::{RecordReason, record_name};
use zstart_core::{ImageConversion, OwnerHold, Reference, chain, keys};

use super::decide::{Case, Original};
use super::health;
use super::node_images::NodeContent;
use super::patients::Restoration;
use super::pod::FailingPod;
use crate::context::Context;

/// Blames the record or the node for a failed pull, as far as the failure alone proves something. Returns whether
/// it is a relapse of the record.
pub(super) async fn blame(
    context: &Context,
    namespace: &str,
    pod: &FailingPod,
    case: &Case<'_>,
    node: Option<&NodeContent>,
) -> kube::Result<bool> {
    let Some(Original { reference: original, .. }) = &case.original else { return Ok(false) };
    if case.cause == PullFailure::RegistryAway {
        return Ok(false);
    }
    let Some(record) = record_of(context, original, &case.variant).await? else { return Ok(false) };
    if is_nodes_fault(case.cause, &record) {
        if let Some(node) = node {
            hold_node(context, namespace, node, pod, case).await?;
        }
        return Ok(false);
    }
    let now = Timestamp::now();
    let status = record.status.clone().unwrap_or_default();
    let is_proof = matches!(
        case.cause,
        PullFailure::Image(ImageFault::Missing | ImageFault::Damaged) | PullFailure::Node(_)
    );
    if is_proof && health::makes_unhealthy(&status, now) {
        let message = format!(
            "pod {}/{} couldn't pull {} on node {}: {}; new pods keep the original until the variant is verified",
            pod.id.namespace, pod.id.name, case.variant, pod.node, case.pull.message
        );
        set_unhealthy(context, &record, RecordReason::PullFailed, message, now).await?;
    }
    Ok(health::is_relapse(&status, pod.created, now))
}

/// Blames the record after a container that couldn't pull the variant has pulled the original.
pub(super) async fn blame_after_start(context: &Context, restoration: &Restoration) -> kube::Result<()> {
    let Restoration { id, variant, original, cause, is_relapse, is_pulled, failure, .. } = restoration;
    let reason = match cause {
        PullFailure::RegistryAway | PullFailure::Unrelated => return Ok(()),
        PullFailure::Unknown if !is_relapse => RecordReason::PullFailed,
        PullFailure::Image(ImageFault::Missing | ImageFault::Damaged) | PullFailure::Node(_)
            if !is_relapse =>
        {
            return Ok(());
        }
        PullFailure::Image(_) | PullFailure::Node(_) | PullFailure::Unknown => RecordReason::PullsKeepFailing,
    };
    // An original that the node had already proves nothing about the pod's credentials or the registry.
    if !is_pulled {
        return Ok(());
    }
    let Some(record) = record_of(context, original, variant).await? else { return Ok(()) };
    let status = record.status.clone().unwrap_or_default();
    let is_known = health::is_kept_unhealthy(&status);
    if is_known || (reason == RecordReason::PullFailed && !health::makes_unhealthy(&status, Timestamp::now()))
    {
        return Ok(());
    }
    let message = format!(
        "pod {}/{} couldn't pull {variant}, and then pulled the original: {}; new pods keep the original{}",
        id.namespace,
        id.name,
        failure.message,
        if reason == RecordReason::PullFailed { " until the variant is verified" } else { " for an hour" },
    );
    set_unhealthy(context, &record, reason, message, Timestamp::now()).await
}

/// Returns whether the node is at fault, and not the variant. A layer that zstart made itself is a tar archive: its
/// bytes were verified, and the node compared their digest. An adopted variant was not unpacked.
fn is_nodes_fault(cause: PullFailure, record: &ImageConversion) -> bool {
    match cause {
        PullFailure::Node(UnpackFault::NoDecoder) => true,
        PullFailure::Node(UnpackFault::NotTar) => {
            let variant = record.status.as_ref().and_then(|status| status.variant.as_ref());
            variant.is_some_and(|variant| variant.duration_milliseconds > 0)
        }
        _ => false,
    }
}

/// The record of an original, if this is the variant that the record offers now.
async fn record_of(
    context: &Context,
    original: &Reference,
    variant: &Reference,
) -> kube::Result<Option<ImageConversion>> {
    let records: Api<ImageConversion> = Api::all(context.client.clone());
    let record = records.get_opt(&record_name(original)).await?;
    Ok(record.filter(|record| {
        let offered = record.status.as_ref().and_then(|status| status.variant.as_ref());
        record.spec.source == original.identity()
            && offered.is_some_and(|offered| offered.reference == *variant)
    }))
}

async fn set_unhealthy(
    context: &Context,
    record: &ImageConversion,
    reason: RecordReason,
    message: String,
    now: Timestamp,
) -> kube::Result<()> {
    let source = &record.spec.source;
    warn!(%source, reason = reason.as_str(), cause = message, "a record became unhealthy");
    let status = record.status.clone().unwrap_or_default();
    write_health(context, record, health::health(&status, false, reason, message.clone(), now)).await?;
    request_verification(context, record, now).await?;
    context.events.publish(record, &[], EventType::Warning, reason, &message).await;
    Ok(())
}

/// Writes the condition `Healthy` of a record, under a field manager of its own: an apply of the whole status by the
/// reconciliation neither removes nor changes it.
async fn write_health(context: &Context, record: &ImageConversion, health: Condition) -> kube::Result<()> {
    let patch = json!({
        "apiVersion": ImageConversion::api_version(&()),
        "kind": ImageConversion::kind(&()),
        "metadata": {"name": record.name_any(), "uid": record.uid()},
        "status": {"conditions": [health]},
    });
    let parameters = PatchParams::apply(keys::HEALER).force();
    let records: Api<ImageConversion> = Api::all(context.client.clone());
    records.patch_status(&record.name_any(), &parameters, &Patch::Apply(&patch)).await?;
    Ok(())
}

/// Asks for a look at the record's source now, with a verification in full. The request is on the record, so it
/// survives a restart, and the watch of records' metadata reports it.
async fn request_verification(
    context: &Context,
    record: &ImageConversion,
    now: Timestamp,
) -> kube::Result<()> {
    let annotations = json!({ keys::RETRY: now.to_string() });
    let patch = json!({"metadata": {"uid": record.uid(), "annotations": annotations}});
    let parameters = PatchParams { field_manager: Some(keys::HEALER.to_owned()), ..PatchParams::default() };
    let records: Api<ImageConversion> = Api::all(context.client.clone());
    records.patch(&record.name_any(), &parameters, &Patch::Merge(&patch)).await?;
    Ok(())
}

/// Puts a node on hold: its runtime counts as unsupported until the node reports another one. The garbage collector
/// deletes the hold with the node.
async fn hold_node(
    context: &Context,
    namespace: &str,
    node: &NodeContent,
    pod: &FailingPod,
    case: &Case<'_>,
) -> kube::Result<()> {
    let (name, uid) = (node.metadata.name.clone().unwrap_or_default(), node.metadata.uid.clone());
    let owner = Owner::of_node(&name, &uid.unwrap_or_default());
    let runtime = node.status.node_info.container_runtime_version.clone();
    let hold = hold_name(&owner);
    let message = format!(
        "The container runtime of node {name}, {runtime}, couldn't unpack {} for pod {}/{}: {}. zstart leaves pods \
         that could run on this node on their original images until the node reports another runtime. To lift the \
         hold: kubectl delete hold --namespace {namespace} {hold}",
        case.variant, pod.id.namespace, pod.id.name, case.pull.message
    );
    let reason = HoldReason::ZstdNotUnpacked;
    let spec =
        OwnerHoldSpec { owner: owner.clone(), template: runtime.clone(), reason, message: message.clone() };
    let mut object = OwnerHold::new(&hold, spec);
    object.metadata.owner_references = Some(vec![owner.owner_reference()]);
    let holds: Api<OwnerHold> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PostParams { field_manager: Some(keys::CONTROLLER.to_owned()), dry_run: false };
    match holds.create(&parameters, &object).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            if holds.get_opt(&hold).await?.is_none_or(|known| known.spec.template == runtime) {
                return Ok(());
            }
            // The hold is about an earlier runtime of the node. A hold can't be changed.
            holds.delete(&hold, &DeleteParams::default()).await?;
            holds.create(&parameters, &object).await?;
        }
        result => drop(result?),
    }
    warn!(node = name, runtime, hold, cause = message, "put a node on hold");
    context.metrics.count_owner_hold(reason);
    let reference = ObjectReference {
        api_version: Some(owner.api_version),
        kind: Some(owner.kind),
        name: Some(owner.name),
        uid: Some(owner.uid),
        ..ObjectReference::default()
    };
    context.events.publish_hold(&reference, reason, &message).await;
    Ok(())
}

/// Reports a record whose variant is whole again.
pub(crate) async fn recover(context: &Context, record: &ImageConversion) -> kube::Result<()> {
    let status = record.status.clone().unwrap_or_default();
    let message = "the variant was verified after a pod couldn't pull it".to_owned();
    let health = health::health(&status, true, RecordReason::Verified, message, Timestamp::now());
    write_health(context, record, health).await?;
    info!(source = %record.spec.source, "a record recovered");
    Ok(())
}

/// Logs an object that couldn't be blamed. The pod is cured anyway.
pub(super) fn log_failure(pod: &FailingPod, error: &kube::Error) {
    let (namespace, name) = (&pod.id.namespace, &pod.id.name);
    warn!(namespace, pod = name, error = chain(error), "failed to note the cause of a failed pull");
}
