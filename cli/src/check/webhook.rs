//! Webhook configuration: everything by which the API server finds, trusts and orders the webhook.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use kube::ResourceExt;
use zstart_core::eligibility::node::Node;

use super::issuer::Issuer;
use super::name::CheckName;
use super::outcome::{Check, names};

/// Start of the configuration by which Amazon EKS marks pods for Fargate.
const EKS_FARGATE: &str = "0500-amazon-eks-fargate";
/// Label of GKE's nodes.
const GKE_NODE: &str = "cloud.google.com/gke-nodepool";
/// Label of AKS' nodes.
const AKS_NODE: &str = "kubernetes.azure.com/cluster";
/// Annotation, or label, by which AKS leaves a configuration alone (github.com/Azure/AKS/issues/4002).
const AKS_OPT_OUT: &str = "admissions.enforcer/disabled";
/// Ports that the firewall of a private GKE cluster opens for the API server.
const GKE_PORTS: [u16; 2] = [443, 10250];

/// Checks zstart's own webhook in its configuration.
pub(super) fn checks(configuration: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> Vec<Check> {
    vec![configured(configuration, webhook), fails_open(webhook), trusts(configuration, webhook)]
}

fn configured(configuration: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> Check {
    const NAME: CheckName = CheckName::WebhookConfiguration;
    let name = configuration.name_any();
    if webhook.side_effects != "None" {
        return Check::failed(
            NAME,
            format!("sideEffects of {name} is {}: the API server refuses dry runs", webhook.side_effects),
            "helm upgrade with the chart's own template",
        );
    }
    if !reviews_pods(webhook) {
        return Check::failed(
            NAME,
            format!("no rule of {name} selects the creation of pods: the API server never calls the webhook"),
            "helm upgrade with the chart's own template",
        );
    }
    Check::passed(NAME, format!("the webhook configuration {name} selects the creation of pods"))
}

fn fails_open(webhook: &MutatingWebhook) -> Check {
    const NAME: CheckName = CheckName::FailurePolicy;
    match webhook.failure_policy.as_deref() {
        Some("Ignore") => {
            Check::passed(NAME, "the webhook fails open: without it, pods start from their original images")
        }
        _ => Check::failed(
            NAME,
            "failurePolicy of the webhook isn't Ignore: no pod starts while the webhook is away",
            "set it back to Ignore, which is the chart's only value",
        ),
    }
}

fn trusts(configuration: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> Check {
    const NAME: CheckName = CheckName::CaBundle;
    if webhook.client_config.ca_bundle.as_ref().is_none_or(|bundle| bundle.0.is_empty()) {
        return Check::failed(
            NAME,
            "caBundle of the webhook configuration is empty: the API server doesn't trust the webhook",
            Issuer::of(configuration, webhook).authority_action(),
        );
    }
    Check::passed(NAME, "the webhook configuration has a caBundle")
}

/// Returns whether a webhook is called for new pods.
pub(super) fn reviews_pods(webhook: &MutatingWebhook) -> bool {
    let lists = |list: &Option<Vec<String>>, one: &[&str]| {
        list.iter().flatten().any(|entry| one.contains(&entry.as_str()))
    };
    webhook.rules.iter().flatten().any(|rule| {
        lists(&rule.api_groups, &["", "*"])
            && lists(&rule.resources, &["pods", "*", "*/*"])
            && lists(&rule.operations, &["CREATE", "*"])
    })
}

/// Checks what some clouds need.
pub(super) fn cloud_checks(
    configuration: &MutatingWebhookConfiguration,
    all: &[MutatingWebhookConfiguration],
    nodes: &[Node],
    port: u16,
) -> Vec<Check> {
    let has = |label: &str| nodes.iter().any(|node| node.labels.contains_key(label));
    let name = configuration.name_any();
    let mut checks = Vec::new();
    if has(GKE_NODE) {
        checks.push(gke_port(port));
    }
    if has(AKS_NODE) {
        checks.push(aks_opt_out(configuration));
    }
    let is_fargate = |other: &String| other.starts_with(EKS_FARGATE);
    checks
        .extend(all.iter().map(ResourceExt::name_any).find(is_fargate).map(|other| eks_order(&name, &other)));
    checks
}

fn gke_port(port: u16) -> Check {
    const NAME: CheckName = CheckName::GkePort;
    if GKE_PORTS.contains(&port) {
        return Check::passed(NAME, format!("GKE: private clusters let the API server reach port {port}"));
    }
    Check::warning(
        NAME,
        format!(
            "GKE: the webhook's port is {port}, and private clusters let the API server reach 443 and 10250 only"
        ),
        "if the cluster is private, set the chart's value webhook.port=10250, or add a firewall rule",
    )
}

fn aks_opt_out(configuration: &MutatingWebhookConfiguration) -> Check {
    const NAME: CheckName = CheckName::AksAdmissionsEnforcer;
    let is_set = configuration.annotations().contains_key(AKS_OPT_OUT)
        || configuration.labels().contains_key(AKS_OPT_OUT);
    if is_set {
        return Check::passed(NAME, "AKS: the admissions enforcer leaves the webhook configuration alone");
    }
    Check::warning(
        NAME,
        "AKS: the admissions enforcer adds selectors to the webhook configuration, and the next helm upgrade conflicts",
        format!(
            "annotate the configuration {} with {AKS_OPT_OUT}=true, or upgrade the chart",
            configuration.name_any()
        ),
    )
}

/// The API server calls configurations in the order of their names.
fn eks_order(own: &str, fargate: &str) -> Check {
    const NAME: CheckName = CheckName::EksFargateOrder;
    if own > fargate {
        return Check::passed(
            NAME,
            format!("EKS: {fargate} marks pods for Fargate before {own} reviews them"),
        );
    }
    Check::failed(
        NAME,
        format!("EKS: {own} is called before {fargate}, and can't know the pods that run on Fargate"),
        "set the chart's value fullnameOverride to a name that starts with a letter",
    )
}

/// Parts of names of programs that are known to replace the images of pods.
const IMAGE_CHANGERS: [&str; 8] = [
    "connaisseur",
    "digester",
    "gatekeeper",
    "image-swapper",
    "imageswap",
    "kube-image-keeper",
    "kyverno",
    "policy.sigstore.dev",
];

/// Reports the other webhooks that change new pods. A webhook that runs later than zstart's, or that is called
/// again after a change, may replace the image that zstart chose.
pub(super) fn others(own: &str, all: &[MutatingWebhookConfiguration]) -> Check {
    const NAME: CheckName = CheckName::OtherWebhooks;
    let mut changers = BTreeSet::new();
    let mut rest = BTreeSet::new();
    for configuration in all.iter().filter(|configuration| configuration.name_any() != own) {
        let name = configuration.name_any();
        for webhook in configuration.webhooks.iter().flatten().filter(|webhook| reviews_pods(webhook)) {
            let is_changer =
                IMAGE_CHANGERS.iter().any(|part| name.contains(part) || webhook.name.contains(part));
            let is_later = name.as_str() > own || webhook.reinvocation_policy.as_deref() == Some("IfNeeded");
            if is_changer && is_later {
                changers.insert(name.clone())
            } else {
                rest.insert(name.clone())
            };
        }
    }
    if !changers.is_empty() {
        return Check::warning(
            NAME,
            format!(
                "webhooks that may replace images run after zstart's: {}",
                names(changers.iter().map(String::as_str))
            ),
            "compare the images of a new pod with zstart explain; exclude variants (tags *-zstd-*) there if they differ",
        );
    }
    if rest.is_empty() {
        return Check::passed(NAME, "no other webhook changes new pods");
    }
    let rest = names(rest.iter().map(String::as_str));
    Check::passed(
        NAME,
        format!("other webhooks change new pods; none is known to replace images after zstart: {rest}"),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::nodes::tests::node;
    use super::super::outcome::Outcome;
    use super::*;

    fn configuration(name: &str, change: &Value) -> MutatingWebhookConfiguration {
        let mut webhook = json!({
            "name": "pods.zstart.dev", "admissionReviewVersions": ["v1"], "clientConfig": {"caBundle": "YQ=="},
            "sideEffects": "None", "failurePolicy": "Ignore",
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            webhook[key] = value.clone();
        }
        serde_json::from_value(json!({"metadata": {"name": name}, "webhooks": [webhook]})).unwrap()
    }

    fn outcomes(change: &Value) -> Vec<Outcome> {
        let configuration = configuration("zstart", change);
        let webhook = &configuration.webhooks.as_ref().unwrap()[0];
        checks(&configuration, webhook).into_iter().map(|check| check.outcome).collect()
    }

    fn is_failed(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Failed { .. })
    }

    #[test]
    fn configuration_of_the_chart_passes() {
        assert!(outcomes(&json!({})).iter().all(|outcome| *outcome == Outcome::Passed));
    }

    #[test]
    fn changed_configuration_fails() {
        assert!(is_failed(&outcomes(&json!({"sideEffects": "Unknown"}))[0]));
        assert!(is_failed(&outcomes(&json!({"rules": []}))[0]));
        assert!(is_failed(&outcomes(&json!({"failurePolicy": "Fail"}))[1]));
        assert!(is_failed(&outcomes(&json!({"clientConfig": {}}))[2]));
    }

    #[test]
    fn clouds_are_known_by_node_labels_and_configurations() {
        let (own, fargate) = (
            configuration("zstart", &json!({})),
            configuration("0500-amazon-eks-fargate-mutation.amazonaws.com", &json!({})),
        );
        assert!(
            cloud_checks(&own, std::slice::from_ref(&own), &[node("a", "containerd://2.1.6")], 8443)
                .is_empty()
        );
        let labelled = |label: &str| {
            let mut node = node("a", "containerd://2.1.6");
            node.labels.insert(label.to_owned(), String::new());
            [node]
        };
        let check =
            |label, port| cloud_checks(&own, std::slice::from_ref(&own), &labelled(label), port).remove(0);
        assert!(matches!(check(GKE_NODE, 8443).outcome, Outcome::Warning { .. }));
        assert_eq!(check(GKE_NODE, 10250).outcome, Outcome::Passed);
        assert!(check(AKS_NODE, 8443).text.contains("admissions enforcer adds"));
        let order = |own: &MutatingWebhookConfiguration| {
            cloud_checks(own, std::slice::from_ref(&fargate), &[], 8443).remove(0).outcome
        };
        assert_eq!(order(&own), Outcome::Passed);
        assert!(is_failed(&order(&configuration("0-zstart", &json!({})))));
    }

    #[test]
    fn later_webhook_that_replaces_images_is_a_warning() {
        let own = configuration("zstart", &json!({}));
        let swapper = configuration("zz-image-swapper", &json!({"name": "swap.example"}));
        let check = others("zstart", &[own.clone(), swapper]);
        assert!(matches!(check.outcome, Outcome::Warning { .. }) && check.text.contains("zz-image-swapper"));
        let kyverno = |change| {
            others("zstart", &[own.clone(), configuration("kyverno-resource-mutating-webhook-cfg", &change)])
                .outcome
        };
        assert_eq!(kyverno(json!({})), Outcome::Passed, "called before zstart");
        assert!(matches!(kyverno(json!({"reinvocationPolicy": "IfNeeded"})), Outcome::Warning { .. }));
    }
}
