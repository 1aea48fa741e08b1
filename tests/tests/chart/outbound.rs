//! Proxy, certificate authorities and name resolution of the pods that reach registries.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, chart, find};

use crate::rendering::configuration;

/// Pod specs of the controller and of the Jobs.
pub(crate) fn specs(objects: &[Value]) -> Result<[Value; 2]> {
    let controller = find(objects, "Deployment", "zstart-controller")?["spec"]["template"]["spec"].clone();
    let jobs = configuration(objects, "zstart-controller")?["jobs"]["template"]["spec"].clone();
    Ok([controller, jobs])
}

/// Value of a variable in the environment of a pod's container.
fn variable<'a>(spec: &'a Value, name: &str) -> Option<&'a str> {
    let variables = spec["containers"][0]["env"].as_array()?;
    let mut found = variables.iter().filter(|variable| variable["name"] == name);
    let value = found.next()?["value"].as_str();
    assert!(found.next().is_none(), "{name} is set twice");
    value
}

#[tokio::test]
async fn proxy_reaches_controller_and_jobs_but_not_the_webhook() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/proxy-values.yaml")).await?;
    for spec in specs(&objects)? {
        assert_eq!(variable(&spec, "HTTPS_PROXY"), Some("http://proxy.example:3128"));
        assert_eq!(variable(&spec, "HTTP_PROXY"), Some("http://proxy.example:3128"));
        assert_eq!(variable(&spec, "NO_PROXY"), Some("registry.corp.example,10.0.0.0/8"));
    }
    let webhook = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"];
    assert_eq!(variable(webhook, "HTTPS_PROXY"), None);
    Ok(())
}

#[tokio::test]
async fn authorities_are_added_to_the_public_ones() -> Result<()> {
    let helm = Helm::find().await?;
    let item = json!([{"key": "bundle.pem", "path": "ca.crt"}]);
    let sets = ["caBundle.key=bundle.pem", "controller.executor=jobs"];
    for (set, source) in [
        ("caBundle.configMap=authorities", ("configMap", json!({"name": "authorities", "items": item}))),
        ("caBundle.secret=authorities", ("secret", json!({"secretName": "authorities", "items": item}))),
    ] {
        let objects = helm.render("zstart", &[set, sets[0], sets[1]]).await?;
        for spec in specs(&objects)? {
            assert_eq!(variable(&spec, "SSL_CERT_FILE"), Some("/etc/ssl/certs/ca-certificates.crt"));
            let folder = variable(&spec, "SSL_CERT_DIR").context("no folder")?;
            let mounts = spec["containers"][0]["volumeMounts"].as_array().context("no mounts")?;
            let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).context("no mount")?;
            let volumes = spec["volumes"].as_array().context("no volumes")?;
            let volume =
                volumes.iter().find(|volume| volume["name"] == mount["name"]).context("no volume")?;
            assert_eq!(volume[source.0], source.1);
        }
    }
    Ok(())
}

/// `deploy/context.sh` writes the public authorities to the path that the chart names.
#[test]
fn image_has_the_public_authorities_at_the_charts_path() -> Result<()> {
    let script = std::fs::read_to_string(chart().join("../../deploy/context.sh"))?;
    assert!(script.contains("roots=$out/rootfs/etc/ssl/certs/ca-certificates.crt"), "{script}");
    Ok(())
}

#[tokio::test]
async fn variable_that_is_set_twice_is_refused() -> Result<()> {
    let helm = Helm::find().await?;
    let jobs = "controller.executor=jobs,controller.jobs.extraEnv[0].name=NO_PROXY,proxy.noProxy=a";
    for (set, expected) in [
        (
            "proxy.httpsProxy=http://a:1,controller.extraEnv[0].name=HTTPS_PROXY",
            "proxy.httpsProxy and controller.extraEnv both set HTTPS_PROXY",
        ),
        (jobs, "proxy.noProxy and controller.jobs.extraEnv both set NO_PROXY"),
        (
            "caBundle.secret=a,controller.extraEnv[0].name=SSL_CERT_DIR",
            "caBundle and controller.extraEnv both set SSL_CERT_DIR",
        ),
        ("caBundle.secret=a,caBundle.configMap=b", "caBundle.configMap and caBundle.secret are both set"),
    ] {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        assert!(message.contains(expected), "{set}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn dns_settings_reach_every_pod() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/proxy-values.yaml")).await?;
    let webhook = find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"].clone();
    for spec in specs(&objects)?.iter().chain([&webhook]) {
        assert_eq!(spec["dnsPolicy"], "None");
        assert_eq!(spec["dnsConfig"]["nameservers"], json!(["10.0.0.53"]));
    }
    let sets = ["webhook.hostNetwork=true", "controller.executor=jobs"];
    let objects = helm.render("zstart", &sets).await?;
    let webhook = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"];
    assert_eq!(webhook["dnsPolicy"], "ClusterFirstWithHostNet");
    let policy = |spec: &Value| spec.get("dnsPolicy").cloned();
    assert_eq!(specs(&objects)?.map(|spec| policy(&spec)), [None, None]);
    Ok(())
}

#[tokio::test]
async fn network_policy_opens_identity_and_given_addresses() -> Result<()> {
    let helm = Helm::find().await?;
    let egress = |objects: &[Value], name: &str| -> Result<String> {
        Ok(find(objects, "NetworkPolicy", name)?["spec"]["egress"].to_string())
    };
    let objects = helm.render_file("zstart", &chart().join("ci/eks-values.yaml")).await?;
    for address in ["169.254.170.23/32", "fd00:ec2::23/128", "169.254.169.254/32"] {
        assert!(egress(&objects, "zstart-controller")?.contains(address), "{address}");
        assert!(!egress(&objects, "zstart-webhook")?.contains(address), "{address}");
    }
    let objects = helm.render_file("zstart", &chart().join("ci/proxy-values.yaml")).await?;
    for (name, open) in [("zstart-controller", true), ("zstart-converter", true), ("zstart-webhook", false)] {
        assert_eq!(egress(&objects, name)?.contains("10.0.0.9/32"), open, "{name}");
        assert!(!egress(&objects, name)?.contains("169.254"), "{name} needs no AWS identity");
    }
    Ok(())
}
