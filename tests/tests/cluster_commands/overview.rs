//! `zstart status` and `zstart report`, on records of a real API server.

use anyhow::{Context as _, Result};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use zstart_core::record::record_name;
use zstart_core::{Digest, ImageConversion};

use crate::lab::{Installation, Lab};

const APP: &str = "r.example/app:v1";

/// Changes the status of a record.
async fn change(lab: &Lab, image: &str, status: &Value) -> Result<()> {
    let records: Api<ImageConversion> = Api::all(lab.admin.clone());
    let patch = Patch::Merge(json!({"status": status}));
    records.patch_status(&record_name(&image.parse()?), &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Condition `Ready` that isn't met.
fn unready(reason: &str, message: &str) -> Value {
    json!({"conditions": [{"type": "Ready", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": jiff::Timestamp::now()}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_states_and_lists_what_needs_a_look() -> Result<()> {
    let mut zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let ended = lab.zstart(&["status"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("\nrecords      0: 0 ready\n"), "{ended:#?}");
    assert!(ended.stdout.contains("note: no controller leads"), "{ended:#?}");

    for image in [APP, "r.example/denied:v1", "r.example/old:v1"] {
        lab.record(image).await?;
    }
    change(lab, "r.example/denied:v1", &unready("PushDenied", "403 for a push to r.example/denied")).await?;
    let hour_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    change(lab, "r.example/old:v1", &json!({"source": {"checkedAt": hour_ago}})).await?;
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1"});
    let hold = json!({"apiVersion": "zstart.dev/v1alpha1", "kind": "OwnerHold", "metadata": {"name": "db"},
        "spec": {"owner": owner, "template": "", "reason": "ImagePatchedBack", "message": "patched back twice"}});
    lab.create(Some("on"), hold).await?;

    let ended = lab.zstart(&["status"]).await?;
    for line in [
        "zstart       namespace zstart-system, controller 1 of 1 available, webhook 2 of 2 available\n",
        "namespaces   1 enabled, 0 in audit mode\n",
        "records      3: 1 ready, 1 failed, 1 stale\n",
        "on hold      1 owner\n",
        "failed   r.example/denied:v1  PushDenied ",
        "  403 for a push to r.example/denied\n",
        "stale    r.example/old:v1     RecordStale ",
        "on hold  StatefulSet on/db    ImagePatchedBack ",
    ] {
        assert!(ended.stdout.contains(line), "{line:?} is missing in {}", ended.stdout);
    }
    let ended = lab.zstart(&["status", "--json"]).await?;
    let report: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!((&report["states"]["stale"], &report["holds"][0]["owner"]), (&json!(1), &json!("db")));

    // A user without rights learns which one is missing.
    zstart.lab.impersonate("alice")?;
    let ended = zstart.lab.zstart(&["status"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("failed to list webhook configurations"), "{ended:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn report_has_the_same_figures_in_every_form() -> Result<()> {
    let zstart = Installation::start().await?;
    let lab = &zstart.lab;
    let ended = lab.zstart(&["report"]).await?;
    assert!(ended.stdout.starts_with("no image has a variant yet"), "{ended:#?}");
    lab.record(APP).await?;
    let figures = |pulls: i64, median: i64| json!({"pulls": pulls, "medianMilliseconds": median});
    let pulls = json!({"pulls": {"sourceDigest": Digest::sha256_of(APP.as_bytes()), "original": figures(3, 9_000),
        "variant": figures(4, 4_000), "summary": {"original": "", "variant": "", "saved": ""}}});
    change(lab, APP, &pulls).await?;

    let ended = lab.zstart(&["report"]).await?;
    assert!(
        ended.stdout.contains("\npull time saved    20.0s in 4 measured pulls of variants"),
        "{ended:#?}"
    );
    let ended = lab.zstart(&["report", "-o", "json"]).await?;
    let report: Value = serde_json::from_str(&ended.stdout)?;
    assert_eq!(report["total"]["secondsSaved"], 20.0, "{report:#}");
    let ended = lab.zstart(&["report", "--output", "csv"]).await?;
    let line = ended.stdout.lines().nth(1).context("no line")?;
    assert!(
        line.starts_with("r.example/app:v1,") && line.contains(",3,9000,4,4000,false,20.000,4,"),
        "{line}"
    );
    let ended = lab.zstart(&["report", "--output", "html"]).await?;
    assert!(ended.stdout.starts_with("<!DOCTYPE html>"), "{ended:#?}");
    assert!(ended.stdout.contains("4.0s (median of 4)") && ended.stdout.contains("20.0s"), "{ended:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_without_zstart_has_no_status() -> Result<()> {
    let lab = Lab::start().await?;
    for (command, said) in [("status", "zstart isn't installed"), ("report", "the cluster doesn't know")] {
        let ended = lab.zstart(&[command]).await?;
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    Ok(())
}
