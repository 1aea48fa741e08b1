//! Credential helpers: programs that docker's configuration names.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::Command;
use zstart_tests::wait;

use crate::command::{Zstart, finish};
use crate::credentials::{PASSWORD, registry_with_login};

/// Limit for steps that take seconds.
const WITHIN: Duration = Duration::from_secs(30);

/// Installs the helper `lab`, made of shell commands, and returns a `PATH` with it.
fn install_helper(zstart: &Zstart, commands: &str) -> Result<String> {
    let folder = zstart.folder().join("helpers");
    fs::create_dir(&folder)?;
    let program = folder.join("docker-credential-lab");
    fs::write(&program, format!("#!/bin/sh\n{commands}\n"))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    Ok(format!("{}:/usr/bin:/bin", folder.display()))
}

#[tokio::test]
async fn credential_helper_on_the_path_is_asked() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = registry_with_login().await?;
    let name = format!("{}/app:v1", registry.host());
    let ended = zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(4), "anonymous access is refused: {ended:#?}");

    let asked = zstart.folder().join("asked");
    let commands = format!(
        "read -r server; echo \"$1 $server\" >> '{}'; echo '{{\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"}}'",
        asked.display()
    );
    let path = install_helper(&zstart, &commands)?;
    zstart.docker_config(&json!({"credHelpers": {(registry.host()): "lab"}}))?;
    let ended = finish(zstart.command(&["convert", &name]).env("PATH", path)).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let asked = fs::read_to_string(asked)?;
    assert!(asked.lines().all(|line| line == format!("get {}", registry.host())), "{asked}");
    assert!(!format!("{ended:?}").contains(PASSWORD));
    Ok(())
}

#[tokio::test]
async fn missing_credential_helper_is_named() -> Result<()> {
    let zstart = Zstart::find()?;
    zstart.docker_config(&json!({"credHelpers": {"registry.example": "nowhere"}}))?;
    let ended = zstart.run(&["inspect", "registry.example/app:v1"]).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    for text in ["docker-credential-nowhere", "registry.example"] {
        assert!(ended.stderr.contains(text), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn helper_under_docker_hubs_old_key_is_asked() -> Result<()> {
    let zstart = Zstart::find()?;
    for key in ["https://index.docker.io/v1/", "index.docker.io", "docker.io"] {
        zstart.docker_config(&json!({"credHelpers": {key: "nowhere"}}))?;
        // The proxy refuses connections: a version that ignores the helper can't reach Docker Hub either.
        let mut command = zstart.command(&["inspect", "nginx:v1"]);
        let ended = finish(command.env("HTTPS_PROXY", "http://127.0.0.1:1")).await?;
        assert_eq!(ended.code, Some(1), "{key}: {ended:#?}");
        for text in ["docker-credential-nowhere", "credHelpers for docker.io", "https://index.docker.io/v1/"]
        {
            assert!(ended.stderr.contains(text), "{key}: {}", ended.stderr);
        }
    }
    Ok(())
}

#[tokio::test]
async fn helper_is_asked_for_both_names_of_docker_hub() -> Result<()> {
    let zstart = Zstart::find()?;
    let asked = zstart.folder().join("asked");
    // podman stores Docker Hub's login under `docker.io`.
    let commands = format!(
        "server=$(cat); echo \"$server\" >> '{}'\n\
         test \"$server\" = docker.io || {{ echo 'credentials not found in native keychain'; exit 1; }}\n\
         echo 'keychain is locked'; exit 1",
        asked.display()
    );
    let path = install_helper(&zstart, &commands)?;
    zstart.docker_config(&json!({"credsStore": "lab"}))?;
    let mut command = zstart.command(&["inspect", "nginx:v1"]);
    let ended = finish(command.env("PATH", path).env("HTTPS_PROXY", "http://127.0.0.1:1")).await?;
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("failed for docker.io"), "{}", ended.stderr);
    assert!(ended.stderr.contains("keychain is locked"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(asked)?, "https://index.docker.io/v1/\ndocker.io\n");
    Ok(())
}

#[tokio::test]
async fn helper_in_the_current_folder_is_not_run() -> Result<()> {
    let zstart = Zstart::find()?;
    let started = zstart.folder().join("started");
    install_helper(&zstart, &format!("touch '{}'; exit 1", started.display()))?;
    zstart.docker_config(&json!({"credsStore": "lab"}))?;
    for path in ["", ":/usr/bin", "/usr/bin:", ".", "../helpers", "/usr/bin::/bin"] {
        let mut command = zstart.command(&["inspect", "registry.example/app:v1"]);
        command.env("PATH", path).current_dir(zstart.folder().join("helpers"));
        let ended = finish(&mut command).await?;
        assert_eq!(ended.code, Some(1), "{path}: {ended:#?}");
        assert!(ended.stderr.contains("no such program"), "{path}: {}", ended.stderr);
        assert!(!started.exists(), "{path}: zstart ran the program of the current folder");
    }
    Ok(())
}

#[tokio::test]
async fn stop_signal_ends_the_helper_too() -> Result<()> {
    let zstart = Zstart::find()?;
    let started = zstart.folder().join("started");
    let commands = format!("sleep 1000 & echo $! > '{0}.new'; mv '{0}.new' '{0}'; wait", started.display());
    let path = install_helper(&zstart, &commands)?;
    zstart.docker_config(&json!({"credsStore": "lab"}))?;
    let mut command = zstart.command(&["inspect", "registry.example/app:v1"]);
    let mut child = command.env("PATH", path).stderr(Stdio::null()).spawn()?;
    let id = child.id().context("the program has ended")?;
    let sleep =
        wait::until("the helper to start", WITHIN, || async { Ok(fs::read_to_string(&started).ok()) })
            .await?;

    let sent = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
    ensure!(sent.success(), "kill: {sent}");
    let status = tokio::time::timeout(WITHIN, child.wait()).await.context("the program doesn't end")??;
    assert_eq!(status.code(), Some(130));
    let stat = format!("/proc/{}/stat", sleep.trim());
    wait::until("the helper's child to end", WITHIN, || async {
        let stat = fs::read_to_string(&stat).unwrap_or_default();
        let is_running = stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']));
        Ok((!is_running).then_some(()))
    })
    .await
}
