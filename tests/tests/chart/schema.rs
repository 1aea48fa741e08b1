//! The schema of the values: closed, complete, and with messages that name a misspelt value.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zstart_tests::chart::{Helm, chart};

/// Members that Kubernetes defines, not the chart.
const FREE: [&str; 8] =
    ["texts", "labels", "annotations", "object", "commonAnnotations", "runtimes", "global", "affinity"];

/// Requires `additionalProperties` in each part of the schema that names properties.
fn open_parts(schema: &Value, path: &str, open: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object)
                && !members.contains_key("additionalProperties")
            {
                open.push(path.to_owned());
            }
            for (name, member) in members {
                open_parts(member, &format!("{path}/{name}"), open);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| open_parts(item, path, open)),
        _ => {}
    }
}

#[test]
fn schema_closes_every_part_that_names_members() -> Result<()> {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?;
    let mut open = Vec::new();
    open_parts(&schema, "", &mut open);
    assert_eq!(open, [""; 0]);
    Ok(())
}

#[test]
fn every_value_has_an_entry_in_the_schema() -> Result<()> {
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(chart().join("values.yaml"))?)?;
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?;
    let mut missing = BTreeSet::new();
    compare(&values, &schema, &schema, "", &mut missing)?;
    assert_eq!(missing, BTreeSet::new(), "values without an entry, and entries without a value");
    Ok(())
}

fn compare(
    values: &Value,
    part: &Value,
    schema: &Value,
    path: &str,
    missing: &mut BTreeSet<String>,
) -> Result<()> {
    let reference = part["$ref"].as_str();
    let part = match reference.and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).with_context(|| format!("the schema lacks {pointer}"))?,
        None => part,
    };
    let name =
        reference.and_then(|text| text.rsplit('/').next()).or(path.rsplit('.').next()).unwrap_or_default();
    let (Some(members), Some(known)) = (values.as_object(), part["properties"].as_object()) else {
        return Ok(());
    };
    // An empty map is a whole value: Kubernetes knows its members.
    if FREE.contains(&name) || (members.is_empty() && !path.is_empty()) {
        return Ok(());
    }
    for (member, value) in members {
        let path = format!("{path}.{member}");
        match known.get(member) {
            Some(part) => compare(value, part, schema, &path, missing)?,
            None => drop(missing.insert(path)),
        }
    }
    // Security contexts and resources have members without a default.
    let whole = ["podSecurityContext", "securityContext", "resources"].contains(&name);
    let undocumented =
        known.keys().filter(|member| !whole && !members.contains_key(*member) && *member != "global");
    missing.extend(undocumented.map(|member| format!("{path}.{member}")));
    Ok(())
}

#[tokio::test]
async fn misspelt_value_is_named_at_every_depth() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, path, wrong) in [
        ("proxy.httpProxi=http://a:1", "/proxy", "httpProxi"),
        ("caBundle.configmap=a", "/caBundle", "configmap"),
        ("webhook.service.ipFamily=IPv6", "/webhook/service", "ipFamily"),
        ("webhook.strategy.rollingUpdate.surge=1", "/webhook/strategy/rollingUpdate", "surge"),
        ("controller.podSecurityContext.runAsNonRot=true", "/controller/podSecurityContext", "runAsNonRot"),
        ("podSecurityContext.runAsUid=7", "/podSecurityContext", "runAsUid"),
        ("securityContext.readOnly=true", "/securityContext", "readOnly"),
        ("controller.resources.limit.memory=1Gi", "/controller/resources", "limit"),
        ("webhook.tolerations[0].efect=NoSchedule", "/webhook/tolerations/0", "efect"),
        ("webhook.affinity.podAfinity.a=b", "/webhook/affinity", "podAfinity"),
        ("controller.extraEnv[0].name=A,controller.extraEnv[0].val=b", "/controller/extraEnv/0", "val"),
        ("controller.jobs.serviceAccount.nam=a", "/controller/jobs/serviceAccount", "nam"),
        (
            "webhook.namespaceSelector[0].key=a,webhook.namespaceSelector[0].op=In",
            "/webhook/namespaceSelector/0",
            "op",
        ),
        ("dnsConfig.nameserver={10.0.0.1}", "/dnsConfig", "nameserver"),
        ("crd.kep=false", "/crd", "kep"),
        ("webhook.failurePolicy=Fail", "/webhook/failurePolicy", "Ignore"),
        ("listenAddress=::", "/listenAddress", "pattern"),
        ("proxy.httpsProxy=proxy:3128", "/proxy/httpsProxy", "pattern"),
        (
            "controller.terminationGracePeriodSeconds=5",
            "/controller/terminationGracePeriodSeconds",
            "want 10",
        ),
        (
            "commonAnnotations.helm\\.sh/resource-policy=keep",
            "/commonAnnotations/helm.sh~1resource-policy",
            "reserved",
        ),
    ] {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        assert!(message.contains(&format!("'{path}'")) && message.contains(wrong), "--set {set}: {message}");
    }
    Ok(())
}
