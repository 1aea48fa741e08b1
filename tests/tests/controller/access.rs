//! Images that don't exist or can't be pulled, and repositories without push access.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use zstart_controller::credentials::{
    CandidateError, Candidates, LoginMemory, OwnCredentials, PullSecretAccess,
};
use zstart_controller::demand::Consumer;
use zstart_core::Reference;
use zstart_core::record::{CONVERTED, RESOLVED, RecordReason};
use zstart_registry::auth::Credentials;
use zstart_registry::{RegistryClient, RegistryOptions};
use zstart_tests::control_plane::ControlPlane;
use zstart_tests::images::Fixture;
use zstart_tests::registry::gateway::{Fault, Gateway, TokenLogin};
use zstart_tests::registry::{Login, Registry};
use zstart_tests::wait;

use crate::lab::{Lab, USER, WITHIN};
use crate::records::{condition_of, variant_tag};

fn small() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"configuration")])
}

/// A pull secret for `host`.
pub(crate) fn pull_secret(name: &str, host: &str, username: &str, password: &str) -> Value {
    let auth = STANDARD.encode(format!("{username}:{password}"));
    let config = json!({"auths": {host: {"auth": auth}}}).to_string();
    json!({
        "metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": config},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_image_is_converted_once_pushed() -> Result<()> {
    let lab = Lab::start().await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::SourceNotFound).await?;
    assert!(message.contains("pull image v1") && message.contains(&lab.image("app")), "{message}");
    assert!(lab.warning("web", RecordReason::SourceNotFound).await?.contains(&image));

    lab.push("app:v1", &small()).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_variant_tag_may_be_denied() -> Result<()> {
    let lab = Lab::start().await?;
    // From the push on, the tag is visible.
    let denied = Fault::Respond(StatusCode::FORBIDDEN, vec![], r#"{"errors":[{"code":"DENIED"}]}"#);
    for method in [Method::HEAD, Method::GET] {
        lab.gateway.fault_times(1, method, "-zstd-", denied.clone());
    }
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    assert!(lab.gateway.all_faults_hit());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_secrets_of_the_pod_template_are_used() -> Result<()> {
    let mut lab = Lab::start().await?;
    let (username, password) = ("user".to_owned(), "right".to_owned());
    let login = Login::Basic { username: username.clone(), password: password.clone() };
    lab.registry = Registry::start_with(login).await?;
    lab.gateway = Gateway::start(&lab.registry.host()).await?;
    let pushed: Reference = format!("{}/app:v1", lab.registry.host()).parse()?;
    let client = RegistryClient::new(RegistryOptions {
        plain_http: vec![lab.registry.host()],
        ..RegistryOptions::default()
    })?;
    let repository = client.repository(&pushed, Credentials::basic(username, password));
    small().prepare()?.store(&*repository, pushed.tag().context("no tag")?).await?;

    let image = lab.image("app:v1");
    let secrets = lab.namespaced::<Secret>("on");
    lab.create(&secrets, pull_secret("right", &lab.gateway.host(), "user", "right")).await?;
    lab.create(&secrets, pull_secret("wrong", &lab.gateway.host(), "user", "wrong")).await?;
    let _controller = lab.start_controller().await?;
    // A pod may use only the secrets that it names.
    for named in [json!([]), json!([{"name": "wrong"}]), json!([{"name": "absent"}])] {
        lab.deploy_with("on", "web", &image, &json!({"imagePullSecrets": named})).await?;
        let message = lab.not_ready(&image, RecordReason::PullDenied).await?;
        assert!(message.contains(&lab.image("app")) && message.contains("401"), "{message}");
    }
    assert!(lab.warning("web", RecordReason::PullDenied).await?.contains(&image));

    // All secrets are tried in turn, and a secret created later is found.
    let two = json!({"imagePullSecrets": [{"name": "wrong"}, {"name": "late"}]});
    lab.deploy_with("on", "web", &image, &two).await?;
    lab.create(&secrets, pull_secret("late", &lab.gateway.host(), "user", "right")).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_secret_of_the_service_account_is_used() -> Result<()> {
    let mut lab = Lab::start().await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    lab.gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    let secret = pull_secret("right", &lab.gateway.host(), "user", "right");
    lab.create(&lab.namespaced::<Secret>("on"), secret).await?;
    let accounts = lab.namespaced::<ServiceAccount>("on");
    lab.create(&accounts, json!({"metadata": {"name": "runner"}})).await?;
    lab.deploy_with("on", "web", &image, &json!({"serviceAccountName": "runner"})).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::PullDenied).await?;
    assert!(message.contains(&lab.image("app")), "{message}");

    let secrets = json!({"imagePullSecrets": [{"name": "right"}]});
    accounts.patch("runner", &PatchParams::default(), &Patch::Merge(secrets)).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn all_entries_of_all_pull_secrets_are_tried() -> Result<()> {
    let lab = Lab::start().await?;
    let secrets = lab.namespaced::<Secret>("on");
    let (new, old) = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg");
    let user = |name: &str| json!({"username": name, "password": "1"});
    let auth = STANDARD.encode("padded:12").trim_end_matches('=').to_owned();
    for (name, type_, data) in [
        (
            "a-paths",
            new,
            json!({".dockerconfigjson": {"auths": {
                "registry.example": user("all"), "https://registry.example/v2/team/": user("team"),
                "registry.example/tea": user("front"), "registry.example/team/app": {"auth": "!"}, "other.example": null, "*.example": user("any"),
            }}}),
        ),
        ("b-legacy", old, json!({".dockercfg": {"registry.example": {"auth": auth}}})),
        ("c-wrong-form", new, json!({".dockerconfigjson": {"registry.example": user("legacy")}})),
        (
            "d-both",
            new,
            json!({
                ".dockerconfigjson": {"auths": {"registry.example": user("both"), "registry.example/t": user("all")}},
                ".dockercfg": {"registry.example": user("never")},
            }),
        ),
        (
            "e-other-type",
            "Opaque",
            json!({".dockerconfigjson": {"auths": {"registry.example": user("never")}}}),
        ),
        (
            "f-token",
            new,
            json!({".dockerconfigjson": {"auths": {"registry.example": {"identitytoken": "a"}}}}),
        ),
        ("g-helper", new, json!({".dockerconfigjson": {"credsStore": "x", "credHelpers": ["y"]}})),
    ] {
        let texts = data.as_object().context("no object")?.iter();
        let texts: Value = texts.map(|(key, value)| (key.clone(), json!(value.to_string()))).collect();
        lab.create(&secrets, json!({"metadata": {"name": name}, "type": type_, "stringData": texts})).await?;
    }
    let consumer = Consumer {
        namespace: "on".to_owned(),
        pull_secrets: secrets
            .list(&ListParams::default())
            .await?
            .into_iter()
            .map(|secret| secret.name_any())
            .collect(),
        service_account: "default".to_owned(),
        pulls_always: false,
        event_target: None,
    };
    let (own, source) = (OwnCredentials::default(), "registry.example/team/app:v1".parse()?);
    let (access, logins) = (PullSecretAccess::default(), LoginMemory::default());
    let consumers = std::slice::from_ref(&consumer);
    let mut candidates = Candidates::new(&lab.admin, &own, &access, &logins, consumers, &source);
    let mut found = Vec::new();
    while let Some(credentials) = candidates.next().await? {
        found.push(credentials);
    }
    let basic = |user: &str| Credentials::basic(user, "1");
    let expected = [
        basic("team"),
        basic("all"),
        basic("any"),
        basic("front"),
        Credentials::basic("padded", "12"),
        basic("legacy"),
        // This secret's user `all` was tried already.
        basic("both"),
        Credentials::identity_token("a"),
        Credentials::Anonymous,
    ];
    assert_eq!(found, expected);
    Ok(())
}

/// A lab whose registry knows the user `user` with the password `right`, and has the image `app:v1`.
pub(crate) async fn lab_with_login(
    plane: impl Future<Output = Result<ControlPlane>>,
) -> Result<(Lab, String)> {
    let mut lab = Lab::start_on(plane).await?;
    let login = TokenLogin { username: "user".into(), password: "right".into() };
    lab.gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    Ok((lab, image))
}

pub(crate) async fn deploy_with_secrets(
    lab: &Lab,
    namespace: &str,
    image: &str,
    secrets: &[&str],
) -> Result<()> {
    let named: Vec<Value> = secrets.iter().map(|name| json!({"name": name})).collect();
    lab.deploy_with(namespace, "web", image, &json!({"imagePullSecrets": named})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_login_is_not_repeated_at_each_look() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    // The namespace `audit` has the first turn.
    let wrong = pull_secret("wrong", &lab.gateway.host(), "stranger", "wrong");
    lab.create(&lab.namespaced::<Secret>("audit"), wrong).await?;
    let right = pull_secret("right", &lab.gateway.host(), "user", "right");
    lab.create(&lab.namespaced::<Secret>("on"), right).await?;
    deploy_with_secrets(&lab, "audit", &image, &["wrong"]).await?;
    deploy_with_secrets(&lab, "on", &image, &["right"]).await?;
    let _controller = lab.start_controller_with("recheckInterval: 1s").await?;
    let mut looked = lab.ready(&image).await?.source.context("no source")?.checked_at;
    for _ in 0..4 {
        let status = lab.wait_for(&image, "looked at again", |status| {
            status.source.as_ref().is_some_and(|source| source.checked_at > looked)
        });
        looked = status.await?.source.context("no source")?.checked_at;
    }
    assert_eq!(lab.gateway.refused_users(), ["stranger"]);

    // Another tag of the repository is looked at for the first time.
    lab.push("app:v2", &small().layer(&[("etc/more", b"2")])).await?;
    let second = lab.image("app:v2");
    let named = json!({"imagePullSecrets": [{"name": "right"}]});
    lab.deploy_with("on", "second", &second, &named).await?;
    lab.ready(&second).await?;
    assert_eq!(lab.gateway.refused_users(), ["stranger"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_pull_names_the_secrets_of_its_tenants() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    let secrets = lab.namespaced::<Secret>("on");
    lab.create(&secrets, pull_secret("wrong", &lab.gateway.host(), "user", "wrong")).await?;
    lab.create(&secrets, pull_secret("other", "other.example", "user", "right")).await?;
    deploy_with_secrets(&lab, "on", &image, &["wrong", "absent", "other"]).await?;
    let _controller = lab.start_controller().await?;
    let message = lab.not_ready(&image, RecordReason::PullDenied).await?;
    let results = [
        "Secret on/absent doesn't exist",
        "Secret on/other has no login for this image",
        "Secret on/wrong was refused by the registry",
    ];
    for result in results {
        assert!(message.contains(result), "{result}: {message}");
    }
    let warning = lab.warning("web", RecordReason::PullDenied).await?;
    assert!(warning.contains(results[2]), "{warning}");

    // A second tenant: the record names the Secrets of both, and an event none.
    deploy_with_secrets(&lab, "audit", &image, &["hush"]).await?;
    lab.wait_for(&image, "denied for both", |status| {
        let (_, _, message) = condition_of(status, RESOLVED);
        message.contains("Secret audit/hush doesn't exist")
            && message.contains("on/wrong was refused earlier")
    })
    .await?;
    for event in lab.events("on", "Deployment", "web").await? {
        assert!(!event.note.contains("hush"), "{event:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn less_specific_entry_of_a_pull_secret_is_tried_too() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::with_definitions()).await?;
    let host = lab.gateway.host();
    let login = |user: &str, password: &str| json!({"auth": STANDARD.encode(format!("{user}:{password}"))});
    // The kubelet tries all entries for an image, the most specific first.
    let auths = json!({format!("{host}/app"): login("narrow", "wrong"), host: login("user", "right")});
    let secret = json!({
        "metadata": {"name": "two"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json!({"auths": auths}).to_string()},
    });
    lab.create(&lab.namespaced::<Secret>("on"), secret).await?;
    deploy_with_secrets(&lab, "on", &image, &["two"]).await?;
    let _controller = lab.start_controller().await?;
    lab.ready(&image).await?;
    assert_eq!(lab.gateway.refused_users(), ["narrow"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unused_pull_secrets_are_not_asked_for() -> Result<()> {
    let (lab, image) = lab_with_login(ControlPlane::start_audited()).await?;
    let secrets = lab.namespaced::<Secret>("on");
    lab.create(&secrets, pull_secret("right", &lab.gateway.host(), "user", "right")).await?;
    lab.create(&secrets, pull_secret("named", &lab.gateway.host(), "user", "right")).await?;
    deploy_with_secrets(&lab, "on", &image, &["right"]).await?;
    let asked = || -> Result<BTreeSet<String>> {
        let audit = lab.plane.audit()?;
        let by_controller = audit.iter().filter(|event| event["impersonatedUser"]["username"] == USER);
        let objects =
            by_controller.map(|event| &event["objectRef"]).filter(|object| object["namespace"] == "on");
        let named = objects.filter(|object| object["resource"] != "events");
        Ok(named.map(|object| format!("{}/{}", object["resource"], object["name"])).collect())
    };
    let left_out = "Secret on/right is left out by controller.usePullSecrets";
    for (setting, expected) in [
        ("usePullSecrets: false", "pull secrets aren't used (controller.usePullSecrets is false)"),
        ("pullSecretNamespaces: [audit]", left_out),
    ] {
        let controller = lab.start_controller_with(setting).await?;
        lab.wait_for(&image, setting, |status| condition_of(status, RESOLVED).2.contains(expected)).await?;
        assert_eq!(asked()?, BTreeSet::new(), "{setting}");
        controller.stop().await?;
    }
    let _controller = lab.start_controller_with("pullSecretNames: [named]").await?;
    let account = BTreeSet::from(["\"serviceaccounts\"/\"default\"".to_owned()]);
    wait::until("a look with the service account", WITHIN, || async {
        Ok((asked()? == account).then_some(()))
    })
    .await?;
    deploy_with_secrets(&lab, "on", &image, &["right", "named"]).await?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn controller_credentials_are_used_without_pull_secrets() -> Result<()> {
    let mut lab = Lab::start().await?;
    let login = TokenLogin { username: "zstart".into(), password: "right".into() };
    lab.gateway = Gateway::start_with(&lab.registry.host(), Some(login)).await?;
    lab.push("app:v1", &small()).await?;
    let image = lab.image("app:v1");
    lab.deploy("on", "web", &image).await?;
    let file = lab.plane.folder().join("credentials.json");
    let write = |login: &str| {
        let auth = STANDARD.encode(login);
        std::fs::write(&file, json!({"auths": {lab.gateway.host(): {"auth": auth}}}).to_string())
    };
    write("zstart:expired")?;
    let _controller = lab.start_controller_with(&format!("credentialsFile: {}", file.display())).await?;
    lab.not_ready(&image, RecordReason::PullDenied).await?;
    // The file is rewritten without a notification to the controller.
    write("zstart:right")?;
    lab.ready(&image).await?;
    Ok(())
}

#[tokio::test]
async fn api_server_error_is_not_taken_for_missing_secrets() -> Result<()> {
    zstart_tests::control_plane::install_crypto();
    let source: Reference = "registry.example/app:v1".parse()?;
    let consumer = Consumer {
        namespace: "on".to_owned(),
        pull_secrets: BTreeSet::from(["pull".to_owned()]),
        service_account: "default".to_owned(),
        pulls_always: false,
        event_target: None,
    };
    for (status, known) in [
        (StatusCode::FORBIDDEN, true),
        (StatusCode::NOT_FOUND, true),
        (StatusCode::INTERNAL_SERVER_ERROR, false),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?).parse()?;
        let answer =
            json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status.as_u16()});
        let router = axum::Router::new().fallback(move || async move { (status, axum::Json(answer)) });
        let _server = AbortOnDropHandle::new(tokio::spawn(async { axum::serve(listener, router).await }));
        let client = kube::Client::try_from(kube::Config::new(address))?;
        let own = OwnCredentials::default();
        let (access, logins) = (PullSecretAccess::default(), LoginMemory::default());
        let consumers = std::slice::from_ref(&consumer);
        let mut candidates = Candidates::new(&client, &own, &access, &logins, consumers, &source);
        let first = candidates.next().await;
        if known {
            assert_eq!(first?, Some(Credentials::Anonymous), "{status}");
            assert_eq!(candidates.next().await?, None, "{status}");
        } else {
            assert!(matches!(first, Err(CandidateError::Read { .. })), "{status}: {first:?}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_repository_gets_its_variant_once_writable() -> Result<()> {
    let lab = Lab::start().await?;
    let mut images = Vec::new();
    for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
        let (repository, name) = (format!("app-{}", status.as_u16()), format!("web-{}", status.as_u16()));
        let source = lab.push(&format!("{repository}:v1"), &small()).await?;
        let uploads = format!("/v2/{repository}/blobs/uploads/");
        lab.gateway.fault(Method::POST, &uploads, Fault::Respond(status, vec![], "read only"));
        let image = lab.image(&format!("{repository}:v1"));
        lab.deploy("on", &name, &image).await?;
        images.push((repository, name, image, source));
    }
    let _controller = lab.start_controller().await?;
    for (repository, name, image, _) in &images {
        let message = lab.not_ready(image, RecordReason::PushDenied).await?;
        assert!(message.contains("upload"), "{message}");
        assert!(message.contains(&lab.image(repository)) && message.contains("read only"), "{message}");
        assert!(lab.warning(name, RecordReason::PushDenied).await?.contains(image));
        let status =
            lab.wait_for(image, "resolved", |status| condition_of(status, RESOLVED).0 == "True").await?;
        assert_eq!(condition_of(&status, CONVERTED).1, "PushDenied", "that the image can be pulled is said");
        assert_eq!(lab.stored(repository).tags().await?, ["v1"]);
    }
    lab.gateway.clear_faults();
    for (repository, _, image, source) in &images {
        // The denial is remembered for hours.
        lab.retry(image).await?;
        lab.ready(image).await?;
        let stored = lab.stored(repository);
        assert_eq!(stored.tags().await?, ["v1", &variant_tag(&stored, image, source).await?]);
    }
    Ok(())
}
