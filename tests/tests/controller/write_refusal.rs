//! Refusal of writes by the API server, as it is after a full etcd or a policy's mistake.

use anyhow::Result;
use http::Request;
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use crate::lab::Lab;

const NAME: &str = "refuse";

/// Refusal of updates. It takes effect within seconds.
pub(crate) struct WriteRefusal<'a> {
    lab: &'a Lab,
    /// Writes that the API server had refused before, for other tests.
    earlier: u64,
}

impl<'a> WriteRefusal<'a> {
    /// Refuses updates of these resources of zstart.
    pub(crate) async fn start(lab: &'a Lab, resources: &[&str]) -> Result<Self> {
        let earlier = refused(lab).await?;
        let rule = json!({"apiGroups": ["zstart.dev"], "apiVersions": ["*"], "operations": ["UPDATE"],
            "resources": resources});
        let refusal = json!({"expression": "false", "message": "etcd has no space", "reason": "Forbidden"});
        let policy = json!({"metadata": {"name": NAME},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [refusal]}});
        let binding = json!({"metadata": {"name": NAME},
            "spec": {"policyName": NAME, "validationActions": ["Deny"]}});
        lab.create(&Api::<ValidatingAdmissionPolicy>::all(lab.admin.clone()), policy).await?;
        lab.create(&Api::<ValidatingAdmissionPolicyBinding>::all(lab.admin.clone()), binding).await?;
        Ok(Self { lab, earlier })
    }

    /// Writes that the API server has refused.
    pub(crate) async fn count(&self) -> Result<u64> {
        Ok(refused(self.lab).await? - self.earlier)
    }

    /// Accepts updates again.
    pub(crate) async fn end(self) -> Result<()> {
        let admin = &self.lab.admin;
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(admin.clone());
        bindings.delete(NAME, &DeleteParams::default()).await?;
        let policies = Api::<ValidatingAdmissionPolicy>::all(admin.clone());
        policies.delete(NAME, &DeleteParams::default()).await?;
        Ok(())
    }
}

async fn refused(lab: &Lab) -> Result<u64> {
    let metrics = lab.admin.request_text(Request::get("/metrics").body(Vec::new())?).await?;
    let counter = "apiserver_validating_admission_policy_check_total{";
    let denied = metrics.lines().filter(|line| line.starts_with(counter) && line.contains("\"deny\""));
    let counts = denied.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a counter of whole requests"
    )]
    Ok(counts.map(|count| count as u64).sum())
}
