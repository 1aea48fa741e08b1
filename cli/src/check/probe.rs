//! Dry-run pod, by which the API server shows that it reaches the webhook.
//!
//! The webhook fails open, so an unreachable one is silent. The webhook answers a dry-run pod with the annotation
//! [`keys::PROBE`] by a warning, and the API server passes warnings to its client in the header `Warning`. The
//! header proves the whole way: selectors, Service, network, certificate and program. Counters of the webhook would
//! need the right to reach its pods, and other pods change them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::Client;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use serde_json::{Value, json};
use zstart_core::{chain, keys};

use super::VERSION;
use super::outcome::{Check, Outcome};

const NAME: &str = "dry-run-pod";
/// Namespaces that are tried.
const NAMESPACES_MAX: usize = 5;

/// Answer of the API server to the dry-run pod.
struct Answer {
    status: u16,
    warnings: Vec<String>,
    body: Value,
}

/// Creates the dry-run pod in a namespace that the webhook reviews. A namespace that refuses the pod, e.g. by its
/// quota, says nothing about the webhook, so the next one is tried.
pub(super) async fn checks(client: &Client, reviewed: &[&ObjectMeta]) -> Vec<Check> {
    let mut checks = vec![Check::skipped(
        NAME,
        "no namespace is opted in, so the API server can't be asked to call the webhook",
    )];
    for namespace in reviewed.iter().filter_map(|namespace| namespace.name.as_deref()).take(NAMESPACES_MAX) {
        checks = match create(client, namespace).await {
            Ok(answer) => answer.checks(namespace),
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

/// A pod that satisfies the "restricted" Pod Security Standard, and that is never stored.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"generateName": "zstart-check-", "annotations": {keys::PROBE: "true"}},
        "spec": {
            "automountServiceAccountToken": false,
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "probe", "image": "zstart.invalid/probe:v1", "imagePullPolicy": "IfNotPresent",
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    })
}

async fn create(client: &Client, namespace: &str) -> Result<Answer, kube::Error> {
    let parameters = PostParams { dry_run: true, field_manager: Some("zstart-check".to_owned()) };
    let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods"));
    let request =
        request.create(&parameters, pod().to_string().into_bytes()).map_err(kube::Error::BuildRequest)?;
    // A typed call drops the header, and the header matters also if a later rule refuses the pod.
    let response = client.send(request.map(Body::from)).await?;
    let warnings = response.headers().get_all("warning").iter();
    let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    let status = response.status().as_u16();
    let body = response.into_body().collect_bytes().await?;
    Ok(Answer { status, warnings, body: serde_json::from_slice(&body).unwrap_or_default() })
}

impl Answer {
    fn checks(&self, namespace: &str) -> Vec<Check> {
        let mut checks = vec![self.reached(namespace)];
        checks.extend(self.pull_policy());
        checks
    }

    /// Version in the webhook's warning, e.g. in `299 - "reviewed by zstart-webhook 0.1.0"`.
    fn reviewer(&self) -> Option<&str> {
        self.warnings.iter().find_map(|warning| {
            let (_, rest) = warning.split_once(keys::PROBE_REPLY)?;
            rest.split(['"', ' ', ',']).next()
        })
    }

    fn reached(&self, namespace: &str) -> Check {
        match self.reviewer() {
            Some(VERSION) => Check::passed(
                NAME,
                format!(
                    "the API server reaches the webhook: it reviewed a dry-run pod in namespace {namespace}"
                ),
            ),
            Some(version) => Check::warning(
                NAME,
                format!(
                    "the API server reaches a webhook of version {version}, and this program is {VERSION}"
                ),
                "wait until the rollout ends, or use the zstart program of the installed version",
            ),
            None if self.status < 300 => Check::failed(
                NAME,
                format!(
                    "the API server admitted a dry-run pod in namespace {namespace} without the webhook's answer: pods \
                     start from their original images"
                ),
                "mend other failed checks first. The API server's log has the cause (\"failed calling webhook \
                 pods.zstart.dev\"); a timeout means that a firewall or network policy closes the webhook's port",
            ),
            None => {
                let status: Status = serde_json::from_value(self.body.clone()).unwrap_or_default();
                let message = status.message.unwrap_or_else(|| format!("status {}", self.status));
                Check::skipped(
                    NAME,
                    format!(
                        "the API server refused a dry-run pod in namespace {namespace} without the webhook's answer: {message}"
                    ),
                )
            }
        }
    }

    /// The probe asks for `IfNotPresent`, so another answer names a plugin of the API server.
    fn pull_policy(&self) -> Option<Check> {
        let policy = self.body.pointer("/spec/containers/0/imagePullPolicy")?.as_str()?;
        (policy == "Always").then(|| {
            Check::passed(
                "always-pull-images",
                "every pod pulls its images always (e.g. by the plugin AlwaysPullImages): the chart's value \
                 webhook.maxStalenessAlways bounds the age of movable tags",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, warnings: &[String], body: Value) -> Answer {
        Answer { status, warnings: warnings.to_vec(), body }
    }

    fn warning(version: &str) -> Vec<String> {
        vec!["299 - \"other\"".to_owned(), format!("299 - \"{}{version}\"", keys::PROBE_REPLY)]
    }

    #[test]
    fn warning_of_the_webhook_proves_the_call() {
        let outcome = |status, warnings: &[String]| answer(status, warnings, json!({})).reached("on").outcome;
        assert_eq!(outcome(201, &warning(VERSION)), Outcome::Passed);
        assert_eq!(outcome(403, &warning(VERSION)), Outcome::Passed, "refused by a later rule");
        assert!(matches!(outcome(201, &warning("9.9.9")), Outcome::Warning { .. }));
        assert!(matches!(outcome(201, &[]), Outcome::Failed { .. }));
    }

    #[test]
    fn refused_pod_is_skipped_with_the_refusal() {
        let body = json!({"kind": "Status", "message": "pods is forbidden: User \"a\" cannot create"});
        let check = answer(403, &[], body).reached("on");
        assert_eq!(check.outcome, Outcome::Skipped);
        assert!(check.text.ends_with("User \"a\" cannot create"), "{}", check.text);
    }

    #[test]
    fn forced_pull_policy_is_reported() {
        let pod = |policy| json!({"spec": {"containers": [{"imagePullPolicy": policy}]}});
        assert!(answer(201, &[], pod("IfNotPresent")).pull_policy().is_none());
        assert_eq!(answer(201, &[], pod("Always")).pull_policy().unwrap().name, "always-pull-images");
    }
}
