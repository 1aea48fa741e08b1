//! SIGINT (Ctrl-C) and SIGTERM (the end of a job).

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http::Method;
use tokio::process::Command;
use tokio::sync::Notify;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};
use zstart_tests::registry::repository_reader::RepositoryReader;

use crate::command::Zstart;

/// Limit for steps that take seconds.
const WITHIN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn sigint_during_upload_leaves_no_tag() -> Result<()> {
    stop_during_upload("-INT").await
}

#[tokio::test]
async fn sigterm_during_upload_leaves_no_tag() -> Result<()> {
    stop_during_upload("-TERM").await
}

async fn stop_during_upload(signal: &str) -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let image = Fixture::new().large_layer("usr/bin/app", 4 << 20);
    image.push(&registry.host(), "app:v1").await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let arrived = Arc::new(Notify::new());
    gateway.fault(Method::PATCH, "/blobs/uploads/", Fault::stalled(&arrived));

    let name = format!("{}/app:v1", gateway.host());
    let mut command = zstart.command(&["convert", &name]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let id = child.id().context("the program has ended")?;
    tokio::time::timeout(WITHIN, arrived.notified()).await.context("no upload arrived")?;
    let sent = Command::new("kill").args([signal, &id.to_string()]).status().await?;
    ensure!(sent.success(), "kill: {sent}");
    let ended =
        tokio::time::timeout(WITHIN, child.wait_with_output()).await.context("the program doesn't end")??;
    assert_eq!(ended.status.code(), Some(130));
    let stderr = String::from_utf8(ended.stderr)?;
    ensure!(stderr.starts_with("error: stopped by a signal; a conversion writes its tag last"), "{stderr}");
    assert_eq!(ended.stdout, b"");

    gateway.clear_faults();
    let stored = RepositoryReader::new(&registry, "app");
    assert_eq!(stored.tags().await?, ["v1"]);
    zstart.print(&["convert", &name]).await?;
    let tags = stored.tags().await?;
    let variant = format!("{}/app:{}", gateway.host(), tags.last().context("a tag")?);
    assert_eq!((tags.len(), zstart.run(&["inspect", &variant]).await?.code), (2, Some(0)));
    Ok(())
}
