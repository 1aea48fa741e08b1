//! Controller and webhook: their Deployments, versions and endpoints, and the policy that guards records.

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use serde::Deserialize;
use zstart_core::chain;
use zstart_core::units::count;
use zstart_process::config_file::{self, ConfigFileError};

use super::VERSION;
use super::name::CheckName;
use super::outcome::{Check, Read, Unread};
use crate::cluster::{CONFIG_KEY, settings_text};
use crate::deployments::{self, CHART_VERSION, COMPONENT, LABELS, find};

/// Lists zstart's Deployments in a namespace.
pub(super) async fn deployments(client: &Client, namespace: &str) -> Read<Vec<Deployment>> {
    let found = deployments::list(client, namespace).await;
    found.map_err(Unread::new(format!("list Deployments in namespace {namespace}")))
}

/// Checks both Deployments.
pub(super) fn checks(deployments: &Read<Vec<Deployment>>, namespace: &str) -> Vec<Check> {
    let deployments = match deployments {
        Ok(deployments) => deployments,
        Err(unread) => return vec![Check::unread(CheckName::Controller, unread)],
    };
    let mut checks = Vec::new();
    for (name, component) in [(CheckName::Controller, "controller"), (CheckName::Webhook, "webhook")] {
        let found = find(deployments, component);
        checks.push(available(name, component, found, namespace));
        checks.extend(found.map(|deployment| version(component, deployment)));
    }
    checks
}

/// Returns the name of a component's Deployment.
pub(super) fn name(deployments: &[Deployment], component: &str) -> Option<String> {
    find(deployments, component).map(kube::ResourceExt::name_any)
}

/// Returns the service account of a component's pods.
pub(super) fn service_account<'a>(deployments: &'a [Deployment], component: &str) -> Option<&'a str> {
    let pod = find(deployments, component)?.spec.as_ref()?.template.spec.as_ref()?;
    pod.service_account_name.as_deref()
}

/// Settings of the controller that decide about its rights.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ControllerSettings {
    executor: String,
}

/// Returns whether the controller converts in Jobs, by the settings in its `ConfigMap`. Otherwise, the check `name`
/// says why they can't be read.
pub(super) async fn makes_jobs(client: &Client, namespace: &str, name: CheckName) -> Result<bool, Check> {
    let text = settings_text(client, namespace, "controller").await;
    let text = text.map_err(Unread::new(format!("list ConfigMaps in namespace {namespace}")));
    let text = text.map_err(|unread| Check::unread(name, &unread))?;
    is_jobs(&text.unwrap_or_default()).map_err(|error| {
        Check::failed(
            name,
            format!("the controller's settings can't be read: {}", chain(&error)),
            "helm upgrade writes them again",
        )
    })
}

fn is_jobs(settings: &str) -> Result<bool, ConfigFileError> {
    let settings: ControllerSettings = config_file::parse(CONFIG_KEY.as_ref(), settings)?;
    Ok(settings.executor == "jobs")
}

fn available(check: CheckName, component: &str, deployment: Option<&Deployment>, namespace: &str) -> Check {
    let Some(deployment) = deployment else {
        return Check::failed(
            check,
            format!("no Deployment of the {component} exists in namespace {namespace}"),
            "helm upgrade --install installs it; name another namespace of zstart with -n",
        );
    };
    let name = deployment.name_any();
    let (available, wanted) = deployments::replicas(deployment);
    if wanted == 0 {
        return Check::failed(
            check,
            format!("the Deployment of the {component} is scaled to 0 replicas ({namespace}/{name})"),
            format!("kubectl -n {namespace} scale deployment/{name} --replicas=1, or helm upgrade"),
        );
    }
    let text = format!("the {component} has {available} of {wanted} replicas available ({namespace}/{name})");
    let todo = format!(
        "see the pods' events and logs: kubectl -n {namespace} describe pods -l {COMPONENT}={component}; kubectl -n \
         {namespace} logs deployment/{name}"
    );
    if available < 1 {
        Check::failed(check, text, todo)
    } else if available < wanted {
        Check::warning(check, text, todo)
    } else {
        Check::passed(check, text)
    }
}

fn version(component: &str, deployment: &Deployment) -> Check {
    const NAME: CheckName = CheckName::Version;
    match deployment.labels().get(CHART_VERSION) {
        Some(version) if version == VERSION => {
            Check::passed(NAME, format!("the {component} has this program's version, {VERSION}"))
        }
        version => Check::warning(
            NAME,
            format!(
                "the {component} has version {}, and this program {VERSION}",
                version.map_or("unknown", String::as_str)
            ),
            "use the zstart program of the installed version, or upgrade the chart: explain and check may be wrong",
        ),
    }
}

/// Checks that the webhook's Service has addresses.
pub(super) async fn endpoints(client: &Client, namespace: &str, service: &str) -> Check {
    const NAME: CheckName = CheckName::Endpoints;
    let api = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let parameters = ListParams::default().labels(&format!("kubernetes.io/service-name={service}"));
    match api.list(&parameters).await {
        Ok(slices) => ready_endpoints(&slices.items, namespace, service),
        Err(error) => {
            Check::unread(NAME, &Unread::new(format!("list EndpointSlices in namespace {namespace}"))(error))
        }
    }
}

fn ready_endpoints(slices: &[EndpointSlice], namespace: &str, service: &str) -> Check {
    const NAME: CheckName = CheckName::Endpoints;
    let is_ready = |ready: Option<bool>| ready != Some(false);
    let ready = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten())
        .filter(|endpoint| is_ready(endpoint.conditions.as_ref().and_then(|conditions| conditions.ready)))
        .map(|endpoint| endpoint.addresses.len())
        .sum();
    if ready == 0 {
        return Check::failed(
            NAME,
            format!(
                "the Service {namespace}/{service} has no ready endpoint: pods start from their original images"
            ),
            "a webhook's pod is ready once it has its certificate and has read the cluster: see its /readyz and its log",
        );
    }
    Check::passed(NAME, format!("the Service {namespace}/{service} has {}", count(ready, "ready endpoint")))
}

/// Checks that the policy that guards the records is bound.
pub(super) async fn record_policy(client: &Client) -> Check {
    const NAME: CheckName = CheckName::RecordPolicy;
    let api = Api::<ValidatingAdmissionPolicyBinding>::all(client.clone());
    match api.list(&ListParams::default().labels(LABELS)).await {
        Ok(bindings) if bindings.items.is_empty() => Check::failed(
            NAME,
            "no admission policy guards the conversion records: a forged record points pods at any image",
            "helm upgrade creates the policy and its binding",
        ),
        Ok(_) => Check::passed(NAME, "an admission policy guards the conversion records"),
        Err(error) => Check::unread(NAME, &Unread::new("list the bindings of admission policies")(error)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn executor_is_read_from_the_settings() {
        for (text, expected) in [
            ("executor: jobs\njobs: {maxJobs: 7}", true),
            ("executor: pool\nworkers: 2", false),
            ("level: 3", false),
            ("", false),
        ] {
            assert_eq!(is_jobs(text).unwrap(), expected, "{text}");
        }
        assert!(is_jobs("[").is_err());
    }

    fn deployment(component: &str, version: &str, available: u32) -> Deployment {
        let labels = json!({COMPONENT: component, CHART_VERSION: version});
        serde_json::from_value(json!({
            "metadata": {"name": format!("zstart-{component}"), "labels": labels},
            "spec": {"replicas": 2, "selector": {}, "template": {}},
            "status": {"availableReplicas": available},
        }))
        .unwrap()
    }

    #[test]
    fn deployments_are_available_in_part_or_missing() {
        let found = Ok(vec![deployment("webhook", VERSION, 2)]);
        let of_both = checks(&found, "zstart-system");
        assert!(matches!(of_both[0].outcome, Outcome::Failed { .. }), "{}", of_both[0].text);
        assert_eq!(
            of_both[1].text,
            "the webhook has 2 of 2 replicas available (zstart-system/zstart-webhook)"
        );
        assert_eq!(of_both[2].outcome, Outcome::Passed);
        for (number, is_failed) in [(0, true), (1, false)] {
            let deployment = deployment("webhook", VERSION, number);
            let outcome =
                available(CheckName::Webhook, "webhook", Some(&deployment), "zstart-system").outcome;
            assert_eq!(matches!(outcome, Outcome::Failed { .. }), is_failed, "{outcome:?}");
            assert_ne!(outcome, Outcome::Passed);
        }
    }

    #[test]
    fn deployment_scaled_to_zero_names_the_command() {
        let mut deployment = deployment("webhook", VERSION, 0);
        deployment.spec.as_mut().unwrap().replicas = Some(0);
        let check = available(CheckName::Webhook, "webhook", Some(&deployment), "zstart-system");
        assert!(check.text.contains("scaled to 0 replicas"), "{}", check.text);
        let Outcome::Failed { todo } = check.outcome else { panic!("{:?}", check.outcome) };
        assert!(todo.starts_with("kubectl -n zstart-system scale deployment/zstart-webhook"), "{todo}");
    }

    #[test]
    fn other_version_is_a_warning() {
        let check = version("webhook", &deployment("webhook", "9.9.9", 2));
        assert!(matches!(check.outcome, Outcome::Warning { .. }) && check.text.contains("9.9.9"));
    }

    #[test]
    fn only_ready_endpoints_count() {
        let slice = |ready: &Value| -> EndpointSlice {
            let endpoint = json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}});
            serde_json::from_value(json!({"addressType": "IPv4", "metadata": {}, "endpoints": [endpoint]}))
                .unwrap()
        };
        let check = |slices: &[EndpointSlice]| ready_endpoints(slices, "zstart-system", "zstart-webhook");
        assert_eq!(check(&[slice(&json!(true)), slice(&Value::Null)]).outcome, Outcome::Passed);
        for slices in [vec![], vec![slice(&json!(false))]] {
            assert!(matches!(check(&slices).outcome, Outcome::Failed { .. }));
        }
    }
}
