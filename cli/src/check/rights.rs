//! Rights: of the user to install the chart, and of zstart's programs.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
    SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::name::CheckName;
use super::outcome::{Check, Read, Unread, names};
use super::programs;

/// Kinds that the chart creates in the whole cluster: group and resource.
const CLUSTER: [(&str, &str); 6] = [
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
];
/// Kinds that the chart creates in its namespace. Helm stores its releases in Secrets.
const NAMESPACED: [(&str, &str); 8] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "services"),
    ("", "serviceaccounts"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("policy", "poddisruptionbudgets"),
];

/// Rights that the controller can't work without: verb, group and resource, in the whole cluster.
const CONTROLLER: [(&str, &str, &str); 12] = [
    ("list", "", "namespaces"),
    ("list", "", "nodes"),
    ("list", "", "pods"),
    ("patch", "", "pods"),
    ("list", "apps", "deployments"),
    ("list", "batch", "cronjobs"),
    ("create", "zstart.dev", "imageconversions"),
    ("patch", "zstart.dev", "imageconversions"),
    ("delete", "zstart.dev", "imageconversions"),
    ("patch", "zstart.dev", "freshnesssweeps"),
    ("create", "zstart.dev", "ownerholds"),
    ("create", "events.k8s.io", "events"),
];
/// Rights on Leases in zstart's own namespace: without them, no replica leads. Only the first isn't limited to a name.
const LEASES: [&str; 3] = ["create", "get", "update"];
/// Rights in zstart's own namespace that conversions as Jobs need.
const JOBS: [(&str, &str, &str); 10] = [
    ("get", "batch", "jobs"),
    ("list", "batch", "jobs"),
    ("watch", "batch", "jobs"),
    ("create", "batch", "jobs"),
    ("patch", "batch", "jobs"),
    ("delete", "batch", "jobs"),
    ("get", "", "pods"),
    ("list", "", "pods"),
    ("watch", "", "pods"),
    ("create", "", "secrets"),
];
/// Rights that the webhook can't work without.
const WEBHOOK: [(&str, &str, &str); 7] = [
    ("list", "", "namespaces"),
    ("list", "", "nodes"),
    ("list", "apps", "replicasets"),
    ("list", "apps", "controllerrevisions"),
    ("list", "zstart.dev", "imageconversions"),
    ("list", "zstart.dev", "freshnesssweeps"),
    ("list", "zstart.dev", "ownerholds"),
];

/// Asks the API server whether controller and webhook have the rights that the chart grants.
pub(super) async fn of_programs(client: &Client, namespace: &str, deployments: &[Deployment]) -> Vec<Check> {
    const NAME: CheckName = CheckName::ProgramRights;
    let mut checks = Vec::new();
    for (component, rights) in [("controller", &CONTROLLER[..]), ("webhook", &WEBHOOK[..])] {
        let Some(account) = programs::service_account(deployments, component) else { continue };
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let mut needed: Vec<ResourceAttributes> =
            rights.iter().map(|(verb, group, resource)| attributes(verb, group, resource)).collect();
        if component == "controller" {
            needed.extend(leases(namespace, programs::name(deployments, component).as_deref()));
            match programs::makes_jobs(client, namespace, NAME).await {
                Ok(true) => {
                    let jobs = JOBS.map(|(verb, group, resource)| attributes(verb, group, resource));
                    needed.extend(jobs.map(|right| in_namespace(namespace, right)));
                }
                Ok(false) => {}
                Err(check) => checks.push(check),
            }
        }
        let mut missing = Vec::new();
        let mut unread = None;
        for right in needed {
            let named = text(&right);
            match may(client, &user, right).await {
                Ok(true) => {}
                Ok(false) => missing.push(named),
                Err(error) => {
                    unread = Some(error);
                    break;
                }
            }
        }
        checks.push(match unread {
            Some(unread) => Check::unread(NAME, &unread),
            None if missing.is_empty() => {
                Check::passed(NAME, format!("the {component} has its rights ({user})"))
            }
            None => Check::failed(
                NAME,
                format!("{user}, the {component}, may not {}", names(missing.iter().map(String::as_str))),
                "helm upgrade grants the rights; an administrator of the cluster must run it",
            ),
        });
    }
    checks
}

/// Rights on the Lease. The chart gives Lease and Deployment one name.
fn leases(namespace: &str, name: Option<&str>) -> [ResourceAttributes; 3] {
    LEASES.map(|verb| ResourceAttributes {
        name: name.filter(|_| verb != "create").map(str::to_owned),
        ..in_namespace(namespace, attributes(verb, "coordination.k8s.io", "leases"))
    })
}

/// The right in this namespace alone.
fn in_namespace(namespace: &str, right: ResourceAttributes) -> ResourceAttributes {
    ResourceAttributes { namespace: Some(namespace.to_owned()), ..right }
}

/// Right in the whole cluster.
fn attributes(verb: &str, group: &str, resource: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// Text of a right, e.g. `update leases.coordination.k8s.io in zstart-system`.
fn text(right: &ResourceAttributes) -> String {
    let word = |member: &Option<String>| member.clone().unwrap_or_default();
    let place = right.namespace.as_ref().map_or_else(String::new, |namespace| format!(" in {namespace}"));
    format!("{} {}{place}", word(&right.verb), full_name(&word(&right.group), &word(&right.resource)))
}

async fn may(client: &Client, user: &str, attributes: ResourceAttributes) -> Read<bool> {
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(attributes),
        user: Some(user.to_owned()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview { spec, ..Default::default() };
    let api = Api::<SubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(Unread::new("review the rights of zstart's programs"))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

fn full_name(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// Asks the API server whether the user may create everything that the chart creates.
pub(super) async fn check(client: &Client, namespace: &str) -> Check {
    let mut denied = Vec::new();
    let cluster = CLUSTER.iter().map(|kind| (None, kind));
    let namespaced = NAMESPACED.iter().map(|kind| (Some(namespace), kind));
    for (namespace, (group, resource)) in cluster.chain(namespaced) {
        match may_create(client, namespace, group, resource).await {
            Ok(true) => {}
            Ok(false) => denied.push(full_name(group, resource)),
            Err(unread) => return Check::unread(CheckName::InstallRights, &unread),
        }
    }
    verdict(&denied, namespace)
}

fn verdict(denied: &[String], namespace: &str) -> Check {
    const NAME: CheckName = CheckName::InstallRights;
    if denied.is_empty() {
        let kinds = CLUSTER.len() + NAMESPACED.len();
        return Check::passed(
            NAME,
            format!("you may create the {kinds} kinds of objects of the chart in {namespace}"),
        );
    }
    Check::failed(
        NAME,
        format!("you may not create: {}", names(denied.iter().map(String::as_str))),
        format!(
            "install as an administrator of the cluster, or into another namespace than {namespace} with -n"
        ),
    )
}

async fn may_create(client: &Client, namespace: Option<&str>, group: &str, resource: &str) -> Read<bool> {
    let attributes = ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        namespace: namespace.map(str::to_owned),
        verb: Some("create".to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let api = Api::<SelfSubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(Unread::new(format!("review your right to create {resource}")))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Outcome;
    use super::*;

    #[test]
    fn missing_rights_are_named() {
        assert_eq!(verdict(&[], "zstart-system").outcome, Outcome::Passed);
        let check = verdict(&["deployments.apps".to_owned()], "zstart-system");
        assert!(matches!(check.outcome, Outcome::Failed { .. }));
        assert!(check.text.ends_with("deployments.apps"), "{}", check.text);
    }
}
