//! Work that waits, by the metrics of the controller that leads.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client, ResourceExt as _};
use serde::Serialize;
use zstart_core::chain;
use zstart_core::units::duration;

use crate::cluster::{is_forbidden, is_missing};

/// Port of health and metrics that the chart gives the controller.
const DEFAULT_PORT: i32 = 8080;
/// Name of that port.
const PORT: &str = "health";
/// Longest time in which the leader's metrics must answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Difference between the clocks of this machine and of the leader that is taken for none.
const CLOCK_DIFFERENCE: SignedDuration = SignedDuration::from_secs(10);
/// Prefix of the controller's metrics.
const PREFIX: &str = "zstart_controller_";

/// Work of the leader. Counters begin with the leader's process.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Work {
    /// Sources whose look is due.
    pub(super) looks_waiting: u64,
    /// Planned conversions without a permit.
    pub(super) conversions_waiting: u64,
    pub(super) conversions_running: u64,
    /// Requests to registries that the governor held back, by its reason.
    pub(super) held_back: BTreeMap<String, u64>,
}

/// Leader of the controllers, as far as the user may see it.
#[derive(Debug, Default)]
pub(super) struct Leader {
    /// Pod that leads.
    pub(super) pod: Option<String>,
    pub(super) work: Option<Work>,
    /// Remark about data that can't be read.
    pub(super) remark: Option<String>,
}

/// Asks the leader's metrics, through the API server.
pub(super) async fn find(client: &Client, namespace: &str, controller: &Deployment) -> Leader {
    // The chart gives Lease and Deployment one name.
    let lease = controller.name_any();
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let holder = match leases.get(&lease).await {
        Ok(lease) => lease
            .spec
            .filter(|lease| is_valid(lease, Timestamp::now()))
            .and_then(|lease| pod(&lease.holder_identity?)),
        Err(error) if is_missing(&error) => None,
        Err(error) => {
            return Leader { remark: Some(unread(&format!("Lease {lease}"), &error)), ..Leader::default() };
        }
    };
    let Some(pod) = holder else {
        let remark = Some("no controller leads: nothing is looked at or converted".to_owned());
        return Leader { remark, ..Leader::default() };
    };
    let asking = metrics(client, namespace, &pod, port(controller));
    let (work, remark) = match tokio::time::timeout(ANSWER_WITHIN, asking).await {
        Ok(Ok(text)) => (Some(Work::parse(&text)), None),
        Ok(Err(error)) => (None, Some(unread("the queue", &error))),
        Err(_) => {
            (None, Some(format!("the queue can't be read: no answer within {}", duration(ANSWER_WITHIN))))
        }
    };
    Leader { pod: Some(pod), work, remark }
}

/// Returns whether the holder has renewed the Lease in time. A leader that was killed stays in its Lease.
fn is_valid(lease: &LeaseSpec, now: Timestamp) -> bool {
    let (Some(renewed), Some(seconds)) = (&lease.renew_time, lease.lease_duration_seconds) else {
        return false;
    };
    now.duration_since(renewed.0) <= SignedDuration::from_secs(i64::from(seconds)) + CLOCK_DIFFERENCE
}

/// Returns the pod of a Lease's holder. The identity is the pod's name, `_`, and a part that each start changes.
fn pod(holder: &str) -> Option<String> {
    let name = holder.split('_').next().unwrap_or_default();
    (!name.is_empty()).then(|| name.to_owned())
}

fn unread(what: &str, error: &kube::Error) -> String {
    if is_forbidden(error) {
        format!("{what} isn't shown: it needs the right to get leases and pods/proxy in zstart's namespace")
    } else {
        let cause = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => chain(other),
        };
        format!("{what} can't be read: {cause}")
    }
}

async fn metrics(client: &Client, namespace: &str, pod: &str, port: i32) -> Result<String, kube::Error> {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics");
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

fn port(controller: &Deployment) -> i32 {
    let pod = controller.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let ports = pod
        .into_iter()
        .flat_map(|pod| &pod.containers)
        .flat_map(|container| container.ports.iter().flatten());
    let mut health = ports.filter(|port| port.name.as_deref() == Some(PORT));
    health.next().map_or(DEFAULT_PORT, |port| port.container_port)
}

impl Work {
    /// Reads the values from Prometheus' text form.
    fn parse(text: &str) -> Self {
        let mut work = Self::default();
        for line in text.lines() {
            let Some((series, value)) = line.strip_prefix(PREFIX).and_then(|line| line.rsplit_once(' '))
            else {
                continue;
            };
            let Ok(value) = value.parse::<u64>() else { continue };
            match series {
                "looks_waiting" => work.looks_waiting = value,
                "conversions_waiting" => work.conversions_waiting = value,
                "conversions_running" => work.conversions_running = value,
                _ => {
                    let reason = series.strip_prefix("requests_held_back_total{reason=\"");
                    if let Some(reason) = reason.and_then(|reason| reason.strip_suffix("\"}")) {
                        work.held_back.insert(reason.to_owned(), value);
                    }
                }
            }
        }
        work
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::*;

    #[test]
    fn work_is_read_from_the_metrics_text() {
        let text = "# HELP zstart_controller_looks_waiting Sources.\n\
            # TYPE zstart_controller_looks_waiting gauge\n\
            zstart_controller_looks_waiting 3\n\
            zstart_controller_conversions_waiting 2\n\
            zstart_controller_conversions_running 1\n\
            zstart_controller_requests_held_back_total{reason=\"pause\"} 7\n\
            zstart_controller_conversion_seconds_sum 1.5\n\
            # EOF\n";
        let expected = Work {
            looks_waiting: 3,
            conversions_waiting: 2,
            conversions_running: 1,
            held_back: BTreeMap::from([("pause".to_owned(), 7)]),
        };
        assert_eq!(Work::parse(text), expected);
        assert_eq!(Work::parse(""), Work::default());
    }

    #[test]
    fn holder_is_a_pod_with_a_suffix() {
        assert_eq!(pod("zstart-controller-7d4f-abcde_c5e1").as_deref(), Some("zstart-controller-7d4f-abcde"));
        assert_eq!(pod("zstart-controller-0").as_deref(), Some("zstart-controller-0"));
        assert_eq!(pod(""), None);
    }

    #[test]
    fn expired_lease_has_no_leader() {
        let lease = |renewed: Option<&str>| LeaseSpec {
            renew_time: renewed.map(|time| MicroTime(time.parse().unwrap())),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        };
        let now = "2026-11-28T12:00:30Z".parse().unwrap();
        assert!(is_valid(&lease(Some("2026-11-28T12:00:05Z")), now));
        assert!(!is_valid(&lease(Some("2026-11-28T12:00:04Z")), now));
        assert!(!is_valid(&lease(None), now));
    }

    #[test]
    fn metrics_port_is_the_deployments() {
        let deployment = |ports| -> Deployment {
            let containers = json!([{"name": "controller", "ports": ports}]);
            serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {},
                "template": {"spec": {"containers": containers}}}}))
            .unwrap()
        };
        assert_eq!(port(&deployment(json!([{"name": "health", "containerPort": 9090}]))), 9090);
        assert_eq!(port(&deployment(json!([]))), DEFAULT_PORT);
    }
}
