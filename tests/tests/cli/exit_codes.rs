//! Exit codes and their messages.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::future::BoxFuture;
use http::{Method, StatusCode};
use serde_json::json;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};

use crate::command::Zstart;
use crate::layout::Layout;

fn image() -> Fixture {
    Fixture::new().layer(&[("etc/app", b"configuration")]).large_layer("usr/bin/app", 200_000)
}

/// Requires a failure with this exit code, a message that contains all these texts, and no result on stdout.
pub(crate) async fn require_failure(
    zstart: &Zstart,
    arguments: &[&str],
    code: i32,
    said: &[&str],
) -> Result<()> {
    let ended = zstart.run(arguments).await?;
    assert_eq!(ended.code, Some(code), "{arguments:?}: {ended:#?}");
    assert!(ended.stderr.lines().any(|line| line.starts_with("error: ")), "{ended:#?}");
    for text in said {
        assert!(ended.stderr.contains(text), "{text:?} is missing: {ended:#?}");
    }
    assert_eq!(ended.stdout, "");
    Ok(())
}

#[tokio::test]
async fn wrong_usage_exits_2() -> Result<()> {
    let zstart = Zstart::find()?;
    for tag in ["v1", "v2"] {
        let image = image().layer(&[("tag", tag.as_bytes())]);
        image.prepare()?.write(&zstart.folder().join("images"), tag).await?;
    }
    let (folder, v1) = (zstart.oci("images"), zstart.oci("images:v1"));
    require_failure(&zstart, &["convert", "registry.example/App:v1"], 2, &["registry.example/App:v1"])
        .await?;
    require_failure(&zstart, &["convert", &v1, "--level", "0"], 2, &["1 (fastest) to 22"]).await?;
    require_failure(&zstart, &["convert", &v1, "--layers-at-once", "0"], 2, &["1 or more"]).await?;
    require_failure(&zstart, &["inspect", &folder], 2, &[&folder, &v1]).await?;
    require_failure(&zstart, &["convert", &v1, &v1], 2, &[&v1, "never changes a source"]).await?;
    Ok(())
}

#[tokio::test]
async fn missing_image_exits_3() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let name = format!("{}/app:v1", registry.host());
    for command in ["convert", "inspect"] {
        let at = format!("{}/app", registry.host());
        require_failure(&zstart, &[command, &name], 3, &["pull image v1", &at]).await?;
        let folder = zstart.oci("nowhere");
        let said = ["read index.json", &folder, "doesn't exist"];
        require_failure(&zstart, &[command, &zstart.oci("nowhere:v1")], 3, &said).await?;
    }
    Ok(())
}

#[tokio::test]
async fn registry_denial_exits_4_and_outage_exits_5() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    image().push(&registry.host(), "app:v1").await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let (name, at) = (format!("{}/app:v1", gateway.host()), format!("{}/app", gateway.host()));
    let answer = |status, headers| Fault::Respond(status, headers, "says the registry");

    gateway.fault(Method::GET, "/manifests/", answer(StatusCode::FORBIDDEN, vec![]));
    require_failure(&zstart, &["inspect", &name], 4, &["pull image v1", &at, "HTTP 403"]).await?;
    gateway.clear_faults();
    gateway.fault(Method::POST, "/blobs/uploads/", answer(StatusCode::UNAUTHORIZED, vec![]));
    require_failure(&zstart, &["convert", &name], 4, &["upload", &at, "HTTP 401"]).await?;

    gateway.clear_faults();
    let later = vec![("retry-after", "600".to_owned())];
    gateway.fault(Method::GET, "/manifests/", answer(StatusCode::TOO_MANY_REQUESTS, later));
    require_failure(&zstart, &["inspect", &name], 5, &["HTTP 429 says the registry", &at]).await?;
    drop(gateway);
    require_failure(&zstart, &["inspect", &name], 5, &[&at, "refused"]).await?;
    assert_eq!(
        zstart.json(&["inspect", &format!("{}/app:v1", registry.host())]).await?["digest"],
        json!(image().prepare()?.digest)
    );
    Ok(())
}

#[tokio::test]
async fn content_mismatch_exits_6() -> Result<()> {
    let zstart = Zstart::find()?;
    let folder = zstart.folder().join("images");
    image().with_wrong_diff_id().prepare()?.write(&folder, "wrong").await?;
    image().prepare()?.write(&folder, "cut").await?;
    let layout = Layout::new(zstart.folder(), "images");
    let layer = |tag: &str, index: usize| -> Result<String> {
        Ok(layout.manifest(tag)?["layers"][index]["digest"]
            .as_str()
            .context("a layer without digest")?
            .to_owned())
    };
    let promised = [&layer("wrong", 1)?, "promises diff_id"];
    require_failure(&zstart, &["convert", &zstart.oci("images:wrong")], 6, &promised).await?;

    let first = layer("cut", 0)?;
    std::fs::write(folder.join("blobs").join(first.replace(':', "/")), b"other bytes")?;
    let served = [&first, "served 11 bytes"];
    require_failure(&zstart, &["convert", &zstart.oci("images:cut"), &zstart.oci("out:v1")], 6, &served)
        .await?;
    assert_eq!(layout.tags()?, ["wrong", "cut"]);
    assert_eq!(Layout::new(zstart.folder(), "out").tags()?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn refused_image_exits_7() -> Result<()> {
    let zstart = Zstart::find()?;
    let folder = zstart.folder().join("images");
    image().prepare()?.write(&folder, "v1").await?;
    let artifact = image().members(json!({"artifactType": "application/x-signature"}));
    artifact.prepare()?.write(&folder, "signature").await?;
    zstart.print(&["convert", &zstart.oci("images:v1"), &zstart.oci("images:fast")]).await?;
    let (at, fast) = (zstart.oci("images@sha256:"), zstart.oci("images:fast"));
    require_failure(&zstart, &["convert", &fast], 7, &[&at, "already a variant made by zstart"]).await?;
    require_failure(&zstart, &["convert", &zstart.oci("images:signature")], 7, &[&at, "artifact"]).await?;
    Ok(())
}

#[tokio::test]
async fn taken_or_moved_tag_exits_8() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let host = registry.host();
    image().push(&host, "app:v1").await?;
    Fixture::new().layer(&[("other", b"other")]).push(&host, "app:taken").await?;
    let gateway = Gateway::start(&host).await?;
    let (name, taken) = (format!("{}/app:v1", gateway.host()), format!("{}/app:taken", gateway.host()));
    let said = [&*taken, "names another image", "--force"];
    require_failure(&zstart, &["convert", &name, &taken], 8, &said).await?;

    let push = move || -> BoxFuture<'static, ()> {
        let host = host.clone();
        Box::pin(async move {
            let next = Fixture::new().layer(&[("next", b"release")]);
            next.push(&host, "app:v1").await.expect("the image is pushed");
        })
    };
    gateway.fault_times(1, Method::PUT, "/blobs/uploads/", Fault::RunFirst(Arc::new(push)));
    require_failure(&zstart, &["convert", &name], 8, &[&name, "moved from sha256:"]).await
}

#[tokio::test]
async fn unreadable_credentials_exit_1() -> Result<()> {
    let zstart = Zstart::find()?;
    let file = zstart.folder().join("auth.json");
    std::fs::write(&file, r#"{"auths": {"registry.example": {"auth": "!secret!"}}}"#)?;
    let arguments = ["inspect", "registry.example/app:v1", "--authfile", &file.display().to_string()];
    require_failure(&zstart, &arguments, 1, &["find credentials", "caused by", "registry.example"]).await?;
    let ended = zstart.run(&arguments).await?;
    assert!(!ended.stderr.contains("secret"), "{}", ended.stderr);
    Ok(())
}
