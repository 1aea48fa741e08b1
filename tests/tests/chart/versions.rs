//! The rendered objects against the APIs of all Kubernetes versions that the chart supports.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use zstart_tests::chart::{Helm, chart, ci_values, schemas, variant_name};
use zstart_tests::tools::{self, Tool};

/// Kinds of other programs, whose definitions aren't in Kubernetes.
const FOREIGN_KINDS: [&str; 5] = [
    "cert-manager.io/v1/Certificate",
    "cert-manager.io/v1/Issuer",
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
];

#[tokio::test]
async fn renders_are_valid_in_every_supported_version() -> Result<()> {
    let helm = Helm::find().await?;
    let kubeconform = tools::find(Tool::Kubeconform).await?;
    let schemas = schemas::folder().await?;
    let renders = tempfile::tempdir()?;
    let mut expected = 0;
    for values in ci_values()? {
        let text = helm.text(&values).await?;
        expected +=
            serde_saphyr::from_multiple::<Value>(&text)?.iter().filter(|object| !object.is_null()).count();
        std::fs::write(renders.path().join(format!("{}.yaml", variant_name(&values)?)), text)?;
    }
    for (version, _) in schemas::VERSIONS {
        let mut command = Command::new(&kubeconform);
        command.args(["-strict", "-output", "json", "-summary", "-kubernetes-version"]);
        command.arg(version.trim_start_matches('v')).arg("-schema-location");
        command.arg(format!(
            "{}/{version}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
            schemas.display()
        ));
        // cert-manager and the Prometheus Operator define these kinds.
        command.args(["-skip", &FOREIGN_KINDS.join(",")]);
        let output = command.arg(renders.path()).output().context("failed to start kubeconform")?;
        let report: Value = serde_json::from_slice(&output.stdout)?;
        ensure!(output.status.success(), "Kubernetes {version}: {:#}", report["resources"]);
        let count = |name: &str| report["summary"][name].as_u64().unwrap_or_default();
        let (valid, skipped) = (count("valid"), count("skipped"));
        ensure!(
            valid + skipped == expected as u64,
            "Kubernetes {version}: {} of {expected} checked",
            valid + skipped
        );
        ensure!(skipped < 20, "Kubernetes {version}: {skipped} objects were skipped");
    }
    Ok(())
}

#[test]
fn oldest_checked_version_is_the_charts_lowest() -> Result<()> {
    let text = std::fs::read_to_string(chart().join("Chart.yaml"))?;
    let (oldest, _) = schemas::VERSIONS[0];
    let minor = oldest.rsplit_once('.').context("a version has three parts")?.0.trim_start_matches('v');
    assert!(
        text.contains(&format!("kubeVersion: \">={minor}.0-0\"")),
        "the oldest version checked is {oldest}"
    );
    Ok(())
}

/// A misspelt field that the API server would drop without a word.
#[tokio::test]
async fn misspelt_field_is_found_in_every_version() -> Result<()> {
    let kubeconform = tools::find(Tool::Kubeconform).await?;
    let schemas = schemas::folder().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("service.yaml");
    std::fs::write(&file, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ipFamilys: [IPv6]}\n")?;
    for (version, _) in schemas::VERSIONS {
        let mut command = Command::new(&kubeconform);
        command.args(["-strict", "-kubernetes-version", version.trim_start_matches('v'), "-schema-location"]);
        command.arg(format!(
            "{}/{version}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json",
            schemas.display()
        ));
        let output = command.arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains("ipFamilys"), "Kubernetes {version}: {said}");
    }
    Ok(())
}
