//! Values that change single fields of the objects, and values of an older chart.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, chart, ci_values, find, name, values_table};

use crate::rendering::configuration;

/// Kind and name.
type Object = (&'static str, &'static str);
/// A value, the object that has it, the field, and its content.
type Setting = (&'static str, Object, &'static str, Value);

const CONTROLLER: Object = ("Deployment", "zstart-controller");
const WEBHOOK: Object = ("Deployment", "zstart-webhook");
const ADMISSION: Object = ("MutatingWebhookConfiguration", "zstart");
const TEST: Object = ("Pod", "zstart-test");
/// Kind of the configuration file in a `ConfigMap`.
const CONFIGURATION: &str = "configuration file";
const CONTROLLER_FILE: Object = (CONFIGURATION, "zstart-controller");
const WEBHOOK_FILE: Object = (CONFIGURATION, "zstart-webhook");

fn settings() -> Vec<Setting> {
    [
        settings_of_pods(),
        settings_of_scheduling(),
        settings_of_jobs(),
        settings_of_objects(),
        settings_of_monitoring(),
    ]
    .concat()
}

#[expect(clippy::too_many_lines, reason = "a table of values")]
fn settings_of_pods() -> Vec<Setting> {
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
            "webhook.securityContext.runAsUser=7",
            WEBHOOK,
            "/spec/template/spec/containers/0/securityContext",
            json!({
                "runAsUser": 7, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            }),
        ),
        (
            "webhook.extraEnv[0].name=A,webhook.extraEnv[0].value=b",
            WEBHOOK,
            "/spec/template/spec/containers/0/env/4",
            json!({"name": "A", "value": "b"}),
        ),
        (
            "logFormat=json",
            CONTROLLER,
            "/spec/template/spec/containers/0/env/3",
            json!({"name": "ZSTART_LOG_FORMAT", "value": "json"}),
        ),
        ("webhook.podAnnotations.a=b", WEBHOOK, "/spec/template/metadata/annotations/a", json!("b")),
        ("webhook.podLabels.team=a", WEBHOOK, "/spec/template/metadata/labels/team", json!("a")),
        (
            "controller.resources.limits.memory=2Gi",
            CONTROLLER,
            "/spec/template/spec/containers/0/resources",
            json!({"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}),
        ),
        (
            "webhook.resources.requests.cpu=1",
            WEBHOOK,
            "/spec/template/spec/containers/0/resources",
            json!({"requests": {"cpu": 1, "memory": "64Mi"}, "limits": {"memory": "256Mi"}}),
        ),
        ("webhook.maxCacheAge=1m", WEBHOOK_FILE, "/maxCacheAge", json!("1m")),
        ("webhook.drain.grace=5s", WEBHOOK_FILE, "/drain/grace", json!("5s")),
        ("webhook.drain.grace=5s", WEBHOOK, "/spec/template/spec/terminationGracePeriodSeconds", json!(20)),
    ]
}

/// Values that replace the chart's own, or are added to them.
fn settings_of_scheduling() -> Vec<Setting> {
    vec![
        (
            "controller.nodeSelector.pool=a",
            CONTROLLER,
            "/spec/template/spec/nodeSelector",
            json!({"kubernetes.io/os": "linux", "pool": "a"}),
        ),
        (
            "controller.nodeSelector.pool=a",
            TEST,
            "/spec/nodeSelector",
            json!({"kubernetes.io/os": "linux", "pool": "a"}),
        ),
        (
            "controller.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey=zone",
            CONTROLLER,
            "/spec/template/spec/affinity",
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}),
        ),
        (
            "controller.topologySpreadConstraints[0].topologyKey=zone,\
             controller.topologySpreadConstraints[0].maxSkew=2,\
             controller.topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
            CONTROLLER,
            "/spec/template/spec/topologySpreadConstraints",
            json!([{"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
    ]
}

fn settings_of_jobs() -> Vec<Setting> {
    vec![
        (
            "controller.executor=jobs,controller.jobs.serviceAccount.name=runner",
            CONTROLLER_FILE,
            "/jobs/template/spec/serviceAccountName",
            json!("runner"),
        ),
        (
            "controller.executor=jobs,controller.jobs.serviceAccount.name=runner",
            ("ServiceAccount", "runner"),
            "/automountServiceAccountToken",
            json!(false),
        ),
        (
            "controller.executor=jobs,controller.jobs.serviceAccount.labels.team=a",
            ("ServiceAccount", "zstart-converter"),
            "/metadata/labels/team",
            json!("a"),
        ),
        (
            "controller.executor=jobs,securityContext.readOnlyRootFilesystem=false",
            CONTROLLER_FILE,
            "/jobs/template/spec/containers/0/securityContext/readOnlyRootFilesystem",
            json!(false),
        ),
        (
            "controller.executor=jobs,controller.jobs.extraEnvFrom[0].secretRef.name=a",
            CONTROLLER_FILE,
            "/jobs/template/spec/containers/0/envFrom",
            json!([{"secretRef": {"name": "a"}}]),
        ),
    ]
}

fn settings_of_objects() -> Vec<Setting> {
    vec![
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
            ADMISSION,
            "/webhooks/0/objectSelector/matchExpressions/1",
            json!({"key": "a", "operator": "Exists"}),
        ),
        (
            "webhook.namespaceSelector[0].key=a,webhook.namespaceSelector[0].operator=Exists",
            ADMISSION,
            "/webhooks/0/namespaceSelector/matchExpressions/2",
            json!({"key": "a", "operator": "Exists"}),
        ),
        (
            "webhook.matchConditions[0].name=a,webhook.matchConditions[0].expression=true == true",
            ADMISSION,
            "/webhooks/0/matchConditions",
            json!([{"name": "a", "expression": "true == true"}]),
        ),
        ("webhook.failurePolicy=Ignore", ADMISSION, "/webhooks/0/failurePolicy", json!("Ignore")),
        (
            "networkPolicy.enabled=true,networkPolicy.apiServerPorts={8443,9443}",
            ("NetworkPolicy", "zstart-webhook"),
            "/spec/egress/1/ports",
            json!([{"protocol": "TCP", "port": 8443}, {"protocol": "TCP", "port": 9443}]),
        ),
        (
            "nameOverride=images",
            ("Deployment", "zstart-images-controller"),
            "/spec/selector/matchLabels/app.kubernetes.io~1name",
            json!("zstart"),
        ),
        ("test.timeout=90s", TEST, "/spec/containers/0/args/2", json!("--timeout-seconds=90")),
        (
            "test.image=registry.lab/a:v1",
            TEST,
            "/spec/containers/0/args/3",
            json!("--image=registry.lab/a:v1"),
        ),
        (
            "test.image=registry.lab/a:v1",
            ("Deployment", "zstart-test"),
            "/spec/template/spec/containers/0/image",
            json!("registry.lab/a:v1"),
        ),
        ("test.namespaceLabels.team=a", ("Namespace", "zstart-test"), "/metadata/labels/team", json!("a")),
    ]
}

fn settings_of_monitoring() -> Vec<Setting> {
    const POD_MONITOR: Object = ("PodMonitor", "zstart");
    vec![
        (
            "monitoring.serviceMonitor.enabled=true,monitoring.serviceMonitor.namespace=a",
            ("ServiceMonitor", "zstart"),
            "/metadata/namespace",
            json!("a"),
        ),
        (
            "monitoring.podMonitor.enabled=true,monitoring.podMonitor.labels.release=a",
            POD_MONITOR,
            "/metadata/labels/release",
            json!("a"),
        ),
        (
            "monitoring.podMonitor.enabled=true,monitoring.podMonitor.scrapeTimeout=7s",
            POD_MONITOR,
            "/spec/podMetricsEndpoints/0/scrapeTimeout",
            json!("7s"),
        ),
        (
            "monitoring.podMonitor.enabled=true,monitoring.podMonitor.relabelings[0].targetLabel=a",
            POD_MONITOR,
            "/spec/podMetricsEndpoints/0/relabelings",
            json!([{"targetLabel": "a"}]),
        ),
        (
            "monitoring.podMonitor.enabled=true,monitoring.podMonitor.metricRelabelings[0].action=drop",
            POD_MONITOR,
            "/spec/podMetricsEndpoints/0/metricRelabelings",
            json!([{"action": "drop"}]),
        ),
        (
            "monitoring.dashboard.enabled=true,monitoring.dashboard.labels.team=a",
            ("ConfigMap", "zstart-dashboard"),
            "/metadata/labels/team",
            json!("a"),
        ),
    ]
}

/// Values, and another value that removes an object of theirs.
const REMOVALS: [(&str, &str, Object); 3] = [
    ("", "controller.podDisruptionBudget.enabled=false", ("PodDisruptionBudget", "zstart-controller")),
    ("", "test.enabled=false", TEST),
    (
        "controller.executor=jobs,controller.jobs.serviceAccount.name=runner",
        "controller.jobs.serviceAccount.create=false",
        ("ServiceAccount", "runner"),
    ),
];

#[tokio::test]
async fn setting_reaches_its_field() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, (kind, name), field, expected) in settings() {
        let objects = helm.render("zstart", &[set]).await?;
        let object = match kind {
            CONFIGURATION => configuration(&objects, name)?,
            kind => find(&objects, kind, name)?.clone(),
        };
        assert_eq!(object.pointer(field), Some(&expected), "--set {set}: {field}");
    }
    Ok(())
}

#[tokio::test]
async fn object_is_removed_by_its_value() -> Result<()> {
    let helm = Helm::find().await?;
    for (given, set, (kind, name)) in REMOVALS {
        find(&helm.render("zstart", &[given]).await?, kind, name)?;
        let objects = helm.render("zstart", &[given, set]).await?;
        assert!(find(&objects, kind, name).is_err(), "--set {set} leaves {kind} {name}");
    }
    Ok(())
}

/// The renders of `ci/*-values.yaml` are files for review (`renders`), and the tables above name each value's field.
#[test]
fn every_value_is_set_by_an_installation_or_a_test() -> Result<()> {
    let mut installations = Vec::new();
    for path in ci_values()? {
        installations.push(serde_saphyr::from_str::<Value>(&std::fs::read_to_string(path)?)?);
    }
    let settings = settings();
    let sets = settings.iter().map(|(set, ..)| *set).chain(REMOVALS.iter().map(|(_, set, _)| *set));
    let sets: Vec<&str> = sets.flat_map(|set| set.split(',')).collect();
    let is_set = |path: &String| {
        let pointer = format!("/{}", path.replace('.', "/"));
        let mut rests = sets.iter().filter_map(|set| set.strip_prefix(path.as_str()));
        installations.iter().any(|values| values.pointer(&pointer).is_some())
            || rests.any(|rest| rest.starts_with(['.', '[', '=']))
    };
    let mut forgotten = values_table::paths(&std::fs::read_to_string(chart().join("values.yaml"))?)?;
    forgotten.retain(|path| !is_set(path));
    assert_eq!(forgotten, [""; 0], "values that no ci/*-values.yaml and no table of this file sets");
    Ok(())
}

/// A key of YAML that occurs twice is an error for tools such as kustomize.
#[tokio::test]
async fn own_label_replaces_the_common_label() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, (kind, name)) in [
        ("webhook.service.labels.team=own", ("Service", "zstart-webhook")),
        ("webhook.serviceAccount.labels.team=own", ("ServiceAccount", "zstart-webhook")),
        ("controller.serviceAccount.labels.team=own", ("ServiceAccount", "zstart-controller")),
        ("controller.jobs.serviceAccount.labels.team=own", ("ServiceAccount", "zstart-converter")),
        ("test.namespaceLabels.team=own", ("Namespace", "zstart-test")),
        ("monitoring.podMonitor.labels.team=own", ("PodMonitor", "zstart")),
    ] {
        let sets = [
            "controller.executor=jobs",
            "monitoring.podMonitor.enabled=true",
            "commonLabels.team=common",
            set,
        ];
        let objects = helm.render("zstart", &sets).await.with_context(|| format!("--set {set}"))?;
        let labels = &find(&objects, kind, name)?["metadata"]["labels"];
        assert_eq!(labels["team"], "own", "--set {set}");
        assert_eq!(labels["app.kubernetes.io/part-of"], "zstart", "--set {set}");
    }
    Ok(())
}

#[tokio::test]
async fn namespace_of_the_test_may_have_another_pod_security() -> Result<()> {
    let label = "pod-security.kubernetes.io/enforce";
    let helm = Helm::find().await?;
    for (sets, expected) in [
        (vec![], "restricted"),
        (vec!["test.namespaceLabels.pod-security\\.kubernetes\\.io/enforce=baseline"], "baseline"),
    ] {
        let objects = helm.render("zstart", &sets).await?;
        assert_eq!(find(&objects, "Namespace", "zstart-test")?["metadata"]["labels"][label], expected);
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
