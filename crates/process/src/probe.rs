//! Dry-run pod, by which the API server shows that it reaches the webhook.
//!
//! The webhook fails open, so an unreachable one is silent. The webhook answers a dry-run pod with the annotation
//! [`keys::PROBE`] by a warning, and the API server passes warnings to its client in the header `Warning`. The
//! header proves the whole way: selectors, Service, network, certificate and program. Counters of the webhook would
//! need the right to reach its pods, and other pods change them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use kube::api::PostParams;
use kube::client::Body;
use kube::core::Request;
use serde_json::{Value, json};
use zstart_core::keys;

/// Image of a pod that only shows that the webhook answers. The name can't exist (RFC 2606, section 2).
pub const NO_IMAGE: &str = "zstart.invalid/probe:v1";

/// Name of the probe's container. A webhook may add others.
const CONTAINER: &str = "probe";

/// Dry-run pod with one container.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Namespace of the pod.
    pub namespace: &'a str,
    /// Image of the container.
    pub image: &'a str,
    /// Name of the program in the API server's records, e.g. `zstart-check`.
    pub manager: &'a str,
}

/// Answer of the API server to a dry-run pod.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Values of the header `Warning`.
    pub warnings: Vec<String>,
    /// The pod as it was admitted, or a `Status` that says why not.
    pub body: Value,
}

/// The webhook's warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Review<'a> {
    /// Version of the webhook.
    pub version: &'a str,
    /// Reason of the decision about the image; `None` from a webhook that doesn't tell.
    pub reason: Option<&'a str>,
}

impl Probe<'_> {
    /// Asks the API server to create the pod. The pod is never stored.
    pub async fn create(&self, client: &Client) -> Result<Answer, kube::Error> {
        let parameters = PostParams { dry_run: true, field_manager: Some(self.manager.to_owned()) };
        let request = Request::new(format!("/api/v1/namespaces/{}/pods", self.namespace));
        let pod = self.pod().to_string().into_bytes();
        let request = request.create(&parameters, pod).map_err(kube::Error::BuildRequest)?;
        // A typed call drops the header, and the header matters also if a later rule refuses the pod.
        let response = client.send(request.map(Body::from)).await?;
        let warnings = response.headers().get_all("warning").iter();
        let warnings = warnings.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let status = response.status().as_u16();
        let body = response.into_body().collect_bytes().await?;
        Ok(Answer { status, warnings, body: serde_json::from_slice(&body).unwrap_or_default() })
    }

    /// A pod that satisfies the "restricted" Pod Security Standard.
    fn pod(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"generateName": format!("{}-", self.manager), "annotations": {keys::PROBE: "true"}},
            "spec": {
                "automountServiceAccountToken": false,
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": CONTAINER, "image": self.image, "imagePullPolicy": "IfNotPresent",
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
}

impl Answer {
    /// The webhook's warning, e.g. `299 - "reviewed by zstart-webhook 0.1.0 (containers/probe NoRecord)"`.
    pub fn review(&self) -> Option<Review<'_>> {
        self.warnings.iter().find_map(|warning| {
            let (_, rest) = warning.split_once(keys::PROBE_REPLY)?;
            let mut words = rest.split(['"', ' ', ',', '(', ')']).filter(|word| !word.is_empty());
            let version = words.next()?;
            let field = format!("containers/{CONTAINER}");
            words.find(|word| *word == field);
            Some(Review { version, reason: words.next() })
        })
    }

    /// Image of the pod as it was admitted; `None` if the pod was refused.
    pub fn image(&self) -> Option<&str> {
        self.container()?["image"].as_str()
    }

    /// Pull policy of the pod as it was admitted; `None` if the pod was refused.
    pub fn pull_policy(&self) -> Option<&str> {
        self.container()?["imagePullPolicy"].as_str()
    }

    fn container(&self) -> Option<&Value> {
        let containers = self.body.pointer("/spec/containers")?.as_array()?;
        containers.iter().find(|container| container["name"] == CONTAINER)
    }

    /// Cause for which the API server refused the pod.
    pub fn refusal(&self) -> String {
        let status: Status = serde_json::from_value(self.body.clone()).unwrap_or_default();
        status.message.unwrap_or_else(|| format!("status {}", self.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(warnings: &[&str]) -> Option<(String, Option<String>)> {
        let warnings = warnings.iter().map(|warning| (*warning).to_owned()).collect();
        let answer = Answer { warnings, ..Answer::default() };
        answer.review().map(|Review { version, reason }| (version.to_owned(), reason.map(str::to_owned)))
    }

    #[test]
    fn review_is_read_from_the_webhooks_warning() {
        assert_eq!(review(&["299 - \"other\""]), None);
        let told = review(&[
            "299 - \"other\"",
            "299 - \"reviewed by zstart-webhook 0.1.0 (containers/probe TooSmall)\"",
        ]);
        assert_eq!(told, Some(("0.1.0".to_owned(), Some("TooSmall".to_owned()))));
        let with_sidecar = review(&[
            "299 - \"reviewed by zstart-webhook 0.1.0 (initContainers/mesh NoRecord, containers/probe TooSmall)\"",
        ]);
        assert_eq!(with_sidecar, told);
        let silent = review(&["299 - \"reviewed by zstart-webhook 0.1.0\""]);
        assert_eq!(silent, Some(("0.1.0".to_owned(), None)));
    }

    #[test]
    fn image_is_that_of_the_probes_container() {
        let containers = json!([{"name": "mesh", "image": "a"}, {"name": "probe", "image": "b"}]);
        let answer = Answer { body: json!({"spec": {"containers": containers}}), ..Answer::default() };
        assert_eq!(answer.image(), Some("b"));
    }

    #[test]
    fn refusal_has_the_servers_message_or_its_status() {
        let answer = |body: Value| Answer { status: 403, body, ..Answer::default() };
        assert_eq!(
            answer(json!({"kind": "Status", "message": "exceeded quota"})).refusal(),
            "exceeded quota"
        );
        assert_eq!(answer(Value::Null).refusal(), "status 403");
    }
}
