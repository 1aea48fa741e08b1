//! The rendered configuration files, read by the parsers of the two programs.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
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
        "webhook.drain.grace=1s",
        "webhook.drain.grace=20s",
        "webhook.whenNoNode={pool,zone in (a\\,b)\\, gpu==yes,a.b/c_d=x}",
        "webhook.minSize=999999Ti,webhook.minGain=100",
        "webhook.minSize=999999999999999,webhook.minGain=0.5",
        "webhook.signedImages={*,registry.example/a?/*}",
        "controller.recheckIntervalAlways=1s,webhook.maxStalenessAlways=2s,webhook.maxCacheAge=9999999h",
        "controller.confirmInterval=20h,records.keepFor=1s",
        "records.immutableTags={*:v?*,docker.io/library/*}",
        "controller.executor=jobs",
        "controller.executor=jobs,controller.jobs.ecrRole=arn:aws-us-gov:iam::123456789012:role/a/b+=\\,.@-_c",
        "controller.executor=jobs,controller.jobs.nodeSelector=null,controller.jobs.resources=null",
    ] {
        parse(&helm.render("zstart", &[set]).await?).with_context(|| set.to_owned())?;
    }
    Ok(())
}

/// The schema knows the first version of each runtime that can start zstd images, as the webhook does.
#[tokio::test]
async fn lowest_runtime_versions_agree_with_the_webhook() -> Result<()> {
    let helm = Helm::find().await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.yaml");
    for (runtime, version, is_accepted) in [
        ("containerd", "1.5", true),
        ("containerd", "1.4", false),
        ("containerd", "1.7.27-k3s1", true),
        ("containerd", "2.0", true),
        ("containerd", "2", false),
        ("cri-o", "1.16", true),
        ("cri-o", "1.15.9", false),
        ("docker", "23.0.1", true),
        ("docker", "22.10", false),
    ] {
        std::fs::write(&file, json!({"webhook": {"runtimes": {runtime: version}}}).to_string())?;
        let rendered = helm.render_file("zstart", &file).await;
        assert_eq!(rendered.is_ok(), is_accepted, "the schema on {runtime} {version}");
        if let Ok(objects) = rendered {
            parse(&objects)?;
        }
        let text = format!("runtimes: {{{runtime}: '{version}'}}");
        let parsed = zstart_admission::config::Config::parse(Path::new("config.yaml"), &text);
        assert_eq!(parsed.is_ok(), is_accepted, "the webhook on {runtime} {version}");
    }
    Ok(())
}

/// Value of an environment variable of a component's container.
fn variable<'a>(objects: &'a [Value], component: &str, name: &str) -> Result<&'a str> {
    let deployment = find(objects, "Deployment", name_of(objects, component)?)?;
    let environment = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array();
    let found = environment.into_iter().flatten().find(|variable| variable["name"] == name);
    found.and_then(|variable| variable["value"].as_str()).with_context(|| format!("no variable {name}"))
}

#[tokio::test]
async fn log_format_reaches_both_programs() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, expected) in [(&[][..], "text"), (&["logFormat=json"], "json")] {
        let objects = helm.render("zstart", set).await?;
        for component in ["controller", "webhook"] {
            assert_eq!(variable(&objects, component, "ZSTART_LOG_FORMAT")?, expected);
        }
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
            let filter = variable(&objects, component, "RUST_LOG")?;
            assert_eq!(filter, level);
            zstart_process::log_filter::parse(filter)?;
        }
    }
    Ok(())
}
