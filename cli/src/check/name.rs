//! Names of the checks.

use serde::Serialize;

/// Name of a check, for programs that read the report. A name never changes. docs/troubleshooting.md explains each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum CheckName {
    #[serde(rename = "aks-admissions-enforcer")]
    AksAdmissionsEnforcer,
    #[serde(rename = "always-pull-images")]
    AlwaysPullImages,
    #[serde(rename = "api-server")]
    ApiServer,
    #[serde(rename = "ca-bundle")]
    CaBundle,
    #[serde(rename = "certificate")]
    Certificate,
    #[serde(rename = "controller")]
    Controller,
    #[serde(rename = "definitions")]
    Definitions,
    #[serde(rename = "dry-run-pod")]
    DryRunPod,
    #[serde(rename = "eks-fargate-order")]
    EksFargateOrder,
    #[serde(rename = "endpoints")]
    Endpoints,
    #[serde(rename = "excluded-namespaces")]
    ExcludedNamespaces,
    #[serde(rename = "failure-policy")]
    FailurePolicy,
    #[serde(rename = "gke-port")]
    GkePort,
    #[serde(rename = "holds")]
    Holds,
    #[serde(rename = "install-rights")]
    InstallRights,
    #[serde(rename = "namespace-labels")]
    NamespaceLabels,
    #[serde(rename = "namespaces")]
    Namespaces,
    #[serde(rename = "node-platforms")]
    NodePlatforms,
    #[serde(rename = "node-runtimes")]
    NodeRuntimes,
    #[serde(rename = "opted-in-namespaces")]
    OptedInNamespaces,
    #[serde(rename = "other-webhooks")]
    OtherWebhooks,
    #[serde(rename = "program-rights")]
    ProgramRights,
    #[serde(rename = "record-policy")]
    RecordPolicy,
    #[serde(rename = "records")]
    Records,
    #[serde(rename = "settings")]
    Settings,
    #[serde(rename = "signature-policies")]
    SignaturePolicies,
    #[serde(rename = "version")]
    Version,
    #[serde(rename = "webhook")]
    Webhook,
    #[serde(rename = "webhook-configuration")]
    WebhookConfiguration,
}
