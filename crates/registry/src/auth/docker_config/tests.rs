//! Rows of configs that docker, podman and the kubelet accept.

use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::auth::password::Password;

fn image(text: &str) -> Reference {
    text.parse().unwrap()
}

fn config(value: &Value) -> DockerConfig {
    DockerConfig::parse(value.to_string().as_bytes()).unwrap()
}

fn entry(username: &str) -> Value {
    json!({"username": username, "password": "1"})
}

fn users(config: &DockerConfig, text: &str) -> Vec<String> {
    let candidates = config.candidates(&image(text)).into_iter();
    let user = |candidate| match candidate {
        Ok(Credentials::Basic(password)) => password.username,
        other => panic!("{other:?}"),
    };
    candidates.map(user).collect()
}

#[test]
fn all_matching_entries_are_candidates() {
    let text = json!({"auths": {
        "https://index.docker.io/v1/": entry("hub"),
        "docker.io/team": entry("hub-team"),
        "registry.example": entry("all"),
        "registry.example/team": entry("team"),
        "https://other.example:5000/v1/": entry("all"),
        "other.example:5000/team": entry("team"),
        "https://old.example/v2/team/": entry("old"),
        "https://path.example/artifactory": entry("path"),
        "https://path.example/app": entry("path-app"),
        "*.wide.example": entry("any"),
        "*.wide.example/app": entry("any-app"),
        "b.wide.example": entry("b"),
    }})
    .to_string();
    let config = DockerConfig::parse(text.as_bytes()).unwrap();
    for (image, expected) in [
        ("nginx", &["hub"][..]),
        ("team/app", &["hub-team", "hub"]),
        ("registry.example/app", &["all"]),
        ("registry.example/team/app", &["team", "all"]),
        ("registry.example/teams/app", &["all"]),
        ("other.example:5000/team/app", &["team", "all"]),
        ("old.example/team/app", &["old"]),
        ("old.example/app", &["old"]),
        ("old.example/teams/app", &["old"]),
        ("path.example/other", &["path", "path-app"]),
        ("path.example/app", &["path-app", "path"]),
        ("path.example/artifactory/app", &["path", "path-app"]),
        ("path.example:5000/app", &[]),
        ("a.wide.example/app", &["any-app", "any"]),
        ("b.wide.example/app", &["b", "any-app", "any"]),
        ("elsewhere.example/app", &[]),
    ] {
        assert_eq!(users(&config, image), expected, "{image}");
    }
    // The kubelet compares characters.
    let secret = DockerConfig::parse_pull_secret(text.as_bytes()).unwrap();
    for (image, expected) in [
        ("registry.example/team/app", &["team", "all"][..]),
        ("registry.example/teams/app", &["all", "team"]),
        ("old.example/teams/app", &[]),
        ("path.example/other", &[]),
    ] {
        assert_eq!(users(&secret, image), expected, "{image}");
    }
}

/// `kubelet.json` holds the answers of `BasicDockerKeyring.Lookup` (k8s.io/kubernetes 1.36.3,
/// `pkg/credentialprovider`): which keys are for which images.
#[test]
fn every_match_of_the_kubelet_is_a_candidate() {
    let rows: Value = serde_json::from_str(include_str!("kubelet.json")).unwrap();
    let (mut missing, mut additional) = (Vec::new(), BTreeSet::new());
    for (image, of_kubelet) in rows["matches"].as_object().unwrap() {
        for key in rows["keys"].as_array().unwrap() {
            let secret = json!({"auths": {key.as_str().unwrap(): entry("a")}}).to_string();
            let is_match =
                !users(&DockerConfig::parse_pull_secret(secret.as_bytes()).unwrap(), image).is_empty();
            match (is_match, of_kubelet.as_array().unwrap().contains(key)) {
                (false, true) => missing.push((image, key)),
                (true, false) => {
                    additional.insert(key.as_str().unwrap());
                }
                _ => {}
            }
        }
    }
    assert_eq!(missing, []);
    let expected = [
        // Upper case, and a version without a slash behind (docker).
        "HTTPS://registry.example",
        "Registry.Example",
        "https://index.docker.io/v1",
        "https://registry.example/v2",
        // Docker Hub's other names (containers/image).
        "docker.io",
        "docker.io/library",
        "https://docker.io",
        "https://index.docker.io",
        "https://index.docker.io/v1/",
        "https://registry-1.docker.io/v2/",
        "index.docker.io",
        "index.docker.io/team",
        "index.docker.io/v1/",
        "registry-1.docker.io",
        // Slashes at the ends of a path.
        "https://registry.example/v1/team/",
        "registry.example//team",
        "registry.example/team/",
        "registry.example/team/app/",
        // Classes, which Kubernetes documents.
        "registr[^a].example",
        "registr[x-z].example",
    ];
    assert_eq!(additional, BTreeSet::from(expected));
}

#[test]
fn config_of_any_client_is_understood() {
    let auths = json!({"registry.example": entry("a")});
    for text in [
        json!({"auths": auths}).to_string(),
        json!({"Auths": auths}).to_string(),
        // The older form, in a `.dockercfg` or under the wrong name.
        auths.to_string(),
        json!({"registry.example": entry("a"), "other.example": null, "third.example": {}}).to_string(),
        format!("\u{feff}{}", json!({"auths": auths})),
        format!("{}\n\0", json!({"auths": auths})),
        json!({"auths": auths, "credsStore": "", "credHelpers": {"registry.example": ""}}).to_string(),
        json!({"auths": auths, "credsStore": null, "credHelpers": null}).to_string(),
        json!({"auths": auths, "credsStore": "a", "credHelpers": {"registry.example": null}}).to_string(),
        json!({"auths": auths, "HttpHeaders": 1, "proxies": [], "plugins": "a", "psFormat": {}}).to_string(),
        json!({"auths": {"registry.example": entry("a"), "a": null, "b": 1, "c": {"auth": "!"}}}).to_string(),
        // The kubelet ignores helpers.
        json!({"auths": auths, "credsStore": 1, "credHelpers": ["a"]}).to_string(),
    ] {
        let config = DockerConfig::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(users(&config, "registry.example/app"), ["a"], "{text}");
    }
    for text in
        ["", "\n", "null", "{}", r#"{"auths": null}"#, r#"{"auths": {}}"#, r#"{"plugins": {"a": {}}}"#]
    {
        let config = DockerConfig::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(users(&config, "registry.example/app"), [""; 0], "{text}");
    }
}

#[test]
fn unreadable_config_is_an_error_without_secrets() {
    for (text, said) in [
        (r#"{"auths": "hunter2""#, "line 1, column 19"),
        ("hunter2", "line 1"),
        (r#""hunter2""#, "not a JSON object"),
        (r#"["hunter2"]"#, "not a JSON object"),
        (r#"{"auths": ["hunter2"]}"#, "\"auths\""),
    ] {
        let error = DockerConfig::parse(text.as_bytes()).err().unwrap();
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(said) && !shown.contains("hunter2"), "{text}: {shown}");
    }
}

#[tokio::test]
async fn useless_entry_is_reported_if_no_other_matches() {
    let config = config(&json!({"auths": {
        "https://a:hunter2@registry.example/team": {"auth": "hunter2"},
        "registry.example": entry("a"),
        "alone.example": {"auth": "hunter2"},
    }}));
    let credentials = config.credentials_for(&image("registry.example/team/app")).await.unwrap();
    assert_eq!(credentials, Some(Credentials::basic("a", "1")));
    let candidates = config.candidates(&image("registry.example/team/app"));
    let error = candidates[0].as_ref().unwrap_err().to_string();
    assert!(error.contains("registry.example/team") && !error.contains("hunter2"), "{error}");
    assert_eq!(candidates[1].as_ref().unwrap(), &Credentials::basic("a", "1"));

    let error = config.credentials_for(&image("alone.example/app")).await.unwrap_err().to_string();
    assert!(error.contains("alone.example") && error.contains("base64"), "{error}");
}

#[tokio::test]
async fn config_without_helpers_runs_no_program() {
    let config =
        config(&json!({"credsStore": "x", "credHelpers": {"registry.example": "y"}})).without_helpers();
    assert_eq!(config.credentials_for(&image("registry.example/app")).await.unwrap(), None);
}

/// Setting that names the helper that the config asks for an image. No such helper exists.
async fn helper_setting(config: &DockerConfig, text: &str) -> Option<String> {
    match config.credentials_for(&image(text)).await {
        Err(CredentialsError::Helper { program, setting, server, .. }) => {
            Some(format!("{program}, {setting}, {server}"))
        }
        Err(CredentialsError::HelperSetting { setting }) => Some(setting),
        Ok(credentials) => {
            assert_eq!(credentials, None);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn helpers_follow_the_key_rules_of_entries() {
    for key in ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"] {
        let config = config(&json!({"credHelpers": {key: "absent-a"}, "credsStore": "absent-b"}));
        assert_eq!(
            helper_setting(&config, "nginx").await.as_deref(),
            Some("docker-credential-absent-a, credHelpers for docker.io, https://index.docker.io/v1/"),
            "{key}"
        );
    }
    for key in ["registry.example", "https://registry.example/v2/", "Registry.Example", "*.example"] {
        let config = config(&json!({"credHelpers": {key: "absent-a", "registry.example:5000": "absent-c"}}));
        let setting = helper_setting(&config, "registry.example/app").await.unwrap();
        assert!(setting.starts_with("docker-credential-absent-a, credHelpers for "), "{key}: {setting}");
        assert!(setting.ends_with(".example, registry.example"), "{key}: {setting}");
        assert_eq!(helper_setting(&config, "other.lab/app").await, None);
    }
    let config = config(&json!({"credsStore": "absent-b", "credHelpers": {
        "registry.example": "absent-a", "own.example": "", "null.example": null, "number.example": 1,
        "registry.example/team": "absent-team",
    }}));
    for (image, expected) in [
        (
            "registry.example/app",
            "docker-credential-absent-a, credHelpers for registry.example, registry.example",
        ),
        (
            "registry.example/team/app",
            "docker-credential-absent-team, credHelpers for registry.example/team, registry.example",
        ),
        ("other.example:5000/app", "docker-credential-absent-b, credsStore, other.example:5000"),
        ("number.example/app", "credHelpers for number.example"),
    ] {
        assert_eq!(helper_setting(&config, image).await.as_deref(), Some(expected));
    }
    for image in ["own.example/app", "null.example/app"] {
        assert_eq!(helper_setting(&config, image).await, None, "{image}: the config's own entry counts");
    }
}

#[tokio::test]
async fn entry_replaces_a_helper_that_fails() {
    let config =
        config(&json!({"credsStore": "absent", "auths": {"registry.example": entry("a"), "b.lab": {}}}));
    let credentials = config.credentials_for(&image("registry.example/app")).await.unwrap();
    assert_eq!(credentials, Some(Credentials::basic("a", "1")));
    assert!(helper_setting(&config, "b.lab/app").await.is_some(), "an empty entry has no credentials");
}

#[test]
fn any_path_under_a_scheme_means_the_host() {
    for path in ["repository/docker/", "artifactory", "v2/_catalog", "v1/_ping", "Team"] {
        for scheme in ["https", "http"] {
            let key = format!("{scheme}://registry.example:5000/{path}");
            let config = config(&json!({"auths": {key.as_str(): entry("a")}}));
            assert_eq!(users(&config, "registry.example:5000/app"), ["a"], "{key}");
            assert_eq!(users(&config, "registry.example/app"), [""; 0], "{key}");
        }
    }
    let config = config(&json!({"auths": {"registry.example/artifactory": entry("a")}}));
    assert_eq!(users(&config, "registry.example/app"), [""; 0], "a path without a scheme");
}

#[tokio::test]
async fn identity_token_keeps_the_password_of_its_entry() {
    let basic = |username| Password { username, password: "1".to_owned() };
    let config = config(&json!({"auths": {
        "registry.example": {"username": "a", "password": "1", "identitytoken": "b"},
        "*.example": {"username": "c", "password": "1"},
        "token.example": {"identitytoken": "b"},
    }}));
    for (text, password) in
        [("registry.example/app", Some(basic("a".to_owned()))), ("token.example/app", None)]
    {
        let Some(Credentials::IdentityToken(token)) = config.credentials_for(&image(text)).await.unwrap()
        else {
            panic!("{text}: no identity token");
        };
        assert_eq!(token.password(), password.as_ref(), "{text}");
    }
}

#[test]
fn file_error_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.json");
    let error = zstart_core::chain(&DockerConfig::load(&file).err().unwrap());
    assert!(error.contains("config.json") && error.contains("No such file"), "{error}");
    std::fs::write(&file, "{").unwrap();
    let error = zstart_core::chain(&DockerConfig::load(&file).err().unwrap());
    assert!(error.contains("config.json") && error.contains("line 1"), "{error}");
}
