//! Rights of the two service accounts, reviewed by a real API server that has the chart's roles.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::PostParams;
use kube::{Api, Client};
use zstart_tests::wait;

use crate::certificates::{authority, given};
use crate::server::Installation;

/// Time within which the API server's authorizer knows new objects.
const WITHIN: Duration = Duration::from_secs(30);

/// An access request: verb, group, resource, namespace, name; an empty field means "any" or "none".
type AccessRequest = (&'static str, &'static str, &'static str, &'static str, &'static str);

const CONTROLLER_MAY: &[AccessRequest] = &[
    ("watch", "", "pods", "", ""),
    ("list", "", "nodes", "", ""),
    ("watch", "batch", "cronjobs", "", ""),
    ("patch", "", "pods", "team-a", "web"),
    ("create", "", "pods/eviction", "team-a", "web"),
    ("get", "", "nodes", "", "a"),
    ("get", "", "secrets", "team-a", "pull-secret"),
    ("get", "", "serviceaccounts", "team-a", "builder"),
    ("get", "zstart.dev", "imageconversions", "", "nginx"),
    ("create", "zstart.dev", "imageconversions", "", ""),
    ("patch", "zstart.dev", "imageconversions/status", "", "nginx"),
    ("delete", "zstart.dev", "imageconversions", "", "nginx"),
    ("patch", "zstart.dev", "freshnesssweeps", "", "zstart"),
    ("create", "zstart.dev", "freshnesssweeps", "", ""),
    ("create", "zstart.dev", "ownerholds", "team-a", ""),
    ("watch", "zstart.dev", "ownerholds", "", ""),
    ("delete", "zstart.dev", "ownerholds", "team-a", "statefulset-db"),
    ("create", "events.k8s.io", "events", "team-a", ""),
    ("list", "", "events", "", ""),
    ("watch", "", "events", "", ""),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-tls"),
    ("create", "", "secrets", "zstart-system", ""),
    ("create", "coordination.k8s.io", "leases", "zstart-system", ""),
    ("get", "coordination.k8s.io", "leases", "zstart-system", "zstart-controller"),
    ("update", "coordination.k8s.io", "leases", "zstart-system", "zstart-controller"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "zstart"),
];

const CONTROLLER_MAY_NOT: &[AccessRequest] = &[
    ("create", "", "events", "team-a", ""),
    ("delete", "", "events", "team-a", ""),
    ("get", "", "pods", "team-a", "web"),
    ("patch", "", "nodes", "", "a"),
    ("patch", "", "nodes/status", "", "a"),
    ("list", "", "serviceaccounts", "", ""),
    ("get", "zstart.dev", "imageconversions/status", "", "nginx"),
    ("delete", "zstart.dev", "freshnesssweeps", "", "zstart"),
    ("update", "zstart.dev", "ownerholds", "team-a", "statefulset-db"),
    ("patch", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("list", "", "secrets", "", ""),
    ("list", "", "secrets", "zstart-system", ""),
    ("update", "", "secrets", "zstart-system", "other"),
    ("update", "coordination.k8s.io", "leases", "zstart-system", "other"),
    ("delete", "coordination.k8s.io", "leases", "zstart-system", "zstart-controller"),
    ("get", "coordination.k8s.io", "leases", "kube-node-lease", "node"),
    ("create", "", "secrets", "team-a", ""),
    ("delete", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("create", "", "pods", "team-a", ""),
    ("update", "", "pods", "team-a", "web"),
    ("delete", "", "pods", "team-a", "web"),
    ("patch", "", "pods/status", "team-a", "web"),
    ("patch", "", "pods/ephemeralcontainers", "team-a", "web"),
    ("create", "", "pods/exec", "team-a", "web"),
    ("patch", "apps", "deployments", "team-a", "web"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "other"),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", ""),
    ("delete", "admissionregistration.k8s.io", "validatingadmissionpolicybindings", "", "zstart-records"),
];

const WEBHOOK_MAY: &[AccessRequest] = &[
    ("watch", "", "namespaces", "", ""),
    ("watch", "", "nodes", "", ""),
    ("list", "apps", "replicasets", "", ""),
    ("watch", "apps", "replicasets", "", ""),
    ("list", "apps", "controllerrevisions", "", ""),
    ("watch", "apps", "controllerrevisions", "", ""),
    ("watch", "zstart.dev", "imageconversions", "", ""),
    ("watch", "zstart.dev", "freshnesssweeps", "", ""),
    ("watch", "zstart.dev", "ownerholds", "", ""),
    ("watch", "", "secrets", "zstart-system", "zstart-webhook-tls"),
];

const WEBHOOK_MAY_NOT: &[AccessRequest] = &[
    ("get", "", "nodes", "", "a"),
    ("get", "zstart.dev", "imageconversions", "", "nginx"),
    ("get", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("get", "", "secrets", "team-a", "pull-secret"),
    ("watch", "", "secrets", "zstart-system", ""),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-tls"),
    ("list", "", "pods", "", ""),
    ("create", "zstart.dev", "ownerholds", "team-a", ""),
    ("get", "apps", "replicasets", "team-a", "web-1"),
    ("watch", "apps", "deployments", "", ""),
    ("patch", "zstart.dev", "imageconversions", "", "nginx"),
    ("patch", "zstart.dev", "imageconversions/status", "", "nginx"),
    ("patch", "zstart.dev", "freshnesssweeps", "", "zstart"),
    ("patch", "", "pods", "team-a", "web"),
    ("create", "events.k8s.io", "events", "team-a", ""),
];

async fn allowed(client: &Client, account: &str, request: AccessRequest) -> Result<bool> {
    let (verb, group, resource, namespace, name) = request;
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:zstart-system:{account}")),
            resource_attributes: Some(ResourceAttributes {
                verb: text(verb),
                group: text(group),
                resource: text(resource),
                subresource: text(subresource),
                namespace: text(namespace),
                name: text(name),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await?;
    Ok(answer.status.context("the API server didn't answer the review")?.allowed)
}

async fn check(client: &Client, account: &str, requests: &[AccessRequest], expected: bool) -> Result<()> {
    for request in requests {
        // The API server learns of a role or a binding some time after it accepted the object.
        let what = format!("{account} to get the answer {expected} to {request:?}");
        let answered = || async { Ok((allowed(client, account, *request).await? == expected).then_some(())) };
        wait::until(what, WITHIN, answered).await?;
    }
    Ok(())
}

#[tokio::test]
async fn service_accounts_have_exactly_their_rights() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    let client = zstart.client();
    check(client, "zstart-controller", CONTROLLER_MAY, true).await?;
    check(client, "zstart-controller", CONTROLLER_MAY_NOT, false).await?;
    check(client, "zstart-webhook", WEBHOOK_MAY, true).await?;
    check(client, "zstart-webhook", WEBHOOK_MAY_NOT, false).await
}

const JOB_RIGHTS: &[AccessRequest] = &[
    ("create", "batch", "jobs", "zstart-system", ""),
    ("get", "batch", "jobs", "zstart-system", "zstart-convert-0"),
    ("patch", "batch", "jobs", "zstart-system", "zstart-convert-0"),
    ("delete", "batch", "jobs", "zstart-system", "zstart-convert-0"),
    ("get", "", "pods", "zstart-system", "zstart-convert-0-abcde"),
];

const BEYOND_JOB_RIGHTS: &[AccessRequest] = &[
    ("create", "batch", "jobs", "team-a", ""),
    ("delete", "batch", "jobs", "team-a", "backup"),
    ("update", "batch", "jobs", "zstart-system", "zstart-convert-0"),
    ("patch", "batch", "jobs/status", "zstart-system", "zstart-convert-0"),
    ("get", "", "pods", "team-a", "web"),
    ("delete", "", "secrets", "zstart-system", "zstart-convert-0"),
    ("list", "", "secrets", "zstart-system", ""),
    ("get", "", "pods/log", "zstart-system", "zstart-convert-0-abcde"),
];

#[tokio::test]
async fn jobs_need_rights_in_the_own_namespace_alone() -> Result<()> {
    let zstart = Installation::start(&[]).await?;
    check(zstart.client(), "zstart-controller", JOB_RIGHTS, false).await?;
    for mode in ["zstart", "certManager"] {
        let mode = format!("webhook.certificate.mode={mode}");
        let zstart = Installation::start(&["controller.executor=jobs", &mode]).await?;
        let client = zstart.client();
        check(client, "zstart-controller", JOB_RIGHTS, true).await?;
        check(client, "zstart-controller", &[("create", "", "secrets", "zstart-system", "")], true).await?;
        check(client, "zstart-controller", BEYOND_JOB_RIGHTS, false).await?;
        let all = [JOB_RIGHTS, CONTROLLER_MAY, BEYOND_JOB_RIGHTS].concat();
        check(client, "zstart-converter", &all, false).await?;
    }
    Ok(())
}

const EVENT_RIGHTS: &[AccessRequest] = &[("list", "", "events", "", ""), ("watch", "", "events", "", "")];

#[tokio::test]
async fn events_are_unreadable_without_measured_pulls() -> Result<()> {
    let zstart = Installation::start(&["controller.measurePulls=false"]).await?;
    let client = zstart.client();
    // The API server knows the role, so that a denial isn't one of the time before.
    check(client, "zstart-controller", &[("create", "events.k8s.io", "events", "team-a", "")], true).await?;
    check(client, "zstart-controller", EVENT_RIGHTS, false).await
}

const CERTIFICATE_RIGHTS: &[AccessRequest] = &[
    ("create", "", "secrets", "zstart-system", ""),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-tls"),
    ("update", "", "secrets", "zstart-system", "internal-webhook"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "zstart"),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "zstart-webhook"),
];

#[tokio::test]
async fn foreign_certificates_are_beyond_the_controllers_rights() -> Result<()> {
    let given = given(&authority()?);
    let given: Vec<&str> = given.iter().map(String::as_str).collect();
    for (sets, served, other) in [
        (&["webhook.certificate.mode=certManager"][..], "zstart-webhook-tls", "internal-webhook"),
        (&given, "internal-webhook", "zstart-webhook-tls"),
    ] {
        let zstart = Installation::start(sets).await?;
        let client = zstart.client();
        check(client, "zstart-controller", CERTIFICATE_RIGHTS, false).await?;
        let secret = |name| ("watch", "", "secrets", "zstart-system", name);
        check(client, "zstart-webhook", &[secret(served)], true).await?;
        check(client, "zstart-webhook", &[secret(other)], false).await?;
    }
    Ok(())
}

#[tokio::test]
async fn pull_secrets_are_readable_by_name_or_namespace() -> Result<()> {
    let account = ("get", "", "serviceaccounts", "team-a", "builder");
    let secret = |namespace, name| ("get", "", "secrets", namespace, name);
    for (set, may, may_not) in [
        (
            "controller.usePullSecrets={pull,other}",
            vec![secret("team-a", "pull"), secret("team-b", "other"), account],
            vec![secret("team-a", "database"), ("list", "", "secrets", "team-a", "")],
        ),
        (
            "controller.usePullSecrets.namespaces={team-a}",
            vec![secret("team-a", "pull"), secret("team-a", "database"), account],
            vec![secret("team-b", "pull"), ("list", "", "secrets", "team-a", "")],
        ),
        (
            "controller.usePullSecrets.namespaces={team-a},controller.usePullSecrets.names={pull}",
            vec![secret("team-a", "pull"), account],
            vec![secret("team-a", "database"), secret("team-b", "pull")],
        ),
        (
            "controller.usePullSecrets=auto",
            vec![],
            vec![secret("team-a", "pull"), secret("team-b", "pull"), account],
        ),
    ] {
        let zstart = Installation::start_in(&["team-a"], &[set]).await?;
        let client = zstart.client();
        check(client, "zstart-controller", &may, true).await.with_context(|| set.to_owned())?;
        check(client, "zstart-controller", &may_not, false).await.with_context(|| set.to_owned())?;
        if set.ends_with("auto") {
            let binding = serde_json::json!({
                "metadata": {"name": "pull"},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "zstart-pull-secrets",
                },
                "subjects": [
                    {"kind": "ServiceAccount", "name": "zstart-controller", "namespace": "zstart-system"},
                ],
            });
            let bindings = Api::<RoleBinding>::namespaced(client.clone(), "team-a");
            bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
            let bound = [secret("team-a", "pull"), account];
            check(client, "zstart-controller", &bound, true).await?;
            check(client, "zstart-controller", &[secret("team-b", "pull")], false).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn controller_without_pull_secrets_reads_only_its_own_secrets() -> Result<()> {
    let zstart = Installation::start(&["controller.usePullSecrets=false"]).await?;
    let client = zstart.client();
    let own = [("get", "", "secrets", "zstart-system", "zstart-webhook-ca")];
    let others = [
        ("get", "", "secrets", "team-a", "pull-secret"),
        ("get", "", "secrets", "zstart-system", "other"),
        ("get", "", "serviceaccounts", "team-a", "builder"),
    ];
    check(client, "zstart-controller", &own, true).await?;
    check(client, "zstart-controller", &others, false).await
}
