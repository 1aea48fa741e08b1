//! Rights of the two service accounts, reviewed by a real API server that has the chart's roles.

use anyhow::{Context, Result};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};

use crate::certificates::{authority, given};
use crate::server::Installation;

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
    ("create", "zstart.dev", "ownerholds", "team-a", ""),
    ("watch", "zstart.dev", "ownerholds", "", ""),
    ("delete", "zstart.dev", "ownerholds", "team-a", "statefulset-db"),
    ("create", "events.k8s.io", "events", "team-a", ""),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("update", "", "secrets", "zstart-system", "zstart-webhook-tls"),
    ("create", "", "secrets", "zstart-system", ""),
    ("patch", "admissionregistration.k8s.io", "mutatingwebhookconfigurations", "", "zstart"),
];

const CONTROLLER_MAY_NOT: &[AccessRequest] = &[
    ("get", "", "pods", "team-a", "web"),
    ("patch", "", "nodes", "", "a"),
    ("patch", "", "nodes/status", "", "a"),
    ("list", "", "serviceaccounts", "", ""),
    ("get", "zstart.dev", "imageconversions/status", "", "nginx"),
    ("delete", "zstart.dev", "imageconversions", "", "nginx"),
    ("update", "zstart.dev", "ownerholds", "team-a", "statefulset-db"),
    ("patch", "", "secrets", "zstart-system", "zstart-webhook-ca"),
    ("list", "", "secrets", "", ""),
    ("list", "", "secrets", "zstart-system", ""),
    ("update", "", "secrets", "zstart-system", "other"),
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
        assert_eq!(allowed(client, account, *request).await?, expected, "{account}: {request:?}");
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
