//! Credentials files of docker, podman and skopeo.

use std::fs;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};
use zstart_core::Reference;
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Gateway, TokenLogin};
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};
use zstart_tests::registry::{Login, Registry};

use crate::command::{Zstart, finish};

pub(crate) const PASSWORD: &str = "correct horse";

/// A registry with a login and an image.
pub(crate) async fn registry_with_login() -> Result<Registry> {
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

/// Configs of other clients and by hand, with one login for `host`.
fn configs(host: &str) -> Vec<(&'static str, Vec<u8>)> {
    let auth = STANDARD.encode(format!("user:{PASSWORD}"));
    let line_break = format!("{}\n{}\n", &auth[..8], &auth[8..]);
    let of = |entry: Value| json!({"auths": {host: entry}}).to_string().into_bytes();
    let good = json!({"auth": auth});
    vec![
        ("no padding", of(json!({"auth": auth.trim_end_matches('=')}))),
        ("line breaks", of(json!({"auth": line_break}))),
        ("password with a line end", of(json!({"auth": STANDARD.encode(format!("user:{PASSWORD}\n"))}))),
        ("empty user", of(json!({"auth": auth, "username": "", "password": ""}))),
        (
            "null members",
            of(json!({"auth": auth, "username": null, "password": null, "identitytoken": null})),
        ),
        ("null entry", json!({"auths": {host: good, "other.example": null}}).to_string().into_bytes()),
        ("entry of another type", json!({"auths": {host: good, "a.example": "b"}}).to_string().into_bytes()),
        (
            "useless entry",
            json!({"auths": {host: good, "a.example": {"auth": "!"}}}).to_string().into_bytes(),
        ),
        ("empty store", json!({"auths": {host: good}, "credsStore": ""}).to_string().into_bytes()),
        ("empty helper", json!({"auths": {host: good}, "credHelpers": {host: ""}}).to_string().into_bytes()),
        ("missing store", json!({"auths": {host: good}, "credsStore": "absent"}).to_string().into_bytes()),
        ("other case", json!({"Auths": {host: {"Auth": auth}}}).to_string().into_bytes()),
        ("older form", json!({host: good}).to_string().into_bytes()),
        ("byte order mark", [b"\xef\xbb\xbf".to_vec(), of(good.clone())].concat()),
        ("identity token too", of(json!({"auth": auth, "identitytoken": "hunter2"}))),
        (
            "path under a scheme",
            json!({"auths": {format!("http://{host}/artifactory"): good}}).to_string().into_bytes(),
        ),
        ("old key", json!({"auths": {format!("http://{host}/v1/"): good}}).to_string().into_bytes()),
        (
            "path",
            json!({"auths": {format!("{host}/app"): good, host: {"auth": ""}}}).to_string().into_bytes(),
        ),
    ]
}

#[tokio::test]
async fn config_of_any_client_logs_in() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = registry_with_login().await?;
    let name = format!("{}/app:v1", registry.host());
    let file = zstart.folder().join("auth.json");
    for (form, config) in configs(&registry.host()) {
        fs::write(&file, config)?;
        let ended = zstart.run(&["inspect", &name, "--authfile", &file.display().to_string()]).await?;
        assert_eq!(ended.code, Some(0), "{form}: {ended:#?}");
    }
    // No credentials are no error.
    for config in ["", "{}", "null", r#"{"auths": null, "credHelpers": null, "credsStore": null}"#] {
        fs::write(&file, config)?;
        let ended = zstart.run(&["inspect", &name, "--authfile", &file.display().to_string()]).await?;
        assert_eq!(ended.code, Some(4), "{config}: {ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn credentials_files_of_other_tools_are_read() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = registry_with_login().await?;
    let name = format!("{}/app:v1", registry.host());
    let config =
        json!({"auths": {(registry.host()): {"username": "user", "password": PASSWORD}}}).to_string();
    let home = zstart.folder();
    let folder = |name: &str| home.join(name).into_os_string();
    for (file, variable, value) in [
        ("a/auth.json", "REGISTRY_AUTH_FILE", folder("a/auth.json")),
        ("b/config.json", "DOCKER_CONFIG", folder("b")),
        ("c/containers/auth.json", "XDG_RUNTIME_DIR", folder("c")),
        ("d/containers/auth.json", "XDG_CONFIG_HOME", folder("d")),
        (".config/containers/auth.json", "XDG_CONFIG_HOME", "".into()),
        (".docker/config.json", "DOCKER_CONFIG", "".into()),
        (".dockercfg", "REGISTRY_AUTH_FILE", "".into()),
    ] {
        let path = home.join(file);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        fs::write(&path, &config)?;
        let mut command = zstart.command(&["inspect", &name]);
        let ended = finish(command.env_remove("DOCKER_CONFIG").env(variable, value)).await?;
        assert_eq!(ended.code, Some(0), "{file}: {ended:#?}");
        fs::remove_file(&path)?;
    }
    Ok(())
}

#[tokio::test]
async fn unreadable_credentials_file_is_named() -> Result<()> {
    let zstart = Zstart::find()?;
    let broken = zstart.folder().join("broken.json");
    fs::write(&broken, "{\"auths\": \"hunter2")?;
    let absent = zstart.folder().join("absent.json");
    for file in [&absent, &broken] {
        let argument = file.display().to_string();
        let by_flag = zstart.run(&["inspect", "registry.example/app:v1", "--authfile", &argument]).await?;
        let mut command = zstart.command(&["inspect", "registry.example/app:v1"]);
        let by_variable = finish(command.env("REGISTRY_AUTH_FILE", file)).await?;
        for ended in [by_flag, by_variable] {
            assert_eq!(ended.code, Some(1), "{ended:#?}");
            assert!(
                ended.stderr.contains(&argument) && !ended.stderr.contains("hunter2"),
                "{}",
                ended.stderr
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn identity_token_of_a_config_is_exchanged() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    Fixture::new().layer(&[("etc/app", b"configuration")]).push(&registry.host(), "app:v1").await?;
    let server = RawFaultServer::start(&registry.host()).await?;
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://{}/token\"", server.host());
    let refusal = http_response(&["401 Unauthorized", &challenge, "Connection: close"], b"");
    server.respond(Method::GET, "/v2/ ", RawResponse::Send(refusal));
    let token = http_response(&["200 OK", "Connection: close"], br#"{"access_token":"one"}"#);
    server.respond(Method::POST, "/token ", RawResponse::Send(token));
    // Format of `az acr login`.
    let entry =
        json!({"auth": STANDARD.encode("00000000-0000-0000-0000-000000000000:"), "identitytoken": "hunter2"});
    zstart.docker_config(&json!({"auths": {(server.host()): entry}}))?;
    let ended = zstart.run(&["--log", "trace", "inspect", &format!("{}/app:v1", server.host())]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(server.request_heads().iter().any(|head| head.starts_with("post /token ")), "{ended:#?}");
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
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
