//! `zstart check` in good clusters and in broken ones.

use anyhow::{Context as _, Result};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use zstart_tests::chart::NAMESPACE;

use crate::lab::{Installation, Lab, authority, find};
use crate::objects;

/// Text of a check, whose outcome must be this one.
fn text<'a>(report: &'a Value, name: &str, outcome: &str) -> Result<&'a str> {
    let check = find(report, name).with_context(|| format!("no check {name} in {report:#}"))?;
    anyhow::ensure!(check["outcome"] == outcome, "{check:#}");
    anyhow::ensure!(check["todo"].is_string() == matches!(outcome, "warning" | "failed"), "{check:#}");
    check["text"].as_str().context("no text")
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_cluster_gets_the_checks_before_the_install() -> Result<()> {
    let mut lab = Lab::start().await?;
    let ended = lab.zstart(&["check"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    for line in [
        "before the installation\n",
        "  ✓ you may create the 14 kinds of objects of the chart in zstart-system\n",
        "  ✓ every node can start zstd images: containerd://2.1.6: 1 node\n",
        "  ✓ no definition of imageconversions.zstart.dev is in the way\n",
    ] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }

    lab.impersonate("alice")?;
    let ended = lab.zstart(&["check", "--json"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("1 of "), "{ended:#?}");
    let report = serde_json::from_str(&ended.stdout)?;
    assert!(
        text(&report, "install-rights", "failed")?
            .starts_with("you may not create: customresourcedefinitions")
    );
    assert_eq!(text(&report, "node-runtimes", "skipped")?, "you may not list nodes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_api_server_is_a_failed_check() -> Result<()> {
    let lab = Lab::start().await?;
    let nowhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "users": [{"name": "a", "user": {}}],
    });
    let lab = lab.with_kubeconfig(&nowhere)?;
    let ended = lab.zstart(&["check"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stdout.contains("✗ the API server doesn't answer"), "{ended:#?}");
    assert!(ended.stdout.contains("→ compare with kubectl get --raw /version"), "{ended:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_installation_passes_every_check() -> Result<()> {
    let zstart = Installation::start().await?;
    let (code, report) = zstart.lab.check_until("dry-run-pod", "passed").await?;
    assert_eq!((code, &report["failed"], &report["warnings"]), (Some(0), &json!(0), &json!(0)), "{report:#}");
    assert_eq!(report["skipped"], 0, "{report:#}");
    assert_eq!(
        text(&report, "dry-run-pod", "passed")?,
        "the API server reaches the webhook: it reviewed a dry-run pod in namespace on"
    );
    assert!(
        text(&report, "certificate", "passed")?
            .contains("valid for zstart-webhook.zstart-system.svc until 2126")
    );
    let ended = zstart.lab.zstart(&["check"]).await?;
    assert!(ended.stdout.contains("\n  ✓ the webhook has 2 of 2 replicas available"), "{}", ended.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_certificate_and_stopped_webhook_are_crosses() -> Result<()> {
    let mut zstart = Installation::start().await?;
    zstart.lab.check_until("dry-run-pod", "passed").await?;

    zstart.trust(&authority()?).await?;
    let (code, report) = zstart.lab.check_until("dry-run-pod", "failed").await?;
    assert_eq!(code, Some(1), "{report:#}");
    assert!(
        text(&report, "certificate", "failed")?
            .starts_with("no authority in the webhook configuration's caBundle")
    );
    assert!(text(&report, "dry-run-pod", "failed")?.contains("without the webhook's answer"));

    zstart.trust(&zstart.authority).await?;
    zstart.lab.check_until("dry-run-pod", "passed").await?;
    zstart.webhook.kill().await?;
    let (code, report) = zstart.lab.check_until("dry-run-pod", "failed").await?;
    assert_eq!((code, &report["failed"]), (Some(1), &json!(1)), "{report:#}");
    let ended = zstart.lab.zstart(&["check"]).await?;
    assert!(
        ended.stdout.contains("  ✗ the API server admitted a dry-run pod in namespace on"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("      → mend other failed checks first."), "{}", ended.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mistyped_label_old_node_and_policy_are_warnings() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    lab.namespace("shop", "true").await?;
    lab.create(None, objects::node("old-node", "containerd://1.4.13")).await?;
    lab.create(None, objects::kyverno()).await?;
    lab.check_until("signature-policies", "passed").await?;
    let rule = json!({"name": "signed", "verifyImages": [{"imageReferences": ["ghcr.io/shop/*:*"]}]});
    let policy = json!({"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "metadata": {"name": "signed"},
        "spec": {"rules": [rule]}});
    lab.create(None, policy).await?;

    lab.check_until("dry-run-pod", "passed").await?;
    let (code, report) = lab.check_until("signature-policies", "warning").await?;
    assert_eq!((code, &report["warnings"]), (Some(0), &json!(3)), "{report:#}");
    assert_eq!(
        text(&report, "namespace-labels", "warning")?,
        "a label's value isn't known, so zstart ignores: shop (zstart.dev/rewrite=true)"
    );
    assert!(text(&report, "node-runtimes", "warning")?.contains("node old-node (containerd://1.4.13)"));
    assert!(text(&report, "signature-policies", "warning")?.ends_with("replace: ghcr.io/shop/*"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_right_on_leases_is_a_cross() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let ended = lab.zstart(&["check"]).await?;
    let passed = "✓ the controller has its rights (system:serviceaccount:zstart-system:zstart-controller)";
    assert!(ended.stdout.contains(passed), "{}", ended.stdout);
    let bindings: Api<RoleBinding> = Api::namespaced(lab.admin.clone(), NAMESPACE);
    bindings.delete("zstart-controller", &DeleteParams::default()).await?;
    let (code, report) = lab.check_until("program-rights", "failed").await?;
    assert_eq!(code, Some(1), "{report:#}");
    let expected = "may not create leases.coordination.k8s.io in zstart-system, get leases.coordination.k8s.io in \
                    zstart-system, update leases.coordination.k8s.io in zstart-system";
    let text = text(&report, "program-rights", "failed")?;
    assert!(text.ends_with(expected), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_right_on_jobs_is_a_cross_with_that_executor() -> Result<()> {
    for (executor, is_missing) in [("pool", false), ("jobs", true)] {
        let zstart = Installation::start_with(&format!("controller.executor={executor}")).await?;
        let lab = &zstart.lab;
        lab.check_until("program-rights", "passed").await?;
        let roles: Api<Role> = Api::namespaced(lab.admin.clone(), NAMESPACE);
        let mut role = roles.get("zstart-controller").await?;
        let is_for_jobs = |resources: &[String]| resources.iter().any(|one| one == "jobs" || one == "pods");
        let rules = role.rules.as_mut().context("no rules")?;
        rules.retain(|rule| !rule.resources.as_deref().is_some_and(is_for_jobs));
        roles.replace("zstart-controller", &PostParams::default(), &role).await?;
        if !is_missing {
            let (code, report) = lab.check_until("program-rights", "passed").await?;
            assert_eq!((code, &report["failed"]), (Some(0), &json!(0)), "{report:#}");
            continue;
        }
        let (code, report) = lab.check_until("program-rights", "failed").await?;
        assert_eq!(code, Some(1), "{report:#}");
        let text = text(&report, "program-rights", "failed")?;
        // The controller lists the Jobs and pods of all namespaces anyway.
        let expected =
            ["get jobs.batch", "create jobs.batch", "patch jobs.batch", "delete jobs.batch", "get pods"];
        let expected = expected.map(|right| format!("{right} in zstart-system")).join(", ");
        assert!(text.ends_with(&format!("may not {expected}")), "{text}");
    }
    Ok(())
}
