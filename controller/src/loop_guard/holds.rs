//! Creates and deletes holds.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use tracing::{info, warn};
use zstart_core::owner_hold::{OwnerHoldSpec, hold_name};
use zstart_core::{OwnerHold, chain, keys};

use super::pod::deployment_name;
use super::{Lift, NewHold, Verdict};
use crate::context::Context;
use crate::demand::{Key, Kind};

/// Attempts for one verdict. More evidence follows if the loop goes on.
const ATTEMPTS: u32 = 5;
/// Delay between attempts.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Carries out a verdict. Returns whether the API server accepted it.
pub(super) async fn carry_out(context: &Context, verdict: &Verdict) -> bool {
    for attempt in 1..=ATTEMPTS {
        let result = match verdict {
            Verdict::Hold(hold) => create(context, hold).await,
            Verdict::Lift(lift) => delete(context, lift).await,
        };
        let Err(error) = result else { return true };
        let namespace = verdict.namespace();
        warn!(namespace, error = chain(&error), attempt, "failed to write an owner hold");
        if is_final(&error) {
            return false;
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
    false
}

/// Returns whether another attempt fails too: the namespace is being deleted, the definition isn't installed, or a
/// policy refuses the hold.
fn is_final(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 404 | 422))
}

async fn create(context: &Context, new: &NewHold) -> kube::Result<()> {
    let NewHold { namespace, owner, template, reason, message, .. } = new;
    let name = hold_name(owner);
    let mut hold = OwnerHold::new(
        &name,
        OwnerHoldSpec {
            owner: owner.clone(),
            template: template.clone(),
            reason: *reason,
            message: message.clone(),
        },
    );
    // The garbage collector deletes the hold with its owner.
    hold.metadata.owner_references = (!owner.is_bare_pod()).then(|| vec![owner.owner_reference()]);
    let holds: Api<OwnerHold> = Api::namespaced(context.client.clone(), namespace);
    let parameters = PostParams { field_manager: Some(keys::CONTROLLER.to_owned()), dry_run: false };
    match holds.create(&parameters, &hold).await {
        // The hold exists, and the watch hasn't reported it yet.
        Err(kube::Error::Api(status)) if status.is_already_exists() => return Ok(()),
        result => result?,
    };
    let (kind, owner_name) = (&owner.kind, &owner.name);
    warn!(
        namespace,
        kind,
        owner = owner_name,
        reason = reason.as_str(),
        hold = name,
        message,
        "put an owner on hold"
    );
    context.metrics.count_owner_hold(*reason);
    context.events.publish_hold(&reference(new), *reason, message).await;
    let deployment = deployment(new).and_then(|key| context.demand.read(|demand| demand.event_target(&key)));
    if let Some(deployment) = deployment {
        context.events.publish_hold(&deployment, *reason, message).await;
    }
    Ok(())
}

/// The owner, as the object of the event.
fn reference(new: &NewHold) -> ObjectReference {
    let owner = &new.owner;
    let uid = if owner.is_bare_pod() { new.pod_uid.clone() } else { Some(owner.uid.clone()) };
    ObjectReference {
        api_version: Some(owner.api_version.clone()),
        kind: Some(owner.kind.clone()),
        name: Some(owner.name.clone()),
        namespace: Some(new.namespace.clone()),
        uid,
        ..ObjectReference::default()
    }
}

/// Deployment of a held `ReplicaSet`. Users read its events.
fn deployment(new: &NewHold) -> Option<Key> {
    let hash = new.template.strip_prefix("pod-template-hash=")?;
    let name = deployment_name(&new.owner.name, hash)?.to_owned();
    Some(Key { kind: Kind::Deployment, namespace: new.namespace.clone(), name })
}

async fn delete(context: &Context, lift: &Lift) -> kube::Result<()> {
    let Lift { namespace, name, uid, template, .. } = lift;
    let holds: Api<OwnerHold> = Api::namespaced(context.client.clone(), namespace);
    let preconditions = Preconditions { uid: uid.clone(), ..Preconditions::default() };
    match holds.delete(name, &DeleteParams::default().preconditions(preconditions)).await {
        // An administrator was faster. A new hold of the same name has other evidence.
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => return Ok(()),
        result => result?,
    };
    info!(namespace, hold = name, template, "lifted a hold, because the owner's template changed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use zstart_core::owner_hold::{HoldReason, Owner};

    use super::*;

    #[test]
    fn deployment_is_the_replica_sets_name_without_the_hash() {
        let hold = |kind: &str, name: &str, template: &str| NewHold {
            namespace: "shop".to_owned(),
            owner: Owner {
                api_version: "apps/v1".to_owned(),
                kind: kind.to_owned(),
                name: name.to_owned(),
                uid: "1".to_owned(),
            },
            template: template.to_owned(),
            reason: HoldReason::RecreatedAfterRewrite,
            message: String::new(),
            pod_uid: None,
        };
        let name = |new: &NewHold| deployment(new).map(|key| key.name);
        let web = hold("ReplicaSet", "web-5d4f8c7b9", "pod-template-hash=5d4f8c7b9");
        assert_eq!(name(&web).as_deref(), Some("web"));
        // A ReplicaSet of its own, and other kinds.
        assert_eq!(name(&hold("ReplicaSet", "web", "pod-template-hash=5d4f8c7b9")), None);
        assert_eq!(name(&hold("StatefulSet", "db", "controller-revision-hash=a")), None);
    }
}
