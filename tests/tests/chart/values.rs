//! Values of the chart: schema, documentation, and the generated definition.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;
use zstart_tests::chart::{Helm, chart, ci_values};

#[tokio::test]
async fn ci_values_pass_helm_lint() -> Result<()> {
    let helm = Helm::find().await?;
    for values in ci_values()? {
        helm.run(["lint", "--strict", "--values"], [values.as_path(), &chart()]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn invalid_value_is_refused_with_its_path() -> Result<()> {
    let helm = Helm::find().await?;
    let cases = [
        ("controller.level=23", ["/controller/level", "want 22"]),
        ("controller.replicas=0", ["/controller/replicas", "minimum"]),
        ("controller.usePullSecrets=sometimes", ["/controller/usePullSecrets", "auto"]),
        ("controller.usePullSecrets={A}", ["/controller/usePullSecrets", "pattern"]),
        ("controller.usePullSecrets.names={a}", ["/controller/usePullSecrets", "namespaces"]),
        ("controller.level=three", ["/controller/level", "want integer"]),
        ("controller.platforms=linux", ["/controller/platforms", "'nodes', 'all'"]),
        ("controller.measurePulls=sometimes", ["/controller/measurePulls", "want boolean"]),
        ("controller.tagChildren=sometimes", ["/controller/tagChildren", "'auto', 'always', 'never'"]),
        (
            "controller.plainHttpRegistries={http://registry.lab}",
            ["/controller/plainHttpRegistries/0", "pattern"],
        ),
        ("webhook.maxStaleness=10minutes", ["/webhook/maxStaleness", "10minutes"]),
        ("webhook.timeoutSeconds=3", ["/webhook/timeoutSeconds", "want 2"]),
        ("webhook.whenNoNode=guess", ["/webhook/whenNoNode", "'leave', 'rewrite'"]),
        ("webhook.allowedControllers={Rollout}", ["/webhook/allowedControllers/0", "pattern"]),
        ("webhook.allowedTargets={myteam}", ["/webhook/allowedTargets/0", "pattern"]),
        ("webhook.allowedTargets={index.docker.io/team}", ["/webhook/allowedTargets/0", "not"]),
        ("webhook.allowedTargets={r.example//team}", ["/webhook/allowedTargets/0", "pattern"]),
        ("controller.platforms={linux/amd46}", ["/controller/platforms/0", "amd64"]),
        ("controller.platforms={windows/amd64}", ["/controller/platforms/0", "linux/"]),
        ("controller.platforms={linux/arm64/v7}", ["/controller/platforms/0", "linux/"]),
        (
            "controller.plainHttpRegistries={registry.lab:99999}",
            ["/controller/plainHttpRegistries/0", "pattern"],
        ),
        ("controller.plainHttpRegistries={registry.lab:0}", ["/controller/plainHttpRegistries/0", "pattern"]),
        ("webhook.allowedTargets={registry.lab:65536/team}", ["/webhook/allowedTargets/0", "pattern"]),
        ("image.registry=registry.lab:70000/zstart", ["/image/registry", "pattern"]),
        ("image.registry=https://registry.lab", ["/image/registry", "pattern"]),
        ("webhook.image.name=Webhook", ["/webhook/image/name", "pattern"]),
        ("controller.platformRetention=7d", ["/controller/platformRetention", "pattern"]),
        ("controller.recheckInterval=99999999h", ["/controller/recheckInterval", "pattern"]),
        ("webhook.maxStalenessAlways=2minutes", ["/webhook/maxStalenessAlways", "pattern"]),
        ("webhook.maxCacheAge=0s", ["/webhook/maxCacheAge", "pattern"]),
        ("webhook.runtimes.containerd=2", ["/webhook/runtimes/containerd", "want string"]),
        ("webhook.runtimes.containrd=v", ["/webhook/runtimes", "containrd"]),
        ("webhook.whenNoNode={pool!=a}", ["/webhook/whenNoNode/0", "pattern"]),
        ("webhook.whenNoNode={pool in (a}", ["/webhook/whenNoNode/0", "pattern"]),
        ("webhook.minSize=10MB", ["/webhook/minSize", "pattern"]),
        ("webhook.minSize=-1", ["/webhook/minSize", "want 0"]),
        ("webhook.minGain=101", ["/webhook/minGain", "want 100"]),
        ("webhook.minGain=12%", ["/webhook/minGain", "pattern"]),
        ("webhook.signedImages={a b}", ["/webhook/signedImages/0", "pattern"]),
        ("webhook.drain.grace=21s", ["/webhook/drain/grace", "pattern"]),
        ("webhook.drain.grace=0s", ["/webhook/drain/grace", "pattern"]),
        ("webhook.excludedNamespaces={Kube-Public}", ["/webhook/excludedNamespaces/0", "pattern"]),
        ("webhook.extraEnv[0].name=RUST_LOG", ["/webhook/extraEnv/0/name", "not"]),
        ("podSecurityContext.runAsUser=nobody", ["/podSecurityContext/runAsUser", "want null or integer"]),
        (
            "controller.podAnnotations.checksum/config=x",
            ["/controller/podAnnotations/checksum~1config", "reserved: the chart sets this annotation"],
        ),
        ("controller.platforms=null", ["controller.platforms is unset", "nodes"]),
        (
            "networkPolicy.enabled=true,networkPolicy.apiServerPorts=null",
            ["networkPolicy.apiServerPorts", "every port"],
        ),
        (
            "networkPolicy.enabled=true,networkPolicy.registryPorts=null",
            ["networkPolicy.registryPorts", "every port"],
        ),
        ("webhook.image.digest=latest", ["/webhook/image/digest", "pattern"]),
        ("webhook.port=8080", ["webhook.port and webhook.healthPort are both 8080", "different ports"]),
        ("webhook.hostNetwork=true,webhook.port=443", ["webhook.hostNetwork", "at least 1024"]),
        ("webhook.hostNetwork=true,webhook.port=10250", ["webhook.port is 10250", "another port"]),
        (
            "webhook.hostNetwork=true,webhook.healthPort=10256",
            ["webhook.healthPort is 10256", "another port"],
        ),
        ("fullnameOverride=on", ["\"on\"", "not be a YAML keyword"]),
        ("logLevel=inof", ["/logLevel", "pattern"]),
        ("logFormat=xml", ["/logFormat", "value must be one of"]),
        ("logLevel=foo=verbose", ["/logLevel", "pattern"]),
        ("logLevel=info\\,", ["/logLevel", "pattern"]),
        (
            "commonLabels.app\\.kubernetes\\.io/part-of=x",
            ["/commonLabels/app.kubernetes.io~1part-of", "reserved: the chart sets this label"],
        ),
        (
            "controller.podLabels.zstart\\.dev/rewrite=enabled",
            ["/controller/podLabels/zstart.dev~1rewrite", "reserved: the chart sets this label"],
        ),
        ("commonLabels.cost=7 per cent", ["/commonLabels/cost", "pattern"]),
        ("webhook.podLabels.-team=a", ["/webhook/podLabels", "'-team' not allowed"]),
        ("webhok.replicas=3", ["additional properties", "webhok"]),
        ("controller.recheckintervall=1m", ["/controller", "recheckintervall"]),
        ("records.immutableTags={a b}", ["/records/immutableTags/0", "pattern"]),
    ];
    for (set, expected) in cases {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        for part in expected {
            assert!(message.contains(part), "--set {set} says {message:?} without {part:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn recheck_interval_must_be_below_max_staleness() -> Result<()> {
    let helm = Helm::find().await?;
    for (recheck, staleness) in [("15m", "15m"), ("1h", "59m"), ("61s", "1m")] {
        let sets =
            [format!("controller.recheckInterval={recheck}"), format!("webhook.maxStaleness={staleness}")];
        let sets: Vec<&str> = sets.iter().map(String::as_str).collect();
        let message = helm.fails_to_render("zstart", &sets).await?;
        assert!(message.contains("controller.recheckInterval"), "{message}");
        assert!(message.contains("must be shorter than webhook.maxStaleness"), "{message}");
    }
    helm.render("zstart", &["controller.recheckInterval=59m", "webhook.maxStaleness=1h"]).await?;
    Ok(())
}

#[tokio::test]
async fn recheck_always_must_be_below_max_staleness_always() -> Result<()> {
    let helm = Helm::find().await?;
    let message = helm.fails_to_render("zstart", &["controller.recheckIntervalAlways=2m"]).await?;
    assert!(message.contains("must be shorter than webhook.maxStalenessAlways (2m)"), "{message}");
    for other in ["controller.recheckInterval=1m", "webhook.maxStalenessAlways=121s"] {
        helm.render("zstart", &["controller.recheckIntervalAlways=2m", other]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn release_name_must_sort_after_the_fargate_webhook() -> Result<()> {
    let helm = Helm::find().await?;
    let message = helm.fails_to_render("00-zstart", &[]).await?;
    assert!(message.contains("must start with a letter"), "{message}");
    Ok(())
}

#[tokio::test]
async fn generated_files_match_their_sources() -> Result<()> {
    zstart_tests::generated::check().await
}

#[test]
fn artifact_hub_lists_the_charts_images_and_definitions() -> Result<()> {
    let read = |file: &str| std::fs::read_to_string(chart().join(file));
    let metadata: Value = serde_saphyr::from_str(&read("Chart.yaml")?)?;
    let values: Value = serde_saphyr::from_str(&read("values.yaml")?)?;
    let annotation = |name: &str| -> Result<Vec<Value>> {
        let text = metadata["annotations"][format!("artifacthub.io/{name}")].as_str();
        Ok(serde_saphyr::from_str(text.with_context(|| format!("no annotation {name}"))?)?)
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let expected = ["controller", "webhook"].map(|program| {
        let (registry, image) = (text(&values["image"]["registry"]), text(&values[program]["image"]["name"]));
        format!("{registry}/{image}:{}", text(&metadata["appVersion"]))
    });
    let images: Vec<String> = annotation("images")?.iter().map(|image| text(&image["image"])).collect();
    assert_eq!(images, expected);
    let definitions: Vec<Value> = serde_saphyr::from_multiple(&read("files/crd.yaml")?)?;
    let kinds: Vec<_> = definitions
        .iter()
        .map(|found| (found["metadata"]["name"].clone(), found["spec"]["names"]["kind"].clone()))
        .collect();
    let listed: Vec<_> =
        annotation("crds")?.iter().map(|listed| (listed["name"].clone(), listed["kind"].clone())).collect();
    assert_eq!(listed, kinds);
    Ok(())
}

#[test]
fn crd_in_the_chart_matches_the_rust_types() -> Result<()> {
    let path = chart().join("files/crd.yaml");
    let file = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    let (comment, definition) = file.split_once('\n').context("files/crd.yaml is empty")?;
    assert!(comment.starts_with('#'), "the first line says where the file comes from");
    let documents: Result<Vec<String>, _> =
        zstart_core::custom_resources().iter().map(serde_saphyr::to_string).collect();
    let expected = documents?.join("---\n");
    assert!(
        definition == expected,
        "charts/zstart/files/crd.yaml differs from the types in crates/core/src/record.rs and owner_hold.rs; generate it with:\n  \
         cargo run -q -p zstart-cli -- crd > charts/zstart/files/crd.yaml"
    );
    Ok(())
}
