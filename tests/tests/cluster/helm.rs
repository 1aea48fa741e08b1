//! Helm on a real cluster: install, test, upgrade from a former chart, roll back, uninstall.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use zstart_tests::chart::chart;
use zstart_tests::cluster::{self, ADDRESS, BUSYBOX, Cluster, NAMESPACE, REGISTRY, built_binaries};
use zstart_tests::wait;

#[test]
fn release_is_tested_upgraded_rolled_back_and_removed() {
    cluster::run("helm::release_is_tested_upgraded_rolled_back_and_removed", |cluster| async move {
        cluster.push_zstart_images(&built_binaries()?)?;
        release(&cluster).await
    });
}

async fn release(cluster: &Cluster) -> Result<()> {
    let before = objects(cluster)?;
    let former = former_chart(cluster)?;
    let image = format!("{REGISTRY}/{BUSYBOX}");
    let settings = [
        format!("image.registry={REGISTRY}/zstart"),
        "image.tag=lab".to_owned(),
        format!("controller.plainHttpRegistries={{{REGISTRY}}}"),
        format!("hostAliases[0].ip={ADDRESS}"),
        format!("hostAliases[0].hostnames[0]={}", REGISTRY.split(':').next().unwrap_or(REGISTRY)),
    ];
    let mut install = vec!["install", "zstart", &former, "--create-namespace"];
    install.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    helm(cluster, &install)?;
    // Nothing is converted yet: the test shows that the API server reaches the webhook.
    let said = helm(cluster, &["test", "zstart", "--logs"])?;
    ensure!(said.contains("the webhook reviewed a dry-run pod"), "{said}");

    let chart = chart().display().to_string();
    let test = format!("test.image={image}");
    helm(cluster, &["upgrade", "zstart", &chart, "--reuse-values", "--set", &test])?;
    let said = helm(cluster, &["test", "zstart", "--logs"])?;
    ensure!(said.contains("the webhook rewrote a dry-run pod") && said.contains(&image), "{said}");

    // A setting keeps every ready image: the installation is in order, and the test says why nothing is rewritten.
    let keeps = ["--set", "test.image=", "--set", "webhook.minSize=1Ti"];
    helm(cluster, &[&["upgrade", "zstart", &chart, "--reuse-values"], &keeps[..]].concat())?;
    let said = helm(cluster, &["test", "zstart", "--logs"])?;
    ensure!(said.contains("keeps each ready image") && said.contains("TooSmall"), "{said}");

    helm(cluster, &["rollback", "zstart", "1"])?;
    // The record of the upgraded release is still there, so the former one rewrites as well.
    let said = helm(cluster, &["test", "zstart", "--logs"])?;
    ensure!(said.contains("the webhook rewrote a dry-run pod"), "{said}");
    let during = objects(cluster)?;
    ensure!(
        !during.iter().any(|object| object.contains("zstart-test")),
        "the test left objects: {during:#?}"
    );

    helm(cluster, &["uninstall", "zstart"])?;
    // The webhook's pods answer for a while after their end has begun.
    let left = wait::until("nothing but the kept objects to be left", Duration::from_mins(2), || async {
        let left: Vec<String> = objects(cluster)?.difference(&before).cloned().collect();
        let unexpected: Vec<&String> = left.iter().filter(|object| !is_kept(object)).collect();
        ensure!(unexpected.is_empty(), "these objects are left: {unexpected:#?}");
        Ok(Some(left))
    })
    .await?;
    for kept in ["CustomResourceDefinition imageconversions.zstart.dev", "Secret zstart-webhook-ca"] {
        ensure!(left.iter().any(|object| object.starts_with(kept)), "{kept} is gone: {left:#?}");
    }
    // A pod starts without zstart.
    cluster.kubectl(&["create", "namespace", "after"])?;
    cluster.kubectl(&["label", "namespace", "after", "zstart.dev/rewrite=enabled"])?;
    let created = cluster.kubectl(&[
        "-n",
        "after",
        "run",
        "after",
        "--image",
        &image,
        "--dry-run=server",
        "-o",
        "yaml",
    ])?;
    ensure!(created.contains(&format!("image: {image}\n")), "{created}");
    Ok(())
}

/// Objects that README.md lists under "Uninstall", and those that Kubernetes makes in a namespace.
fn is_kept(object: &str) -> bool {
    let kinds = ["ImageConversion ", "FreshnessSweep "];
    let known = [
        "Namespace zstart-system",
        "Secret zstart-webhook-ca in zstart-system",
        "Secret zstart-webhook-tls in zstart-system",
        "Lease zstart-controller in zstart-system",
        "ServiceAccount default in zstart-system",
        "ConfigMap kube-root-ca.crt in zstart-system",
        "APIService v1alpha1.zstart.dev",
    ];
    let is_definition = object.starts_with("CustomResourceDefinition ") && object.ends_with(".zstart.dev");
    is_definition || kinds.iter().any(|kind| object.starts_with(kind)) || known.contains(&object)
}

/// All objects of the cluster, without those that come and go by themselves.
fn objects(cluster: &Cluster) -> Result<BTreeSet<String>> {
    let kinds = cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"])?;
    let passing = [
        "events",
        "events.events.k8s.io",
        "leases.coordination.k8s.io",
        "endpointslices.discovery.k8s.io",
        "endpoints",
    ];
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !passing.contains(kind)).collect();
    let path = "{range .items[*]}{.kind} {.metadata.name} in {.metadata.namespace}{\"\\n\"}{end}";
    let all = cluster.kubectl(&["get", &kinds.join(","), "-A", "-o", &format!("jsonpath={path}")])?;
    let leases = cluster.kubectl(&["-n", NAMESPACE, "get", "leases", "-o", &format!("jsonpath={path}")])?;
    let lines = all.lines().chain(leases.lines());
    Ok(lines.map(|line| line.strip_suffix(" in ").unwrap_or(line).trim().to_owned()).collect())
}

/// This chart as an older version with the values of the first chart.
fn former_chart(cluster: &Cluster) -> Result<String> {
    let folder = cluster.folder().join("former-chart");
    let copied = cluster.command("cp").arg("-R").arg(chart()).arg(&folder).status()?;
    ensure!(copied.success(), "failed to copy the chart");
    std::fs::write(folder.join("values.yaml"), include_str!("../chart/former-values.yaml"))?;
    let file = folder.join("Chart.yaml");
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("\nversion: ", "\nversion: 0.0.1-former-"))?;
    Ok(folder.display().to_string())
}

fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let mut helm = cluster.command("helm");
    helm.args(arguments).args(["--namespace", NAMESPACE, "--timeout", "4m"]);
    if arguments[0] != "test" {
        helm.arg("--wait");
    }
    let output = helm.output().context("failed to start helm")?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "helm {arguments:?} failed: {said}\n{}",
        cluster.pod_diagnostics(NAMESPACE)
    );
    Ok(said)
}
