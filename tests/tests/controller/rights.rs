//! The controller's rights, as the chart grants them: what is missing there fails here.

use anyhow::Result;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Api;
use serde_json::json;

use crate::lab::{Lab, SYSTEM};

/// As whom the API server knows the controller.
pub(crate) const USER: &str = "system:serviceaccount:zstart-system:zstart-controller";
const NAME: &str = "zstart-controller";

/// Grants them.
pub(crate) async fn grant(lab: &Lab) -> Result<()> {
    let metadata = json!({"name": NAME});
    let subjects = json!([{"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM}]);
    let role = |kind| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME});
    let look = json!(["get", "list", "watch"]);
    let rules = json!([
        {"apiGroups": [""], "resources": ["namespaces", "nodes", "pods", "serviceaccounts"], "verbs": look},
        {"apiGroups": ["apps"], "resources": ["daemonsets", "deployments", "statefulsets"], "verbs": look},
        {"apiGroups": ["batch"], "resources": ["cronjobs", "jobs"], "verbs": look},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        {"apiGroups": ["zstart.dev"], "resources": ["imageconversions"],
            "verbs": ["get", "list", "watch", "create", "patch"]},
        {"apiGroups": ["zstart.dev"], "resources": ["imageconversions/status"], "verbs": ["get", "patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["mutatingwebhookconfigurations"],
            "resourceNames": ["zstart"], "verbs": ["get", "list", "watch", "patch"]},
    ]);
    let all = &lab.admin;
    lab.create::<ClusterRole>(&Api::all(all.clone()), json!({"metadata": metadata, "rules": rules})).await?;
    let binding = json!({"metadata": metadata, "roleRef": role("ClusterRole"), "subjects": subjects});
    lab.create::<ClusterRoleBinding>(&Api::all(all.clone()), binding).await?;
    let rules = json!([
        {"apiGroups": [""], "resources": ["secrets"],
            "resourceNames": ["zstart-webhook-ca", "zstart-webhook-tls"],
            "verbs": ["get", "list", "watch", "update", "patch"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
    ]);
    lab.create::<Role>(&lab.namespaced(SYSTEM), json!({"metadata": metadata, "rules": rules})).await?;
    let binding = json!({"metadata": metadata, "roleRef": role("Role"), "subjects": subjects});
    lab.create::<RoleBinding>(&lab.namespaced(SYSTEM), binding).await
}
