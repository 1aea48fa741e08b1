//! Monitors, rules and dashboard that the chart renders.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use zstart_tests::chart::{Helm, chart, find, name};

use crate::rendering::configuration;

const COMPONENTS: [&str; 2] = ["controller", "webhook"];

async fn with_service_monitor() -> Result<Vec<Value>> {
    Helm::find().await?.render_file("zstart", &chart().join("ci/monitoring-values.yaml")).await
}

/// Returns whether a selector matches labels.
fn matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.into_iter().all(|(label, value)| labels[label] == *value)
        && expressions.all(|expression| {
            assert_eq!(expression["operator"], "In");
            let label = &labels[expression["key"].as_str().unwrap_or_default()];
            expression["values"].as_array().is_some_and(|values| values.contains(label))
        })
}

#[tokio::test]
async fn nothing_of_monitoring_is_rendered_by_default() -> Result<()> {
    let objects = Helm::find().await?.render("zstart", &[]).await?;
    for object in &objects {
        assert_ne!(object["apiVersion"], "monitoring.coreos.com/v1", "{}", name(object));
        assert!(
            !name(object).ends_with("-metrics") && !name(object).ends_with("-dashboard"),
            "{}",
            name(object)
        );
    }
    Ok(())
}

#[tokio::test]
async fn service_monitor_selects_both_health_ports() -> Result<()> {
    let objects = with_service_monitor().await?;
    let monitor = &find(&objects, "ServiceMonitor", "zstart")?["spec"];
    assert_eq!(monitor["namespaceSelector"], json!({"matchNames": ["zstart-system"]}));
    let endpoints = monitor["endpoints"].as_array().context("no endpoints")?;
    assert_eq!(endpoints.len(), 1);
    let services = objects.iter().filter(|object| object["kind"] == "Service");
    let mut selected = BTreeMap::new();
    for service in services.filter(|service| matches(&monitor["selector"], &service["metadata"]["labels"])) {
        for port in service["spec"]["ports"].as_array().context("a Service has no ports")? {
            if port["name"] == endpoints[0]["port"] {
                selected.insert(name(service), (&service["spec"], &port["targetPort"]));
            }
        }
    }
    assert_eq!(
        selected.keys().copied().collect::<Vec<_>>(),
        ["zstart-controller-metrics", "zstart-webhook-metrics"]
    );
    for component in COMPONENTS {
        let (service, target) = selected[format!("zstart-{component}-metrics").as_str()];
        let pod = &find(&objects, "Deployment", &format!("zstart-{component}"))?["spec"]["template"];
        assert!(
            matches(&json!({"matchLabels": service["selector"]}), &pod["metadata"]["labels"]),
            "{component}"
        );
        assert_eq!(service["publishNotReadyAddresses"], true, "{component}");
        assert_eq!(listening_port(&objects, component, target)?, health_port(&objects, component)?);
    }
    Ok(())
}

/// Number of a pod's named port.
fn listening_port(objects: &[Value], component: &str, port: &Value) -> Result<Value> {
    let pod = &find(objects, "Deployment", &format!("zstart-{component}"))?["spec"]["template"]["spec"];
    let mut ports = pod["containers"][0]["ports"].as_array().context("no ports")?.iter();
    Ok(ports.find(|known| known["name"] == *port).context("the pod has no such port")?["containerPort"]
        .clone())
}

/// Port in the program's configuration file, at which it serves its metrics.
fn health_port(objects: &[Value], component: &str) -> Result<Value> {
    let listen = configuration(objects, &format!("zstart-{component}"))?["healthListen"].clone();
    let port: u16 = listen.as_str().and_then(|text| text.rsplit(':').next()).context("no port")?.parse()?;
    Ok(json!(port))
}

#[tokio::test]
async fn network_policies_admit_the_scrapes() -> Result<()> {
    let helm = Helm::find().await?;
    let file = chart().join("ci/monitoring-values.yaml");
    let objects = helm.render_file("zstart", &file).await?;
    let from = json!([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]);
    for component in COMPONENTS {
        let policy = &find(&objects, "NetworkPolicy", &format!("zstart-{component}"))?["spec"];
        let port = health_port(&objects, component)?;
        let rule = json!({"ports": [{"protocol": "TCP", "port": port}], "from": from});
        let ingress = policy["ingress"].as_array().context("no rules")?;
        assert!(ingress.contains(&rule), "{component}: {ingress:?}");
    }
    Ok(())
}

#[tokio::test]
async fn pod_monitor_selects_both_health_ports() -> Result<()> {
    let sets = ["monitoring.podMonitor.enabled=true", "webhook.healthPort=9090", "controller.executor=jobs"];
    let objects = Helm::find().await?.render("zstart", &sets).await?;
    let monitor = &find(&objects, "PodMonitor", "zstart")?["spec"];
    let endpoint = &monitor["podMetricsEndpoints"][0];
    assert_eq!(endpoint, &json!({"port": "health", "path": "/metrics", "interval": "30s"}));
    for component in COMPONENTS {
        let pod = &find(&objects, "Deployment", &format!("zstart-{component}"))?["spec"]["template"];
        assert!(matches(&monitor["selector"], &pod["metadata"]["labels"]), "{component}");
        assert_eq!(
            listening_port(&objects, component, &endpoint["port"])?,
            health_port(&objects, component)?
        );
    }
    assert!(!objects.iter().any(|object| name(object).ends_with("-metrics")), "no Service is needed");
    Ok(())
}

#[tokio::test]
async fn both_monitors_at_once_are_refused() -> Result<()> {
    let sets = ["monitoring.podMonitor.enabled=true", "monitoring.serviceMonitor.enabled=true"];
    let message = Helm::find().await?.fails_to_render("zstart", &sets).await?;
    assert!(
        message.contains("monitoring.serviceMonitor and monitoring.podMonitor are both enabled"),
        "{message}"
    );
    Ok(())
}

#[tokio::test]
async fn settings_reach_the_monitor() -> Result<()> {
    let objects = with_service_monitor().await?;
    let monitor = find(&objects, "ServiceMonitor", "zstart")?;
    assert_eq!(monitor["metadata"]["labels"]["release"], "kube-prometheus-stack");
    assert_eq!(
        monitor["spec"]["endpoints"][0],
        json!({
            "port": "metrics", "path": "/metrics", "interval": "15s", "scrapeTimeout": "10s",
            "relabelings": [{"targetLabel": "cluster", "replacement": "eu-1"}],
            "metricRelabelings": [{
                "action": "drop", "sourceLabels": ["__name__"],
                "regex": "zstart_controller_source_changes_total",
            }],
        })
    );
    Ok(())
}

#[tokio::test]
async fn object_label_replaces_the_common_label() -> Result<()> {
    let sets = [
        "monitoring.rules.enabled=true",
        "monitoring.rules.labels.team=alerts",
        "monitoring.dashboard.enabled=true",
        "commonLabels.team=all",
    ];
    let objects = Helm::find().await?.render("zstart", &sets).await?;
    let labels = |kind, name| anyhow::Ok(find(&objects, kind, name)?["metadata"]["labels"].clone());
    assert_eq!(labels("PrometheusRule", "zstart")?["team"], "alerts");
    assert_eq!(labels("ConfigMap", "zstart-dashboard")?["team"], "all");
    Ok(())
}

#[tokio::test]
async fn rules_and_dashboard_are_the_files() -> Result<()> {
    let objects = with_service_monitor().await?;
    let file = |name: &str| fs::read_to_string(chart().join("files").join(name));
    let rules: Value = serde_saphyr::from_str(&file("alerts.yaml")?)?;
    let rendered = find(&objects, "PrometheusRule", "zstart")?;
    assert_eq!(rendered["spec"], rules);
    assert_eq!(rendered["metadata"]["labels"]["release"], "kube-prometheus-stack");

    let dashboard = find(&objects, "ConfigMap", "zstart-dashboard")?;
    let metadata = &dashboard["metadata"];
    assert_eq!(
        (&metadata["namespace"], &metadata["labels"]["grafana_dashboard"]),
        (&json!("monitoring"), &json!("1"))
    );
    assert_eq!(metadata["annotations"], json!({"grafana_folder": "Kubernetes", "team": "platform"}));
    let text = dashboard["data"]["zstart.json"].as_str().context("no dashboard")?;
    assert_eq!(
        serde_json::from_str::<Value>(text)?,
        serde_json::from_str::<Value>(&file("dashboard.json")?)?
    );
    Ok(())
}

#[tokio::test]
async fn mistyped_settings_of_monitoring_are_refused() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, expected) in [
        ("monitoring.serviceMonitors.enabled=true", "serviceMonitors"),
        ("monitoring.serviceMonitor.intervall=1m", "intervall"),
        ("monitoring.serviceMonitor.interval=1minute", "/monitoring/serviceMonitor/interval"),
        ("monitoring.podMonitor.scrapeTimeout=10", "/monitoring/podMonitor/scrapeTimeout"),
        ("monitoring.rules.namespace=Monitoring", "/monitoring/rules/namespace"),
        ("monitoring.dashboard.labels.grafana_dashboard=1", "/monitoring/dashboard/labels/grafana_dashboard"),
        ("monitoring.rules.labels.app\\.kubernetes\\.io/name=x", "/monitoring/rules/labels"),
    ] {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        assert!(message.contains(expected), "--set {set} says {message:?} without {expected:?}");
    }
    Ok(())
}
