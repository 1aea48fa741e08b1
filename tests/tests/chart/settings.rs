//! Values that change single fields of the objects, and values of an older chart.

use anyhow::Result;
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, chart, find, name};

use crate::rendering::configuration;

/// A value, the object that has it, the field, and its content.
type Setting = (&'static str, (&'static str, &'static str), &'static str, Value);

const CONTROLLER: (&str, &str) = ("Deployment", "zstart-controller");
const WEBHOOK: (&str, &str) = ("Deployment", "zstart-webhook");

#[expect(clippy::too_many_lines, reason = "a table of values")]
fn settings() -> Vec<Setting> {
    vec![
        ("revisionHistoryLimit=0", CONTROLLER, "/spec/revisionHistoryLimit", json!(0)),
        ("revisionHistoryLimit=3", WEBHOOK, "/spec/revisionHistoryLimit", json!(3)),
        ("controller.strategy.type=Recreate", CONTROLLER, "/spec/strategy", json!({"type": "Recreate"})),
        (
            "webhook.strategy.rollingUpdate.maxSurge=50%",
            WEBHOOK,
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": "50%"}}),
        ),
        (
            "controller.terminationGracePeriodSeconds=60",
            CONTROLLER,
            "/spec/template/spec/terminationGracePeriodSeconds",
            json!(60),
        ),
        ("controller.deploymentAnnotations.a=b", CONTROLLER, "/metadata/annotations", json!({"a": "b"})),
        ("webhook.deploymentAnnotations.a=b", WEBHOOK, "/metadata/annotations", json!({"a": "b"})),
        (
            "controller.automountServiceAccountToken=false",
            CONTROLLER,
            "/spec/template/spec/automountServiceAccountToken",
            json!(false),
        ),
        (
            "webhook.automountServiceAccountToken=false",
            WEBHOOK,
            "/spec/template/spec/automountServiceAccountToken",
            json!(false),
        ),
        (
            "webhook.extraVolumes[0].name=a,webhook.extraVolumes[0].emptyDir.medium=Memory",
            WEBHOOK,
            "/spec/template/spec/volumes/1",
            json!({"name": "a", "emptyDir": {"medium": "Memory"}}),
        ),
        (
            "webhook.extraVolumeMounts[0].name=a,webhook.extraVolumeMounts[0].mountPath=/a",
            WEBHOOK,
            "/spec/template/spec/containers/0/volumeMounts/1",
            json!({"name": "a", "mountPath": "/a"}),
        ),
        (
            "webhook.extraEnvFrom[0].secretRef.name=a",
            WEBHOOK,
            "/spec/template/spec/containers/0/envFrom",
            json!([{"secretRef": {"name": "a"}}]),
        ),
        (
            "controller.extraEnvFrom[0].configMapRef.name=a",
            CONTROLLER,
            "/spec/template/spec/containers/0/envFrom",
            json!([{"configMapRef": {"name": "a"}}]),
        ),
        (
            "webhook.podSecurityContext.runAsUser=7",
            WEBHOOK,
            "/spec/template/spec/securityContext",
            json!({
                "runAsUser": 7, "runAsGroup": 65532, "fsGroup": 65532, "runAsNonRoot": true,
                "seccompProfile": {"type": "RuntimeDefault"},
            }),
        ),
        (
            "controller.securityContext.readOnlyRootFilesystem=false",
            CONTROLLER,
            "/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        (
            "webhook.service.annotations.a=b",
            ("Service", "zstart-webhook"),
            "/metadata/annotations/a",
            json!("b"),
        ),
        ("webhook.service.labels.team=a", ("Service", "zstart-webhook"), "/metadata/labels/team", json!("a")),
        (
            "webhook.service.ipFamilyPolicy=PreferDualStack",
            ("Service", "zstart-webhook"),
            "/spec/ipFamilyPolicy",
            json!("PreferDualStack"),
        ),
        (
            "webhook.service.ipFamilies={IPv6,IPv4}",
            ("Service", "zstart-webhook"),
            "/spec/ipFamilies",
            json!(["IPv6", "IPv4"]),
        ),
        (
            "webhook.podDisruptionBudget.maxUnavailable=0",
            ("PodDisruptionBudget", "zstart-webhook"),
            "/spec/maxUnavailable",
            json!(0),
        ),
        (
            "controller.podDisruptionBudget.maxUnavailable=50%",
            ("PodDisruptionBudget", "zstart-controller"),
            "/spec/maxUnavailable",
            json!("50%"),
        ),
        (
            "controller.serviceAccount.labels.team=a",
            ("ServiceAccount", "zstart-controller"),
            "/metadata/labels/team",
            json!("a"),
        ),
        (
            "webhook.objectSelector[0].key=a,webhook.objectSelector[0].operator=Exists",
            ("MutatingWebhookConfiguration", "zstart"),
            "/webhooks/0/objectSelector/matchExpressions/1",
            json!({"key": "a", "operator": "Exists"}),
        ),
        (
            "webhook.namespaceSelector[0].key=a,webhook.namespaceSelector[0].operator=Exists",
            ("MutatingWebhookConfiguration", "zstart"),
            "/webhooks/0/namespaceSelector/matchExpressions/2",
            json!({"key": "a", "operator": "Exists"}),
        ),
        (
            "webhook.matchConditions[0].name=a,webhook.matchConditions[0].expression=true == true",
            ("MutatingWebhookConfiguration", "zstart"),
            "/webhooks/0/matchConditions",
            json!([{"name": "a", "expression": "true == true"}]),
        ),
    ]
}

#[tokio::test]
async fn setting_reaches_its_field() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, (kind, name), field, expected) in settings() {
        let objects = helm.render("zstart", &[set]).await?;
        assert_eq!(find(&objects, kind, name)?.pointer(field), Some(&expected), "--set {set}: {field}");
    }
    Ok(())
}

#[tokio::test]
async fn listen_address_reaches_both_programs() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/eks-values.yaml")).await?;
    assert_eq!(configuration(&objects, "zstart-controller")?["healthListen"], "[::]:8080");
    let webhook = configuration(&objects, "zstart-webhook")?;
    assert_eq!((&webhook["listen"], &webhook["healthListen"]), (&json!("[::]:8443"), &json!("[::]:8080")));
    Ok(())
}

#[tokio::test]
async fn common_annotations_are_on_every_object_and_on_no_pod() -> Result<()> {
    let helm = Helm::find().await?;
    for variant in ["jobs", "cert-manager", "locked-down"] {
        let values = chart().join(format!("ci/{variant}-values.yaml"));
        let objects = helm
            .text_with(
                &values,
                &["--set", "commonAnnotations.cost=a", "--set", "controller.serviceAccount.annotations.x=y"],
            )
            .await?;
        for object in
            serde_saphyr::from_multiple::<Value>(&objects)?.iter().filter(|object| !object.is_null())
        {
            let annotations = &object["metadata"]["annotations"];
            assert_eq!(annotations["cost"], "a", "{variant}: {} {}", object["kind"], name(object));
            let pod = &object["spec"]["template"]["metadata"]["annotations"];
            assert_eq!(pod.get("cost"), None, "{variant}: {}", name(object));
        }
    }
    Ok(())
}

#[tokio::test]
async fn name_override_replaces_zstart_in_derived_names() -> Result<()> {
    let helm = Helm::find().await?;
    for (release, base) in [("prod", "prod-images"), ("my-images", "my-images")] {
        let objects = helm.render(release, &["nameOverride=images"]).await?;
        let deployment = find(&objects, "Deployment", &format!("{base}-controller"))?;
        // `zstart check` finds the installation by this label.
        assert_eq!(deployment["metadata"]["labels"]["app.kubernetes.io/name"], "zstart");
    }
    Ok(())
}

#[tokio::test]
async fn definitions_are_deleted_only_on_request() -> Result<()> {
    let helm = Helm::find().await?;
    for (keep, expected) in [("true", json!("keep")), ("false", Value::Null)] {
        let objects = helm.render("zstart", &[&format!("crd.keep={keep}")]).await?;
        let definitions = objects.iter().filter(|object| object["kind"] == "CustomResourceDefinition");
        for definition in definitions {
            assert_eq!(definition["metadata"]["annotations"]["helm.sh/resource-policy"], expected);
        }
    }
    Ok(())
}

#[tokio::test]
async fn given_service_account_gets_the_rights_and_the_policies() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/minimal-rights-values.yaml")).await?;
    let accounts: Vec<&str> =
        objects.iter().filter(|object| object["kind"] == "ServiceAccount").map(name).collect();
    assert_eq!(accounts, ["zstart-test"]);
    for component in ["controller", "webhook"] {
        let account = format!("platform-zstart-{component}");
        let deployment = find(&objects, "Deployment", &format!("zstart-{component}"))?;
        assert_eq!(deployment["spec"]["template"]["spec"]["serviceAccountName"], account);
        for kind in ["ClusterRoleBinding", "RoleBinding"] {
            let binding = find(&objects, kind, &format!("zstart-{component}"))?;
            assert_eq!(binding["subjects"][0]["name"], account, "{kind}");
        }
    }
    for policy in ["zstart-records", "zstart-controller-pods", "zstart-controller-evictions"] {
        let policy = find(&objects, "ValidatingAdmissionPolicy", policy)?.to_string();
        assert!(
            policy.contains("system:serviceaccount:zstart-system:platform-zstart-controller"),
            "{policy}"
        );
        assert!(!policy.contains(":zstart-controller"), "{policy}");
    }
    Ok(())
}

#[tokio::test]
async fn service_account_of_the_namespace_is_never_used() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, path) in [
        ("controller.serviceAccount.create=false", "controller.serviceAccount"),
        ("webhook.serviceAccount.create=false", "webhook.serviceAccount"),
        (
            "controller.executor=jobs,controller.jobs.serviceAccount.create=false",
            "controller.jobs.serviceAccount",
        ),
    ] {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        assert!(message.contains(&format!("{path}.create is false")), "{message}");
        assert!(message.contains(&format!("{path}.name")), "{message}");
    }
    Ok(())
}

/// `helm upgrade --reuse-values` renders the new templates with the values of the old chart.
#[tokio::test]
async fn values_of_the_first_chart_render_as_the_defaults_do() -> Result<()> {
    let helm = Helm::find().await?;
    let former = former_chart()?;
    let objects = helm.render_chart(former.path(), "zstart", &[]).await?;
    for (object, expected) in objects.iter().zip(helm.render("zstart", &[]).await?) {
        assert_eq!(object, &expected);
    }
    // Values that the old chart didn't have may still be set.
    let sets = ["controller.executor=jobs", "caBundle.secret=a", "webhook.certificate.mode=certManager"];
    helm.render_chart(former.path(), "zstart", &sets).await?;
    Ok(())
}

/// The chart with the values of its first version.
pub(crate) fn former_chart() -> Result<tempfile::TempDir> {
    let folder = tempfile::tempdir()?;
    let mut copy = std::process::Command::new("cp");
    copy.arg("-R").arg(chart().join(".")).arg(folder.path());
    anyhow::ensure!(copy.status()?.success(), "failed to copy the chart");
    std::fs::write(folder.path().join("values.yaml"), include_str!("former-values.yaml"))?;
    Ok(folder)
}
