//! Docker's configuration and its credential helpers.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use zstart_core::Reference;
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Gateway, TokenLogin};
use zstart_tests::registry::{Login, Registry};

use crate::command::{Zstart, finish};

const PASSWORD: &str = "correct horse";

/// A registry with a login and an image.
async fn registry_with_login() -> Result<Registry> {
    zstart_tests::control_plane::install_crypto();
    let login = Login::Basic { username: "user".into(), password: PASSWORD.into() };
    let registry = Registry::start_with(login).await?;
    let reference: Reference = format!("{}/app:v1", registry.host()).parse()?;
    let client = RegistryClient::new(RegistryOptions {
        plain_http: vec![registry.host()],
        ..RegistryOptions::default()
    })?;
    let credentials = Credentials::basic("user", PASSWORD);
    let image = Fixture::new().layer(&[("etc/app", b"configuration")]).prepare()?;
    image.store(&*client.repository(&reference, credentials), &"v1".parse()?).await?;
    Ok(registry)
}

#[tokio::test]
async fn credential_helper_on_the_path_is_asked() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = registry_with_login().await?;
    let name = format!("{}/app:v1", registry.host());
    let ended = zstart.run(&["convert", &name]).await?;
    assert_eq!(ended.code, Some(4), "anonymous access is refused: {ended:#?}");

    let helpers = zstart.folder().join("helpers");
    fs::create_dir(&helpers)?;
    let asked = zstart.folder().join("asked");
    let script = format!(
        "#!/bin/sh\nread -r server\necho \"$1 $server\" >> '{}'\n\
         echo '{{\"Username\":\"user\",\"Secret\":\"{PASSWORD}\"}}'\n",
        asked.display()
    );
    let program = helpers.join("docker-credential-lab");
    fs::write(&program, script)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    zstart.docker_config(&json!({"credHelpers": {(registry.host()): "lab"}}))?;

    let path = format!("{}:/usr/bin:/bin", helpers.display());
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
async fn authfile_takes_precedence_over_docker_config() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = registry_with_login().await?;
    let name = format!("{}/app:v1", registry.host());
    let entry =
        |password: &str| json!({"auths": {(registry.host()): {"username": "user", "password": password}}});
    zstart.docker_config(&entry(PASSWORD))?;
    assert_eq!(zstart.run(&["inspect", &name]).await?.code, Some(0));
    let file = zstart.folder().join("auth.json");
    fs::write(&file, serde_json::to_vec(&entry("wrong"))?)?;
    let ended = zstart.run(&["inspect", &name, "--authfile", &file.display().to_string()]).await?;
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert!(ended.stderr.contains(&format!("{}/app", registry.host())), "{}", ended.stderr);

    // Without DOCKER_CONFIG, the file in the home folder is read.
    let home = zstart.folder().join(".docker");
    fs::rename(zstart.folder().join("docker"), &home)?;
    let ended = finish(zstart.command(&["inspect", &name]).env_remove("DOCKER_CONFIG")).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn passwords_and_tokens_are_not_logged_at_trace_level() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("etc/app", b"configuration")]).push(&registry.host(), "app:v1").await?;
    let login = TokenLogin { username: "user".into(), password: PASSWORD.into() };
    let by_token = Gateway::start_with(&registry.host(), Some(login)).await?;
    let by_password = registry_with_login().await?;
    for host in [by_token.host(), by_password.host()] {
        let name = format!("{host}/app:v1");
        for (password, code) in [("another password", 4), (PASSWORD, 0)] {
            // Format of `docker login`.
            let encoded = STANDARD.encode(format!("user:{password}"));
            zstart.docker_config(&json!({"auths": {(&*host): {"auth": encoded}}}))?;
            let ended = zstart.run(&["--log", "trace", "convert", &name]).await?;
            assert_eq!(ended.code, Some(code), "{ended:#?}");
            assert!(ended.stderr.contains("TRACE") && ended.stderr.contains("user"), "{}", ended.stderr);
            // The gateway's tokens begin with "token-".
            for secret in [password, &encoded, "token-"] {
                assert!(
                    !format!("{}{}", ended.stdout, ended.stderr).contains(secret),
                    "{secret}: {ended:#?}"
                );
            }
        }
    }
    assert!(by_token.calls().iter().any(|call| call.contains("GET /token?")), "{:#?}", by_token.calls());
    Ok(())
}
