//! The rendered configuration files, read by the parsers of the two programs.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zstart_tests::chart::{Helm, ci_values, find};

use crate::rendering::name_of;

/// Text of a component's configuration file.
fn file<'a>(objects: &'a [Value], component: &str) -> Result<&'a str> {
    let name = name_of(objects, component)?;
    let text = find(objects, "ConfigMap", name)?.pointer("/data/config.yaml").and_then(Value::as_str);
    text.with_context(|| format!("the ConfigMap {name} has no config.yaml"))
}

/// Parses both files.
fn parse(objects: &[Value]) -> Result<(zstart_controller::config::Config, zstart_admission::config::Config)> {
    let path = Path::new("config.yaml");
    let controller = zstart_controller::config::Config::parse(path, file(objects, "controller")?)?;
    let webhook = zstart_admission::config::Config::parse(path, file(objects, "webhook")?)?;
    Ok((controller, webhook))
}

#[tokio::test]
async fn rendered_files_are_read_by_their_programs() -> Result<()> {
    let helm = Helm::find().await?;
    for values in ci_values()? {
        let objects = helm.render_file("zstart", &values).await?;
        parse(&objects).with_context(|| values.display().to_string())?;
    }
    Ok(())
}

#[tokio::test]
async fn default_values_are_the_defaults_of_the_programs() -> Result<()> {
    let helm = Helm::find().await?;
    let (controller, webhook) = parse(&helm.render("zstart", &[]).await?)?;
    let path = Path::new("config.yaml");
    let built_in = zstart_controller::config::Config::parse(path, "")?;
    assert_eq!(format!("{controller:?}"), format!("{built_in:?}"));
    let built_in = zstart_admission::config::Config::parse(path, "")?;
    assert_eq!(format!("{webhook:?}"), format!("{built_in:?}"));
    Ok(())
}

/// Values at the edge of the schema: the programs must accept each value that the schema accepts.
#[tokio::test]
async fn unusual_values_are_read_by_their_programs() -> Result<()> {
    let helm = Helm::find().await?;
    for set in [
        "controller.platforms={linux/arm/v7,linux/arm64/v8,linux/amd64/v3,linux/s390x,linux/loong64}",
        "controller.plainHttpRegistries={localhost,registry.lab:65535,10.0.0.9:1}",
        "controller.recheckInterval=1s,webhook.maxStaleness=9999999h",
        "webhook.allowedTargets={localhost/a,registry.lab:65535/mirror/,10.0.0.9}",
        "webhook.allowedControllers={CloneSet.apps.kruise.io}",
        "webhook.excludedNamespaces={a,kube-public,1-a}",
        "webhook.port=10250",
    ] {
        parse(&helm.render("zstart", &[set]).await?).with_context(|| set.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn log_levels_of_the_schema_are_read_by_the_programs() -> Result<()> {
    let helm = Helm::find().await?;
    for level in
        ["off", "debug", "info,zstart_webhook=debug", "warn,zstart_controller::reconcile=trace", "a[b]=info"]
    {
        let objects = helm.render("zstart", &[&format!("logLevel={}", level.replace(',', "\\,"))]).await?;
        for component in ["controller", "webhook"] {
            let deployment = find(&objects, "Deployment", name_of(&objects, component)?)?;
            let environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
            let filter = environment.into_iter().flatten().find(|variable| variable["name"] == "RUST_LOG");
            let filter = filter.and_then(|variable| variable["value"].as_str()).context("no RUST_LOG")?;
            assert_eq!(filter, level);
            zstart_process::log_filter::parse(filter)?;
        }
    }
    Ok(())
}
