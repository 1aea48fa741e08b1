//! Policies that verify signatures. A variant has another digest than its source and no signature, so such a policy
//! refuses it (kyverno/kyverno#4521, ratify-project/ratify#591).

use k8s_openapi::api::admissionregistration::v1::{ValidatingWebhook, ValidatingWebhookConfiguration};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde_json::Value;
use zstart_core::Glob;

use super::name::CheckName;
use super::outcome::{Check, Read, Unread, names};
use crate::cluster::selects;

const NAME: CheckName = CheckName::SignaturePolicies;
/// Webhook of Sigstore's policy-controller, and the label by which it selects namespaces by default.
const SIGSTORE: &str = "policy.sigstore.dev";
const SIGSTORE_LABEL: &str = "policy.sigstore.dev/include";

/// Kind of policy that verifies signatures.
struct PolicyKind {
    program: &'static str,
    /// Name of the definition.
    definition: &'static str,
    /// Returns the images that a policy verifies.
    patterns: fn(&Value) -> Vec<String>,
}

const KINDS: [PolicyKind; 5] = [
    PolicyKind { program: "Kyverno", definition: "clusterpolicies.kyverno.io", patterns: verify_images },
    PolicyKind { program: "Kyverno", definition: "policies.kyverno.io", patterns: verify_images },
    PolicyKind {
        program: "Kyverno",
        definition: "imagevalidatingpolicies.policies.kyverno.io",
        patterns: |policy| globs(&policy["spec"]["matchImageReferences"]),
    },
    PolicyKind {
        program: "policy-controller",
        definition: "clusterimagepolicies.policy.sigstore.dev",
        patterns: |policy| globs(&policy["spec"]["images"]),
    },
    // Gatekeeper's constraints choose the images that Ratify verifies.
    PolicyKind {
        program: "Ratify",
        definition: "verifiers.config.ratify.deislabs.io",
        patterns: |_| vec!["*".to_owned()],
    },
];

/// Images of `verifyImages` rules.
fn verify_images(policy: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let rules = list(&policy["spec"]["rules"]).into_iter().flat_map(|rule| list(&rule["verifyImages"]));
    let references = rules.flat_map(|rule| {
        let old = rule["image"].as_str().map(str::to_owned);
        let listed = list(&rule["imageReferences"]);
        listed.into_iter().filter_map(|text| text.as_str().map(str::to_owned)).chain(old)
    });
    references.collect()
}

/// Members `glob` of a list. An entry that selects by an expression counts for all images.
fn globs(list: &Value) -> Vec<String> {
    let glob = |entry: &Value| entry["glob"].as_str().unwrap_or("*").to_owned();
    list.as_array().into_iter().flatten().map(glob).collect()
}

/// Checks that the settings leave the images alone whose signatures are verified.
pub(super) async fn checks(client: &Client, opted_in: &[&ObjectMeta], signed: &[Glob]) -> Vec<Check> {
    let mut checks = Vec::new();
    for kind in &KINDS {
        match policies(client, kind).await {
            Ok(None) => {}
            Ok(Some(policies)) => {
                let patterns: Vec<String> = policies.iter().flat_map(kind.patterns).collect();
                let applies = kind.program != "policy-controller" || sigstore_applies(client, opted_in).await;
                checks.push(verdict(kind, if applies { &patterns } else { &[] }, signed));
            }
            Err(unread) => checks.push(Check::unread(NAME, &unread)),
        }
    }
    if checks.is_empty() {
        checks.push(Check::passed(
            NAME,
            "no Kyverno, policy-controller or Ratify, whose policies verify signatures",
        ));
    }
    checks
}

/// Returns the policies of a kind; `None` if the cluster doesn't have the kind.
async fn policies(client: &Client, kind: &PolicyKind) -> Read<Option<Vec<Value>>> {
    let definition = kind.definition;
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let found = api.get_opt(definition).await;
    let found = found.map_err(Unread::new(format!("read the definition of {definition}")))?;
    let Some(CustomResourceDefinition { spec, .. }) = found else { return Ok(None) };
    let Some(version) = spec.versions.iter().find(|version| version.storage) else { return Ok(None) };
    let kind = GroupVersionKind::gvk(&spec.group, &version.name, &spec.names.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &spec.names.plural);
    let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let list = api.list(&ListParams::default()).await.map_err(Unread::new(format!("list {definition}")))?;
    Ok(Some(list.items.into_iter().map(|object| object.data).collect()))
}

/// Returns whether policy-controller verifies pods of a namespace that the webhook doesn't leave alone by the label.
async fn sigstore_applies(client: &Client, opted_in: &[&ObjectMeta]) -> bool {
    let api = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let Ok(found) = api.list(&ListParams::default()).await else { return true };
    let webhooks: Vec<ValidatingWebhook> = found
        .items
        .into_iter()
        .flat_map(|configuration| configuration.webhooks.unwrap_or_default())
        .collect();
    verifies_unmarked(&webhooks, opted_in)
}

fn verifies_unmarked(webhooks: &[ValidatingWebhook], opted_in: &[&ObjectMeta]) -> bool {
    let own = || webhooks.iter().filter(|webhook| webhook.name == SIGSTORE);
    opted_in.iter().any(|namespace| {
        let labels = namespace.labels.clone().unwrap_or_default();
        let is_marked = labels.get(SIGSTORE_LABEL).is_some_and(|value| value == "true");
        !is_marked && own().any(|webhook| selects(webhook.namespace_selector.as_ref(), &labels))
    })
}

fn verdict(kind: &PolicyKind, patterns: &[String], signed: &[Glob]) -> Check {
    let PolicyKind { program, definition, .. } = kind;
    let mut open: Vec<&str> = patterns.iter().map(|pattern| repository(pattern)).collect();
    open.retain(|pattern| !signed.iter().any(|glob| glob.matches(pattern)));
    open.sort_unstable();
    open.dedup();
    if !open.is_empty() {
        return Check::warning(
            NAME,
            format!(
                "{program} ({definition}) verifies signatures of images that zstart would replace: {}",
                names(open.iter().copied())
            ),
            format!(
                "variants have no signature: add the images to the chart's value webhook.signedImages, e.g. [{:?}]; \
                 zstart then leaves them alone (SignatureRequired)",
                open[0]
            ),
        );
    }
    if patterns.is_empty() {
        return Check::passed(
            NAME,
            format!("{program} ({definition}) verifies no signatures of images that zstart replaces"),
        );
    }
    Check::passed(
        NAME,
        format!("{program} ({definition}) verifies signatures, and signedImages lists all its images"),
    )
}

/// Removes tag and digest: `signedImages` matches repositories.
fn repository(pattern: &str) -> &str {
    let name = pattern.split_once('@').map_or(pattern, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn patterns_are_read_from_every_kind() {
        let kyverno = json!({"spec": {"rules": [
            {"name": "other"},
            {"verifyImages": [{"imageReferences": ["ghcr.io/org/*", "ghcr.io/app:*"]}, {"image": "old/*"}]},
        ]}});
        assert_eq!((KINDS[0].patterns)(&kyverno), ["ghcr.io/org/*", "ghcr.io/app:*", "old/*"]);
        let validating =
            json!({"spec": {"matchImageReferences": [{"glob": "ghcr.io/*"}, {"expression": "true"}]}});
        assert_eq!((KINDS[2].patterns)(&validating), ["ghcr.io/*", "*"]);
        assert_eq!((KINDS[3].patterns)(&json!({"spec": {"images": [{"glob": "gcr.io/**"}]}})), ["gcr.io/**"]);
    }

    #[test]
    fn images_missing_from_the_settings_are_a_warning() {
        let patterns = ["ghcr.io/org/*:v?".to_owned(), "registry:5000/app@sha256:*".to_owned()];
        let signed = |text: &str| vec![text.parse::<Glob>().unwrap()];
        let open = verdict(&KINDS[0], &patterns, &signed("ghcr.io/*"));
        assert!(matches!(open.outcome, Outcome::Warning { .. }));
        assert!(open.text.ends_with("replace: registry:5000/app"), "{}", open.text);
        assert_eq!(verdict(&KINDS[0], &patterns, &signed("*")).outcome, Outcome::Passed);
        assert_eq!(verdict(&KINDS[0], &[], &[]).outcome, Outcome::Passed);
    }

    #[test]
    fn namespaces_that_policy_controller_marks_are_safe() {
        let namespace = |labels: &[(&str, &str)]| ObjectMeta {
            labels: Some(
                labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect::<BTreeMap<_, _>>(),
            ),
            ..ObjectMeta::default()
        };
        let webhook = |expression: Value| -> ValidatingWebhook {
            serde_json::from_value(json!({
                "name": SIGSTORE, "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None",
                "namespaceSelector": {"matchExpressions": [expression]},
            }))
            .unwrap()
        };
        let by_default = [webhook(json!({"key": SIGSTORE_LABEL, "operator": "In", "values": ["true"]}))];
        let opt_out = [webhook(json!({"key": "policy.sigstore.dev/exclude", "operator": "DoesNotExist"}))];
        let (marked, unmarked) = (namespace(&[(SIGSTORE_LABEL, "true")]), namespace(&[]));
        assert!(!verifies_unmarked(&by_default, &[&marked, &unmarked]));
        assert!(!verifies_unmarked(&opt_out, &[&marked]));
        assert!(verifies_unmarked(&opt_out, &[&unmarked]));
        assert!(!verifies_unmarked(&[], &[&unmarked]));
    }
}
