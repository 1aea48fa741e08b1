//! The rendered objects: consistent names, settings that reach the binaries, pods without privileges.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use zstart_tests::chart::{Helm, chart, ci_values, find, name};

/// Configuration file in a `ConfigMap`.
pub(crate) fn configuration(objects: &[Value], config_map: &str) -> Result<Value> {
    let text = find(objects, "ConfigMap", config_map)?
        .pointer("/data/config.yaml")
        .and_then(Value::as_str)
        .with_context(|| format!("ConfigMap {config_map} has no config.yaml"))?;
    Ok(serde_saphyr::from_str(text)?)
}

/// Name of a component's Deployment, which other objects of the component share.
pub(crate) fn name_of<'a>(objects: &'a [Value], component: &str) -> Result<&'a str> {
    let label = "app.kubernetes.io/component";
    let mut deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
    let found = deployments.find(|object| object["metadata"]["labels"][label] == component);
    Ok(name(found.with_context(|| format!("no Deployment of the {component} was rendered"))?))
}

#[tokio::test]
async fn names_in_the_configuration_follow_the_release() -> Result<()> {
    let helm = Helm::find().await?;
    for (release, base) in [("zstart", "zstart"), ("prod", "prod-zstart"), ("my-zstart", "my-zstart")] {
        let objects = helm.render(release, &[]).await?;
        let controller = configuration(&objects, &format!("{base}-controller"))?;
        let webhook = configuration(&objects, &format!("{base}-webhook"))?;
        let platforms = find(&objects, "ConfigMap", &format!("{base}-controller-platforms"))?;
        assert_eq!(controller["platformsConfigMap"], platforms["metadata"]["name"]);
        assert_eq!(platforms.get("data"), None, "an upgrade would replace what the controller wrote");
        let role = find(&objects, "Role", &format!("{base}-controller"))?["rules"].to_string();
        assert!(role.contains(&format!("{base}-controller-platforms")), "{role}");
        assert_eq!(
            controller["webhook"],
            json!({
                "configuration": base,
                "service": format!("{base}-webhook"),
                "servingSecret": format!("{base}-webhook-tls"),
                "caSecret": format!("{base}-webhook-ca"),
            })
        );
        assert_eq!(webhook["servingSecret"], controller["webhook"]["servingSecret"]);
        find(&objects, "Service", &format!("{base}-webhook"))?;
        let admission = find(&objects, "MutatingWebhookConfiguration", base)?;
        assert_eq!(
            admission["webhooks"][0]["clientConfig"]["service"],
            json!({"name": format!("{base}-webhook"), "namespace": "zstart-system", "path": "/mutate", "port": 443})
        );
    }
    Ok(())
}

#[tokio::test]
async fn settings_reach_the_configuration_of_their_binary() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/registry-values.yaml")).await?;
    assert_eq!(
        configuration(&objects, "zstart-controller")?,
        json!({
            "healthListen": "0.0.0.0:8080", "lease": "zstart-controller",
            "level": 19,
            "method": "auto",
            "verify": "full",
            "platforms": ["linux/amd64", "linux/arm/v7"],
            "platformRetention": "48h",
            "platformsConfigMap": "zstart-controller-platforms",
            "executor": "pool",
            "workers": 4,
            "layersAtOnce": 1,
            "tagChildren": "always",
            "conversionTimeout": "30m",
            "recheckInterval": "90s",
            "recheckIntervalAlways": "30s",
            "confirmInterval": "4h",
            "measurePulls": false,
            "keepRecordsFor": "24h",
            "immutableTags": ["registry.example:5000/*:v?*.?*.?*"],
            "plainHttpRegistries": ["registry.example:5000"],
            "tokenServers": ["login.example"],
            "credentialsFile": "/etc/zstart/credentials/config.json",
            "ecrRegistries": ["123456789012.dkr.ecr.eu-west-1.amazonaws.com", "public.ecr.aws"],
            "usePullSecrets": false, "pullSecretNames": [], "pullSecretNamespaces": [],
            "excludedNamespaces": [],
            "allowedControllers": [],
            "rotateCertificates": true,
            "webhook": {
                "configuration": "zstart",
                "service": "zstart-webhook",
                "servingSecret": "zstart-webhook-tls",
                "caSecret": "zstart-webhook-ca",
            },
        })
    );
    assert_eq!(
        configuration(&objects, "zstart-webhook")?,
        json!({
            "listen": "0.0.0.0:8443",
            "healthListen": "0.0.0.0:8080",
            "servingSecret": "zstart-webhook-tls",
            "drain": {"grace": "12s"},
            "maxStaleness": "1h",
            "maxStalenessAlways": "2m",
            "maxCacheAge": "5m",
            "immutableTags": ["registry.example:5000/*:v?*.?*.?*"],
            "runtimes": {"containerd": "1.5"},
            "whenNoNode": "leave",
            "minSize": 0,
            "minGain": 0,
            "signedImages": [],
            "allowedTargets": ["registry.example:5000/mirror"],
            "allowedControllers": [],
        })
    );
    Ok(())
}

#[tokio::test]
async fn allowed_controllers_reach_both_binaries() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/locked-down-values.yaml")).await?;
    let controller = configuration(&objects, "zstart-controller")?;
    assert_eq!(controller["excludedNamespaces"], json!(["ingress", "cni-system"]));
    assert_eq!(controller["allowedControllers"], json!(["Rollout.argoproj.io"]));
    assert_eq!(
        configuration(&objects, "zstart-webhook")?["allowedControllers"],
        controller["allowedControllers"]
    );
    Ok(())
}

#[tokio::test]
async fn settings_of_decisions_reach_the_webhook() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/locked-down-values.yaml")).await?;
    let webhook = configuration(&objects, "zstart-webhook")?;
    for (name, expected) in [
        ("whenNoNode", json!(["karpenter.sh/nodepool in (general, batch)", "pool=spot,gpu"])),
        ("maxStalenessAlways", json!("90s")),
        ("runtimes", json!({"containerd": "1.7", "cri-o": "1.30"})),
        ("minSize", json!("10Mi")),
        ("minGain", json!(2.5)),
        ("signedImages", json!(["registry.example/release/*"])),
    ] {
        assert_eq!(webhook[name], expected, "{name}");
    }
    // A number from a values file is a float in Go, which prints large ones with an exponent.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("values.yaml");
    fs::write(&file, "webhook: {minSize: 104857600, whenNoNode: rewrite, runtimes: {containerd: null}}")?;
    let webhook = configuration(&helm.render_file("zstart", &file).await?, "zstart-webhook")?;
    assert_eq!((&webhook["minSize"], &webhook["runtimes"]), (&json!(104_857_600), &json!({})));
    assert_eq!(webhook["whenNoNode"], "rewrite");
    Ok(())
}

#[tokio::test]
async fn release_named_like_a_number_or_boolean_stays_text() -> Result<()> {
    let helm = Helm::find().await?;
    for release in ["true", "20260101"] {
        let objects = helm.render(release, &["fullnameOverride=zs"]).await?;
        for object in &objects {
            let instance = &object["metadata"]["labels"]["app.kubernetes.io/instance"];
            assert!(instance.is_null() || instance == release, "{} {instance}", name(object));
        }
    }
    Ok(())
}

#[tokio::test]
async fn pod_label_overrides_the_common_label() -> Result<()> {
    let helm = Helm::find().await?;
    let sets = ["commonLabels.team=all", "commonLabels.cost=7x", "webhook.podLabels.team=web"];
    let objects = helm.render("zstart", &sets).await?;
    let labels = |name: &str| -> Result<Value> {
        Ok(find(&objects, "Deployment", name)?["spec"]["template"]["metadata"]["labels"].clone())
    };
    let (controller, webhook) = (labels("zstart-controller")?, labels("zstart-webhook")?);
    assert_eq!((&controller["team"], &webhook["team"]), (&json!("all"), &json!("web")));
    assert_eq!((&controller["cost"], &webhook["cost"]), (&json!("7x"), &json!("7x")));
    Ok(())
}

#[tokio::test]
async fn unset_list_renders_as_an_empty_list() -> Result<()> {
    let helm = Helm::find().await?;
    let sets = [
        "records.writers.users=null",
        "records.writers.groups=null",
        "records.immutableTags=null",
        "controller.plainHttpRegistries=null",
        "webhook.allowedTargets=null",
        "webhook.signedImages=null",
        "webhook.allowedControllers=null",
        "webhook.excludedNamespaces=null",
    ];
    let objects = helm.render("zstart", &sets).await?;
    assert_eq!(configuration(&objects, "zstart-controller")?["plainHttpRegistries"], json!([]));
    assert_eq!(configuration(&objects, "zstart-webhook")?["allowedTargets"], json!([]));
    let policy = find(&objects, "ValidatingAdmissionPolicy", "zstart-records")?.to_string();
    assert!(!policy.contains("null"), "{policy}");
    Ok(())
}

#[tokio::test]
async fn changed_setting_rolls_only_the_pods_that_read_it() -> Result<()> {
    let helm = Helm::find().await?;
    let before = helm.render("zstart", &[]).await?;
    let after = helm.render("zstart", &["controller.level=9"]).await?;
    let pods = |objects: &[Value], name: &str| -> Result<Value> {
        Ok(find(objects, "Deployment", name)?["spec"]["template"].clone())
    };
    assert_ne!(pods(&before, "zstart-controller")?, pods(&after, "zstart-controller")?);
    assert_eq!(pods(&before, "zstart-webhook")?, pods(&after, "zstart-webhook")?);
    Ok(())
}

#[tokio::test]
async fn webhook_covers_new_pods_and_ephemeral_containers() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render("zstart", &["webhook.excludedNamespaces={ingress}"]).await?;
    let configuration = find(&objects, "MutatingWebhookConfiguration", "zstart")?;
    let webhooks = configuration["webhooks"].as_array().context("no webhooks")?;
    assert_eq!(webhooks.len(), 1);
    let webhook = &webhooks[0];
    assert_eq!(webhook["failurePolicy"], "Ignore");
    assert_eq!(webhook["timeoutSeconds"], 2);
    assert_eq!(webhook["sideEffects"], "None");
    assert_eq!(webhook["reinvocationPolicy"], "IfNeeded");
    let asked: Vec<_> = webhook["rules"]
        .as_array()
        .context("no rules")?
        .iter()
        .map(|rule| (rule["operations"].clone(), rule["resources"].clone()))
        .collect();
    assert_eq!(
        asked,
        [(json!(["CREATE"]), json!(["pods"])), (json!(["UPDATE"]), json!(["pods/ephemeralcontainers"]))]
    );
    assert_eq!(
        webhook["namespaceSelector"]["matchExpressions"],
        json!([
            {"key": "zstart.dev/rewrite", "operator": "In", "values": ["enabled", "audit"]},
            {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", "zstart-system", "ingress"],
            },
        ])
    );
    assert_eq!(
        webhook["clientConfig"].get("caBundle"),
        None,
        "an upgrade would overwrite what the controller wrote"
    );
    Ok(())
}

#[tokio::test]
async fn pods_run_without_root_and_with_a_read_only_disk() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render("zstart", &[]).await?;
    for deployment in ["zstart-controller", "zstart-webhook"] {
        let spec = &find(&objects, "Deployment", deployment)?["spec"]["template"]["spec"];
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{deployment}");
        assert_eq!(spec["securityContext"]["runAsUser"], 65532, "{deployment}");
        assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{deployment}");
        let container = &spec["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true, "{deployment}");
        assert_eq!(container["allowPrivilegeEscalation"], false, "{deployment}");
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}), "{deployment}");
    }
    Ok(())
}

#[tokio::test]
async fn user_and_groups_set_to_null_are_left_out() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render_file("zstart", &chart().join("ci/openshift-values.yaml")).await?;
    for deployment in ["zstart-controller", "zstart-webhook"] {
        let spec = &find(&objects, "Deployment", deployment)?["spec"]["template"]["spec"];
        let expected = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        assert_eq!(spec["securityContext"], expected, "{deployment}");
    }
    let unset = ["podSecurityContext=null", "securityContext=null", "webhook.resources=null"];
    let objects = helm.render("zstart", &unset).await?;
    let spec = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"];
    assert_eq!(spec.get("securityContext"), None);
    assert_eq!(spec["containers"][0].get("securityContext"), None);
    assert_eq!(spec["containers"][0].get("resources"), None);
    Ok(())
}

#[tokio::test]
async fn host_network_replaces_pods_without_a_surge() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, surge, unavailable) in [("webhook.hostNetwork=false", 1, 0), ("webhook.hostNetwork=true", 0, 1)]
    {
        let objects = helm.render("zstart", &[set]).await?;
        let strategy = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["strategy"];
        let expected = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        assert_eq!(strategy["rollingUpdate"], expected, "{set}");
    }
    Ok(())
}

#[tokio::test]
async fn webhook_port_reaches_program_pod_and_policy() -> Result<()> {
    let helm = Helm::find().await?;
    let private_gke = ["webhook.port=10250", "networkPolicy.enabled=true"];
    for sets in
        [&private_gke[..], &["webhook.hostNetwork=true", "webhook.port=9443", "networkPolicy.enabled=true"]]
    {
        let objects = helm.render("zstart", sets).await?;
        let listen = &configuration(&objects, "zstart-webhook")?["listen"];
        let port: u16 =
            listen.as_str().and_then(|text| text.rsplit(':').next()).context("no port")?.parse()?;
        assert!(sets.contains(&format!("webhook.port={port}").as_str()), "{listen}");
        let container =
            &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["ports"][0], json!({"name": "https", "containerPort": port}));
        let service = &find(&objects, "Service", "zstart-webhook")?["spec"]["ports"][0];
        assert_eq!((&service["port"], &service["targetPort"]), (&json!(443), &json!("https")));
        let ingress = &find(&objects, "NetworkPolicy", "zstart-webhook")?["spec"]["ingress"][0];
        assert_eq!(ingress["ports"][0]["port"], port);
    }
    Ok(())
}

#[tokio::test]
async fn aks_admissions_enforcer_is_disabled_in_every_mode() -> Result<()> {
    let helm = Helm::find().await?;
    for values in ci_values()? {
        let objects = helm.render_file("zstart", &values).await?;
        let admission = objects.iter().find(|object| object["kind"] == "MutatingWebhookConfiguration");
        let annotations = &admission.context("no configuration")?["metadata"]["annotations"];
        assert_eq!(annotations["admissions.enforcer/disabled"], "true", "{}", values.display());
    }
    Ok(())
}

#[tokio::test]
async fn termination_grace_period_covers_the_drain() -> Result<()> {
    let helm = Helm::find().await?;
    for (grace, seconds) in [("1s", 1), ("12s", 12), ("20s", 20)] {
        let objects = helm.render("zstart", &[&format!("webhook.drain.grace={grace}")]).await?;
        let spec = &find(&objects, "Deployment", "zstart-webhook")?["spec"]["template"]["spec"];
        let period = spec["terminationGracePeriodSeconds"].as_u64().context("no period")?;
        // The webhook gives open requests 10 seconds after the grace period.
        assert!(period > seconds + 10, "{period} s end before the webhook does");
        assert_eq!(configuration(&objects, "zstart-webhook")?["drain"]["grace"], grace);
    }
    Ok(())
}

#[tokio::test]
async fn image_digest_replaces_the_tag() -> Result<()> {
    let helm = Helm::find().await?;
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let set = format!("webhook.image.digest={digest}");
    let objects =
        helm.render("zstart", &["image.registry=registry.lab:5000/z", "image.tag=v2", &set]).await?;
    let image = |deployment: &str| -> Result<Value> {
        Ok(find(&objects, "Deployment", deployment)?["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone())
    };
    assert_eq!(image("zstart-webhook")?, format!("registry.lab:5000/z/zstart-webhook@{digest}"));
    assert_eq!(image("zstart-controller")?, "registry.lab:5000/z/zstart-controller:v2");
    Ok(())
}

#[tokio::test]
async fn crd_is_rendered_unchanged_and_kept_on_uninstall() -> Result<()> {
    let helm = Helm::find().await?;
    let objects = helm.render("zstart", &[]).await?;
    let file: Vec<Value> = serde_saphyr::from_multiple(&fs::read_to_string(chart().join("files/crd.yaml"))?)?;
    assert_eq!(
        file.iter().map(name).collect::<Vec<_>>(),
        ["imageconversions.zstart.dev", "ownerholds.zstart.dev", "freshnesssweeps.zstart.dev"]
    );
    for definition in &file {
        let rendered = find(&objects, "CustomResourceDefinition", name(definition))?;
        assert_eq!(rendered["spec"], definition["spec"]);
        assert_eq!(rendered["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        assert_eq!(rendered["metadata"]["labels"]["app.kubernetes.io/name"], "zstart");
    }

    let without = helm.render("zstart", &["crd.install=false"]).await?;
    let kept: Vec<&str> =
        without.iter().filter(|object| object["kind"] == "CustomResourceDefinition").map(name).collect();
    assert_eq!(kept, Vec::<&str>::new());
    Ok(())
}
