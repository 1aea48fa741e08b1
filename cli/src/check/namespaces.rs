//! Labels of namespaces: opted in, mistyped, excluded.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhook;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use zstart_core::keys;
use zstart_core::units::count;

use super::name::CheckName;
use super::outcome::{Check, Read, names};
use crate::cluster::selects;

/// Values that the label takes.
const VALUES: [&str; 3] = [keys::ENABLED, keys::AUDIT, keys::DISABLED];

/// Namespaces whose pods the API server sends to the webhook.
pub(super) fn reviewed<'a>(namespaces: &'a [ObjectMeta], webhook: &MutatingWebhook) -> Vec<&'a ObjectMeta> {
    let selector = webhook.namespace_selector.as_ref();
    let is_selected =
        |namespace: &ObjectMeta| selects(selector, &namespace.labels.clone().unwrap_or_default());
    namespaces
        .iter()
        .filter(|namespace| is_opted_in(namespace) && is_selected(namespace))
        .filter(|namespace| namespace.deletion_timestamp.is_none())
        .collect()
}

fn label(namespace: &ObjectMeta) -> Option<&str> {
    namespace.labels.as_ref()?.get(keys::REWRITE).map(String::as_str)
}

/// Returns whether the namespace's label is `enabled` or `audit`.
pub(super) fn is_opted_in(namespace: &ObjectMeta) -> bool {
    matches!(label(namespace), Some(keys::ENABLED | keys::AUDIT))
}

fn name(namespace: &ObjectMeta) -> &str {
    namespace.name.as_deref().unwrap_or_default()
}

/// Checks the labels. `webhook` is `None` before the installation.
pub(super) fn checks(namespaces: &Read<Vec<ObjectMeta>>, webhook: Option<&MutatingWebhook>) -> Vec<Check> {
    let namespaces = match namespaces {
        Ok(namespaces) => namespaces,
        Err(unread) => return vec![Check::unread(CheckName::Namespaces, unread)],
    };
    let mut checks: Vec<Check> = mistyped(namespaces).into_iter().collect();
    if let Some(webhook) = webhook {
        checks.extend(excluded(namespaces, webhook));
        checks.push(opted_in(namespaces));
    }
    checks
}

fn mistyped(namespaces: &[ObjectMeta]) -> Option<Check> {
    let is_unknown = |value: &&str| !VALUES.contains(value);
    let found: Vec<String> = namespaces
        .iter()
        .filter_map(|namespace| {
            let value = label(namespace).filter(is_unknown)?;
            Some(format!("{} ({}={value})", name(namespace), keys::REWRITE))
        })
        .collect();
    (!found.is_empty()).then(|| {
        Check::warning(
            CheckName::NamespaceLabels,
            format!(
                "a label's value isn't known, so zstart ignores: {}",
                names(found.iter().map(String::as_str))
            ),
            format!(
                "write enabled, audit or disabled: kubectl label --overwrite namespace NAME {}=enabled",
                keys::REWRITE
            ),
        )
    })
}

fn excluded(namespaces: &[ObjectMeta], webhook: &MutatingWebhook) -> Option<Check> {
    let reviewed = reviewed(namespaces, webhook);
    let is_excluded = |namespace: &&ObjectMeta| {
        is_opted_in(namespace)
            && namespace.deletion_timestamp.is_none()
            && !reviewed.iter().any(|reviewed| reviewed.name == namespace.name)
    };
    let found: Vec<&str> = namespaces.iter().filter(is_excluded).map(name).collect();
    (!found.is_empty()).then(|| {
        Check::warning(
            CheckName::ExcludedNamespaces,
            format!("the webhook configuration's namespaceSelector excludes opted-in namespaces: {}", names(found)),
            "remove their label, or remove them from the chart's value webhook.excludedNamespaces; kube-system and \
             zstart's own namespace are always excluded",
        )
    })
}

fn opted_in(namespaces: &[ObjectMeta]) -> Check {
    const NAME: CheckName = CheckName::OptedInNamespaces;
    let with = |value: &str| namespaces.iter().filter(|namespace| label(namespace) == Some(value)).count();
    let (enabled, audited) = (with(keys::ENABLED), with(keys::AUDIT));
    if enabled + audited == 0 {
        return Check::warning(
            NAME,
            "no namespace is opted in: zstart converts and rewrites nothing",
            format!("opt a namespace in: kubectl label namespace NAME {}=enabled", keys::REWRITE),
        );
    }
    Check::passed(NAME, format!("{} enabled, {audited} audited", count(enabled, "namespace")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::outcome::Outcome;
    use super::*;

    fn namespace(name: &str, value: &str) -> ObjectMeta {
        let labels = [(keys::REWRITE, value), ("kubernetes.io/metadata.name", name)];
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() }
    }

    fn webhook() -> MutatingWebhook {
        let excluded =
            json!({"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]});
        serde_json::from_value(json!({
            "name": "pods.zstart.dev", "admissionReviewVersions": ["v1"], "clientConfig": {}, "sideEffects": "None",
            "namespaceSelector": {"matchExpressions": [excluded]},
        }))
        .unwrap()
    }

    #[test]
    fn mistyped_value_is_a_warning_that_names_the_namespace() {
        let checks =
            checks(&Ok(vec![namespace("shop", "true"), namespace("on", "enabled")]), Some(&webhook()));
        assert!(matches!(checks[0].outcome, Outcome::Warning { .. }));
        assert!(checks[0].text.contains("shop (zstart.dev/rewrite=true)"), "{}", checks[0].text);
        assert_eq!(checks[1].text, "1 namespace enabled, 0 audited");
    }

    #[test]
    fn excluded_namespace_is_a_warning() {
        let namespaces = vec![namespace("kube-system", "enabled"), namespace("on", "audit")];
        let checks = checks(&Ok(namespaces.clone()), Some(&webhook()));
        assert!(checks[0].text.ends_with("namespaces: kube-system"), "{}", checks[0].text);
        assert_eq!(reviewed(&namespaces, &webhook()), [&namespaces[1]]);
    }

    #[test]
    fn no_opted_in_namespace_is_a_warning() {
        let checks = checks(&Ok(vec![namespace("off", "disabled")]), Some(&webhook()));
        assert!(matches!(checks[0].outcome, Outcome::Warning { .. }));
        assert!(super::checks(&Ok(Vec::new()), None).is_empty());
    }
}
