//! Objects and settings of conversions as Jobs.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, chart, find, name};

use crate::rendering::configuration;

/// Names of the objects of conversions as Jobs.
fn converter(objects: &[Value]) -> Vec<String> {
    let own = objects.iter().filter(|object| name(object).ends_with("-converter"));
    own.map(|object| format!("{} {}", object["kind"].as_str().unwrap_or_default(), name(object))).collect()
}

#[tokio::test]
async fn job_objects_are_rendered_for_jobs_alone() -> Result<()> {
    let helm = Helm::find().await?;
    let policies = "networkPolicy.enabled=true";
    assert_eq!(converter(&helm.render("zstart", &[policies]).await?), [] as [&str; 0]);
    let objects = helm.render("prod", &["controller.executor=jobs", policies]).await?;
    let expected = ["ServiceAccount prod-zstart-converter", "NetworkPolicy prod-zstart-converter"];
    let mut found = converter(&objects);
    found.sort_by_key(|object| !object.starts_with("ServiceAccount"));
    assert_eq!(found, expected);
    let account = find(&objects, "ServiceAccount", "prod-zstart-converter")?;
    assert_eq!(account["automountServiceAccountToken"], false);
    let policy = find(&objects, "NetworkPolicy", "prod-zstart-converter")?;
    assert_eq!(policy["spec"].get("ingress"), None, "nothing calls a conversion");
    let egress = policy["spec"]["egress"].to_string();
    assert!(!egress.contains("6443"), "a conversion doesn't call the API server: {egress}");
    let labels = &policy["spec"]["podSelector"]["matchLabels"];
    let template = &configuration(&objects, "prod-zstart-controller")?["jobs"]["template"];
    for (label, value) in labels.as_object().context("no labels")? {
        assert_eq!(&template["metadata"]["labels"][label], value, "the policy selects the Jobs' pods");
    }
    let bound =
        objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")));
    for binding in bound {
        assert!(!binding["subjects"].to_string().contains("converter"), "{binding}");
    }
    Ok(())
}

#[tokio::test]
async fn job_settings_reach_the_pod_template() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/jobs-values.yaml")).await?;
    let config = configuration(&objects, "zstart-controller")?;
    assert_eq!(config["executor"], "jobs");
    let jobs = &config["jobs"];
    assert_eq!(
        (&jobs["maxJobs"], &jobs["queue"], &jobs["ttl"]),
        (&json!(100), &json!("zstart"), &json!("10m"))
    );
    assert_eq!(jobs["ecrRole"], "arn:aws:iam::123456789012:role/zstart/convert");
    let (metadata, spec) = (&jobs["template"]["metadata"], &jobs["template"]["spec"]);
    assert_eq!(
        (&metadata["labels"]["team"], &metadata["labels"]["owner"]),
        (&json!("platform"), &json!("platform"))
    );
    assert_eq!(metadata["labels"]["zstart.dev/rewrite"], "disabled");
    assert_eq!(metadata["annotations"], json!({"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}));
    assert_eq!(spec["nodeSelector"], json!({"kubernetes.io/os": "linux", "pool": "batch"}));
    assert_eq!(
        (&spec["priorityClassName"], &spec["tolerations"][0]["key"]),
        (&json!("low"), &json!("batch"))
    );
    assert!(spec["affinity"]["nodeAffinity"].is_object());
    let container = &spec["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({"memory": "2Gi"}));
    assert_eq!(container["env"][1], json!({"name": "ZSTART_LOG_FORMAT", "value": "text"}));
    assert_eq!(container["env"][2], json!({"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}));
    assert_eq!(container["volumeMounts"][0]["name"], spec["volumes"][0]["name"]);
    Ok(())
}

/// The security contexts are those of the controller's own pod.
#[tokio::test]
async fn pod_of_a_job_is_as_restricted_as_the_controller() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render("zstart", &["controller.executor=jobs"]).await?;
    let spec = &configuration(&objects, "zstart-controller")?["jobs"]["template"]["spec"];
    let controller = &find(&objects, "Deployment", "zstart-controller")?["spec"]["template"]["spec"];
    assert_eq!(spec["securityContext"], controller["securityContext"]);
    for field in ["securityContext", "image", "imagePullPolicy"] {
        assert_eq!(spec["containers"][0][field], controller["containers"][0][field], "{field}");
    }
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["serviceAccountName"], "zstart-converter");
    Ok(())
}

#[tokio::test]
async fn invalid_job_value_is_refused_with_its_path() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, expected) in [
        ("controller.executor=cloud", ["/controller/executor", "'pool', 'jobs'"]),
        ("controller.jobs.maxJobs=0", ["/controller/jobs/maxJobs", "minimum"]),
        ("controller.jobs.queue=Batch", ["/controller/jobs/queue", "pattern"]),
        ("controller.jobs.ttl=0s", ["/controller/jobs/ttl", "pattern"]),
        ("controller.jobs.ecrRole=zstart", ["/controller/jobs/ecrRole", "pattern"]),
        ("controller.jobs.extraEnv[0].name=ZSTART_WORK", ["/controller/jobs/extraEnv/0/name", "not"]),
        ("controller.jobs.podLabels.zstart\\.dev/conversion=x", ["zstart.dev~1conversion", "reserved"]),
        ("controller.jobs.workers=3", ["/controller/jobs", "workers"]),
    ] {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        for part in expected {
            assert!(message.contains(part), "--set {set} says {message:?} without {part:?}");
        }
    }
    Ok(())
}
