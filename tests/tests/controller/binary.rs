//! The program itself: killed in the middle of its work, and told to end.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::process::{Child, Command};
use zstart_core::record::{READY, RecordReason};
use zstart_tests::cluster::own_binaries;
use zstart_tests::images::Fixture;

use crate::hold::Hold;
use crate::lab::{Lab, SYSTEM, WITHIN, configuration};
use crate::records::{says, tag_of};

fn application() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 6 << 20).layer(&[("etc/app", b"configuration")])
}

/// Starts `zstart-controller`. It is killed when this is dropped, or when this process dies.
fn start(lab: &Lab, config: &PathBuf) -> Result<Child> {
    let program = own_binaries()?.join("zstart-controller");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.arg("--config").arg(config).args(["--namespace", SYSTEM]);
    command.env("KUBECONFIG", lab.plane.kubeconfig()).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command.spawn().context("failed to start zstart-controller with setpriv")
}

fn write_config(lab: &Lab) -> Result<PathBuf> {
    let file = lab.plane.folder().join("controller.yaml");
    std::fs::write(&file, configuration(&[&lab.gateway.host()], ""))?;
    Ok(file)
}

/// Asks it to end, and answers how it did.
async fn terminate(child: &mut Child) -> Result<Option<i32>> {
    let id = child.id().context("it has ended already")?;
    let told = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    anyhow::ensure!(told.success(), "kill: {told}");
    Ok(tokio::time::timeout(WITHIN, child.wait()).await??.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_killed_leaves_no_tag_and_the_next_one_finishes() -> Result<()> {
    let lab = Lab::start().await?;
    let source = lab.push("app:v1", &application()).await?;
    let (image, config) = (lab.image("app:v1"), write_config(&lab)?);
    lab.deploy("on", "web", &image).await?;
    let stored = lab.stored("app");
    for (method, part) in [
        (Method::GET, "/blobs/sha256:"),
        (Method::PATCH, "/blobs/uploads/"),
        (Method::PUT, "/blobs/uploads/"),
        (Method::PUT, "/manifests/"),
    ] {
        let hold = Hold::default();
        lab.gateway.fault(method.clone(), part, hold.fault());
        let mut controller = start(&lab, &config)?;
        hold.arrived(&format!("{method} {part}")).await?;
        controller.kill().await?;
        lab.gateway.heal();
        assert_eq!(stored.tags().await?, ["v1"], "{method} {part}");
        let record = lab.records().get(&crate::records::name_of(&image)?).await?;
        assert_eq!(record.status.unwrap_or_default().variant, None, "{method} {part}");
    }
    // It was converting, as far as anybody knows.
    let message = lab.not_ready(&image, RecordReason::Converting).await?;
    assert!(message.contains(source.as_str()), "{message}");

    let mut controller = start(&lab, &config)?;
    let variant = lab.ready(&image).await?.variant.context("no variant")?;
    let tag = tag_of(&image, &source)?;
    assert_eq!(Some(&stored.digest(&tag).await?), variant.reference.digest());
    let (after, before) = (stored.manifest(&tag, "amd64").await?, stored.manifest("v1", "amd64").await?);
    stored.require_variant(&after, &before).await?;
    assert_eq!(terminate(&mut controller).await?, Some(0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_told_to_end_does_so_at_once_and_leaves_no_tag() -> Result<()> {
    let lab = Lab::start().await?;
    lab.push("app:v1", &application()).await?;
    let (image, config) = (lab.image("app:v1"), write_config(&lab)?);
    lab.deploy("on", "web", &image).await?;
    let hold = Hold::default();
    lab.gateway.fault(Method::PATCH, "/blobs/uploads/", hold.fault());
    let mut controller = start(&lab, &config)?;
    hold.arrived("upload a layer").await?;
    // The request is held for longer than anybody would wait.
    assert_eq!(terminate(&mut controller).await?, Some(0));
    assert_eq!(lab.stored("app").tags().await?, ["v1"]);
    let status = lab.records().get(&crate::records::name_of(&image)?).await?.status.context("no status")?;
    assert_eq!(says(&status, READY).0, "False");
    Ok(())
}

#[tokio::test]
async fn a_controller_that_can_not_start_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("controller.yaml");
    std::fs::write(&config, "recheckInterval: soon\n")?;
    let program = own_binaries()?.join("zstart-controller");
    let ended = Command::new(&program).arg("--config").arg(&config).args(["--namespace", SYSTEM]).output();
    let ended = tokio::time::timeout(WITHIN, ended).await??;
    let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("controller.yaml") && said.contains("recheckInterval"), "{said}");
    Ok(())
}
