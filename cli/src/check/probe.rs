//! Check that the API server reaches the webhook, by a dry-run pod.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use zstart_core::chain;
use zstart_process::probe::{Answer, NO_IMAGE, Probe};

use super::VERSION;
use super::name::CheckName;
use super::outcome::{Check, Outcome};

const NAME: CheckName = CheckName::DryRunPod;
/// Namespaces that are tried.
const NAMESPACES_MAX: usize = 5;

/// Creates the dry-run pod in a namespace that the webhook reviews. A namespace that refuses the pod, e.g. by its
/// quota, says nothing about the webhook, so the next one is tried.
pub(super) async fn checks(client: &Client, reviewed: &[&ObjectMeta]) -> Vec<Check> {
    let mut checks = vec![Check::skipped(
        NAME,
        "no namespace is opted in, so the API server can't be asked to call the webhook",
    )];
    for namespace in reviewed.iter().filter_map(|namespace| namespace.name.as_deref()).take(NAMESPACES_MAX) {
        let probe = Probe { namespace, image: NO_IMAGE, manager: "zstart-check" };
        checks = match probe.create(client).await {
            Ok(answer) => [reached(&answer, namespace)].into_iter().chain(pull_policy(&answer)).collect(),
            Err(error) => vec![Check::failed(
                NAME,
                format!(
                    "the API server failed to answer a dry-run pod in namespace {namespace}: {}",
                    chain(&error)
                ),
                "run the check again; the API server's log has the cause",
            )],
        };
        if checks.iter().any(|check| check.outcome != Outcome::Skipped) {
            break;
        }
    }
    checks
}

fn reached(answer: &Answer, namespace: &str) -> Check {
    match answer.review().map(|review| review.version) {
        Some(VERSION) => Check::passed(
            NAME,
            format!("the API server reaches the webhook: it reviewed a dry-run pod in namespace {namespace}"),
        ),
        Some(version) => Check::warning(
            NAME,
            format!("the API server reaches a webhook of version {version}, and this program is {VERSION}"),
            "wait until the rollout ends, or use the zstart program of the installed version",
        ),
        None if answer.status < 300 => Check::failed(
            NAME,
            format!(
                "the API server admitted a dry-run pod in namespace {namespace} without the webhook's answer: pods \
                 start from their original images"
            ),
            "mend other failed checks first. The API server's log has the cause (\"failed calling webhook \
             pods.zstart.dev\"); a timeout means that a firewall or network policy closes the webhook's port",
        ),
        None => {
            let cause = answer.refusal();
            Check::skipped(
                NAME,
                format!(
                    "the API server refused a dry-run pod in namespace {namespace} without the webhook's answer: {cause}"
                ),
            )
        }
    }
}

/// The probe asks for `IfNotPresent`, so another answer names a plugin of the API server.
fn pull_policy(answer: &Answer) -> Option<Check> {
    (answer.pull_policy()? == "Always").then(|| {
        Check::passed(
            CheckName::AlwaysPullImages,
            "every pod pulls its images always (e.g. by the plugin AlwaysPullImages): the chart's value \
             webhook.maxStalenessAlways bounds the age of movable tags",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use zstart_core::keys;

    use super::*;

    fn answer(status: u16, warnings: &[String], body: Value) -> Answer {
        Answer { status, warnings: warnings.to_vec(), body }
    }

    fn warning(version: &str) -> Vec<String> {
        vec![
            "299 - \"other\"".to_owned(),
            format!("299 - \"{}{version} (containers/probe NoRecord)\"", keys::PROBE_REPLY),
        ]
    }

    #[test]
    fn warning_of_the_webhook_proves_the_call() {
        let outcome =
            |status, warnings: &[String]| reached(&answer(status, warnings, json!({})), "on").outcome;
        assert_eq!(outcome(201, &warning(VERSION)), Outcome::Passed);
        assert_eq!(outcome(403, &warning(VERSION)), Outcome::Passed, "refused by a later rule");
        assert!(matches!(outcome(201, &warning("9.9.9")), Outcome::Warning { .. }));
        assert!(matches!(outcome(201, &[]), Outcome::Failed { .. }));
    }

    #[test]
    fn refused_pod_is_skipped_with_the_refusal() {
        let body = json!({"kind": "Status", "message": "pods is forbidden: User \"a\" cannot create"});
        let check = reached(&answer(403, &[], body), "on");
        assert_eq!(check.outcome, Outcome::Skipped);
        assert!(check.text.ends_with("User \"a\" cannot create"), "{}", check.text);
    }

    #[test]
    fn forced_pull_policy_is_reported() {
        let pod = |policy| json!({"spec": {"containers": [{"name": "probe", "imagePullPolicy": policy}]}});
        assert!(pull_policy(&answer(201, &[], pod("IfNotPresent"))).is_none());
        assert_eq!(pull_policy(&answer(201, &[], pod("Always"))).unwrap().name, CheckName::AlwaysPullImages);
    }
}
