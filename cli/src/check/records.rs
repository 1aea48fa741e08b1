//! Conversion records and owners on hold.

use std::collections::BTreeMap;

use kube::core::DeserializeGuard;
use kube::{Api, Client};
use zstart_core::owner_hold::OwnerHold;
use zstart_core::record::{HEALTHY, ImageConversion, READY, condition};
use zstart_core::units::count;

use super::name::CheckName;
use super::outcome::{Check, Unread, names};
use crate::cluster::{is_missing, list_all};

/// Reasons that ask for no action.
const ORDINARY: [&str; 4] = ["Pending", "Converting", "AlreadyZstd", "NotConvertible"];

/// Counts the records by their reasons, and lists the holds.
pub(super) async fn checks(client: &Client) -> Vec<Check> {
    let mut checks = Vec::new();
    let records = Api::<DeserializeGuard<ImageConversion>>::all(client.clone());
    match list_all(async |page| records.list(page).await).await {
        Ok(found) => checks.push(by_reason(&found)),
        // Another check reports the missing definition.
        Err(error) if is_missing(&error) => {}
        Err(error) => {
            checks.push(Check::unread(CheckName::Records, &Unread::new("list conversion records")(error)));
        }
    }
    let holds = Api::<OwnerHold>::all(client.clone());
    match list_all(async |page| holds.list(page).await).await {
        Ok(found) => checks.push(on_hold(&found)),
        Err(error) if is_missing(&error) => {}
        Err(error) => checks.push(Check::unread(CheckName::Holds, &Unread::new("list owner holds")(error))),
    }
    checks
}

fn by_reason(records: &[DeserializeGuard<ImageConversion>]) -> Check {
    const NAME: CheckName = CheckName::Records;
    let mut ready = 0;
    // Each reason with its number of records and one name.
    let mut unready: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for DeserializeGuard(record) in records {
        let (reason, name) = match record {
            Ok(record) => {
                let status = record.status.as_ref().and_then(|status| condition(status, READY));
                let health = record.status.as_ref().and_then(|status| condition(status, HEALTHY));
                let unhealthy = health.filter(|health| health.status == "False");
                if unhealthy.is_none() && status.is_some_and(|status| status.status == "True") {
                    ready += 1;
                    continue;
                }
                let reason = unhealthy.or(status).map_or("Pending", |status| status.reason.as_str());
                (reason, record.metadata.name.as_deref().unwrap_or_default())
            }
            Err(invalid) => ("unreadable", invalid.metadata.name.as_deref().unwrap_or_default()),
        };
        unready.entry(reason).or_insert((0, name)).0 += 1;
    }
    let counts: Vec<String> =
        unready.iter().map(|(reason, (number, _))| format!("{number} {reason}")).collect();
    let mut text = format!("{} Ready", count(ready, "record"));
    if !counts.is_empty() {
        text = format!("{text}, {}", counts.join(", "));
    }
    match unready.iter().find(|(reason, _)| !ORDINARY.contains(reason)) {
        None => Check::passed(NAME, text),
        Some((reason, (_, name))) => Check::warning(
            NAME,
            text,
            format!(
                "docs/troubleshooting.md explains {reason}; the message: kubectl describe imgconv {name}"
            ),
        ),
    }
}

fn on_hold(holds: &[OwnerHold]) -> Check {
    const NAME: CheckName = CheckName::Holds;
    if holds.is_empty() {
        return Check::passed(NAME, "no owner is on hold");
    }
    let hold = |hold: &OwnerHold| {
        let namespace = hold.metadata.namespace.as_deref().unwrap_or_default();
        format!("{} {namespace}/{} ({})", hold.spec.owner.kind, hold.spec.owner.name, hold.spec.reason)
    };
    let holds: Vec<String> = holds.iter().map(hold).collect();
    Check::warning(
        NAME,
        format!(
            "zstart leaves the pods of {} on hold: {}",
            count(holds.len(), "owner"),
            names(holds.iter().map(String::as_str))
        ),
        "an owner undid a rewrite again and again: opt it out; or a node couldn't unpack a zstd layer: upgrade it; \
         kubectl delete ownerhold lifts a hold, and kubectl get ownerholds -A has the messages",
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
    use serde_json::json;
    use zstart_core::owner_hold::{HoldReason, Owner, OwnerHoldSpec};

    use super::super::outcome::Outcome;
    use super::*;

    fn record(name: &str, reason: &str) -> DeserializeGuard<ImageConversion> {
        let status = if reason == "Verified" { "True" } else { "False" };
        let ready = json!({"type": READY, "status": status, "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-23T12:00:00Z"});
        DeserializeGuard(Ok(serde_json::from_value(json!({
            "apiVersion": "zstart.dev/v1alpha1", "kind": "ImageConversion", "metadata": {"name": name},
            "spec": {"source": "r.example/app:v1"}, "status": {"conditions": [ready]},
        }))
        .unwrap()))
    }

    #[test]
    fn records_are_counted_by_reason() {
        let fine = by_reason(&[record("a", "Verified"), record("b", "AlreadyZstd")]);
        assert_eq!((fine.outcome, fine.text.as_str()), (Outcome::Passed, "1 record Ready, 1 AlreadyZstd"));
        let DeserializeGuard(mut unhealthy) = record("a", "Verified");
        let status = unhealthy.as_mut().unwrap().status.as_mut().unwrap();
        let health = Condition { type_: HEALTHY.to_owned(), ..status.conditions[0].clone() };
        let health = Condition { status: "False".to_owned(), reason: "PullFailed".to_owned(), ..health };
        status.conditions.push(health);
        assert_eq!(by_reason(&[DeserializeGuard(unhealthy)]).text, "0 records Ready, 1 PullFailed");
        let denied =
            by_reason(&[record("a", "PushDenied"), record("b", "PushDenied"), record("c", "Verified")]);
        assert_eq!(denied.text, "1 record Ready, 2 PushDenied");
        assert!(
            matches!(&denied.outcome, Outcome::Warning { todo } if todo.ends_with("imgconv a")),
            "{denied:?}"
        );
    }

    #[test]
    fn owner_on_hold_is_a_warning_that_names_it() {
        let owner = Owner {
            api_version: "apps/v1".to_owned(),
            kind: "StatefulSet".to_owned(),
            name: "db".to_owned(),
            uid: String::new(),
        };
        let spec = OwnerHoldSpec {
            owner,
            template: String::new(),
            reason: HoldReason::ImagePatchedBack,
            message: String::new(),
        };
        let mut hold = OwnerHold::new("db", spec);
        hold.metadata.namespace = Some("shop".to_owned());
        let check = on_hold(&[hold]);
        assert!(matches!(check.outcome, Outcome::Warning { .. }));
        assert!(
            check.text.ends_with("1 owner on hold: StatefulSet shop/db (ImagePatchedBack)"),
            "{}",
            check.text
        );
        assert_eq!(on_hold(&[]).outcome, Outcome::Passed);
    }
}
