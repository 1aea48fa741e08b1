//! Definitions of zstart's own kinds.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt as _};

use super::name::CheckName;
use super::outcome::{Check, Unread};

const NAME: CheckName = CheckName::Definitions;

/// State of zstart in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    BeforeInstall,
    Installed,
}

/// Compares the definitions in the cluster with this program's.
pub(super) async fn checks(client: &Client, stage: Stage) -> Vec<Check> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let mut checks = Vec::new();
    for own in zstart_core::custom_resources() {
        let name = own.name_any();
        checks.push(match api.get_opt(&name).await {
            Ok(found) => compare(&own, found.as_ref(), stage),
            Err(error) => Check::unread(NAME, &Unread::new(format!("read the definition of {name}"))(error)),
        });
    }
    checks
}

fn compare(own: &CustomResourceDefinition, found: Option<&CustomResourceDefinition>, stage: Stage) -> Check {
    let name = own.name_any();
    let Some(found) = found else {
        return match stage {
            Stage::BeforeInstall => Check::passed(NAME, format!("no definition of {name} is in the way")),
            Stage::Installed => Check::failed(
                NAME,
                format!("the definition of {name} is missing"),
                "helm upgrade with the chart's value crd.install=true, or zstart crd | kubectl apply --server-side -f -",
            ),
        };
    };
    let served = |definition: &CustomResourceDefinition| -> BTreeSet<String> {
        let versions = definition.spec.versions.iter().filter(|version| version.served);
        versions.map(|version| version.name.clone()).collect()
    };
    if served(own).is_disjoint(&served(found)) || own.spec.scope != found.spec.scope {
        let versions = |definition| served(definition).into_iter().collect::<Vec<_>>().join(", ");
        return Check::failed(
            NAME,
            format!(
                "the definition of {name} serves {}, and this program needs {}",
                versions(found),
                versions(own)
            ),
            format!(
                "use the zstart program of the installed version, or kubectl delete crd {name}, which deletes its objects"
            ),
        );
    }
    let is_established = found
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .any(|condition| condition.type_ == "Established" && condition.status == "True");
    if !is_established {
        return Check::failed(
            NAME,
            format!("the API server doesn't serve {name}, though its definition exists"),
            format!("kubectl describe crd {name} has the cause"),
        );
    }
    match stage {
        Stage::BeforeInstall => {
            Check::passed(NAME, format!("the definition of {name} is left from an earlier installation"))
        }
        Stage::Installed => Check::passed(NAME, format!("the API server serves {name}")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinitionCondition, CustomResourceDefinitionStatus,
    };

    use super::super::outcome::Outcome;
    use super::*;

    fn established() -> CustomResourceDefinition {
        let mut definition = zstart_core::custom_resources()[0].clone();
        let condition = CustomResourceDefinitionCondition {
            type_: "Established".to_owned(),
            status: "True".to_owned(),
            ..Default::default()
        };
        definition.status =
            Some(CustomResourceDefinitionStatus { conditions: Some(vec![condition]), ..Default::default() });
        definition
    }

    #[test]
    fn missing_definition_fails_only_after_the_installation() {
        let own = established();
        assert_eq!(compare(&own, None, Stage::BeforeInstall).outcome, Outcome::Passed);
        assert!(matches!(compare(&own, None, Stage::Installed).outcome, Outcome::Failed { .. }));
        assert_eq!(compare(&own, Some(&own), Stage::Installed).outcome, Outcome::Passed);
    }

    #[test]
    fn foreign_version_and_unserved_definition_fail() {
        let own = established();
        let mut foreign = own.clone();
        foreign.spec.versions[0].name = "v9".to_owned();
        let check = compare(&own, Some(&foreign), Stage::BeforeInstall);
        assert!(check.text.contains("serves v9, and this program needs v1alpha1"), "{}", check.text);
        let unserved = CustomResourceDefinition { status: None, ..own.clone() };
        assert!(matches!(compare(&own, Some(&unserved), Stage::Installed).outcome, Outcome::Failed { .. }));
    }
}
