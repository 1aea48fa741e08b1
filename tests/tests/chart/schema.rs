//! The schema of the values: closed, complete, and with messages that name a misspelt value.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;
use zstart_tests::chart::{Helm, chart};

/// Runtimes have no default version but containerd's.
const WITHOUT_DEFAULTS: &str = "runtimes";

/// Values that only a parent chart sets.
const OF_PARENTS: [&str; 2] = ["enabled", "global"];
/// Parts that accept every member: a parent chart's values, and the settings of a volume's driver.
const FREE: [&str; 3] = [
    "/properties/global",
    "/definitions/Volume/properties/csi/properties/volumeAttributes",
    "/definitions/Volume/properties/flexVolume/properties/options",
];

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

/// Collects the schemas of values that don't limit the values' types, members or items.
fn free_parts(part: &Value, path: &str, free: &mut Vec<String>) {
    if ["$ref", "enum", "const"].iter().any(|keyword| part.get(keyword).is_some()) {
        return;
    }
    if let Some(alternatives) = part["oneOf"].as_array() {
        return alternatives.iter().for_each(|part| free_parts(part, path, free));
    }
    // The other parts add limits.
    if let Some(first) = part.pointer("/allOf/0") {
        return free_parts(first, path, free);
    }
    let is = |kind: &str| {
        part["type"] == kind || part["type"].as_array().is_some_and(|all| all.contains(&kind.into()))
    };
    let members = ["properties", "patternProperties"].into_iter().filter(|keyword| part[keyword].is_object());
    let mut is_limited = part["type"].is_string() || part["type"].is_array();
    if is("object") {
        is_limited = members.clone().count() > 0 && part["additionalProperties"] == false;
    }
    if is("array") {
        is_limited = part["items"].is_object();
        free_parts(&part["items"], &format!("{path}/items"), free);
    }
    if !is_limited {
        free.push(path.to_owned());
    }
    for keyword in members {
        for (name, member) in part[keyword].as_object().into_iter().flatten() {
            free_parts(member, &format!("{path}/{keyword}/{name}"), free);
        }
    }
}

#[test]
fn schema_limits_the_content_of_every_value() -> Result<()> {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?;
    let mut free = Vec::new();
    free_parts(&schema, "", &mut free);
    for (name, definition) in schema["definitions"].as_object().context("no definitions")? {
        free_parts(definition, &format!("/definitions/{name}"), &mut free);
    }
    free.sort();
    let mut known = FREE;
    known.sort_unstable();
    assert_eq!(free, known);
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
    // Kubernetes' types have capitals; `kubernetes_types` compares their members. An empty map is a whole value.
    let is_kubernetes = name.starts_with(|first: char| first.is_ascii_uppercase());
    if is_kubernetes || name == WITHOUT_DEFAULTS || (members.is_empty() && !path.is_empty()) {
        return Ok(());
    }
    for (member, value) in members {
        let path = format!("{path}.{member}");
        match known.get(member) {
            Some(part) => compare(value, part, schema, &path, missing)?,
            None => drop(missing.insert(path)),
        }
    }
    let is_documented = |member: &str| members.contains_key(member) || OF_PARENTS.contains(&member);
    let undocumented = known.keys().filter(|member| !is_documented(member));
    missing.extend(undocumented.map(|member| format!("{path}.{member}")));
    Ok(())
}

#[tokio::test]
async fn values_of_a_parent_chart_are_accepted() -> Result<()> {
    Helm::find().await?.render("zstart", &["enabled=true", "global.team=a"]).await?;
    Ok(())
}

/// A misspelt value, the part of the values that helm names, and a word of its message.
type Misspelt = (&'static str, &'static str, &'static str);

fn misspelt_values() -> Vec<Misspelt> {
    vec![
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
    ]
}

#[expect(clippy::too_many_lines, reason = "a table of values")]
fn misspelt_parts_of_kubernetes_objects() -> Vec<Misspelt> {
    vec![
        ("controller.resources.limits.memroy=1Gi", "/controller/resources/limits", "memroy"),
        ("controller.jobs.resources.requests.cpus=1", "/controller/jobs/resources/requests", "cpus"),
        ("webhook.resources.limits.memory=1GB", "/webhook/resources/limits/memory", "'1GB'"),
        ("webhook.resources.claims[0].nam=a", "/webhook/resources/claims/0", "'nam'"),
        ("webhook.tolerations[0].effect=NoSchedul", "/webhook/tolerations/0/effect", "'NoSchedule'"),
        ("controller.tolerations[0].operator=Exist", "/controller/tolerations/0/operator", "'Exists'"),
        ("webhook.nodeSelector.disk=ssd nvme", "/webhook/nodeSelector/disk", "pattern"),
        ("controller.nodeSelector.kubernetes/io/os=linux", "/controller/nodeSelector", "kubernetes/io/os"),
        ("controller.priorityClassName=System", "/controller/priorityClassName", "pattern"),
        (
            "controller.securityContext.capabilities.dorp={ALL}",
            "/controller/securityContext/capabilities",
            "dorp",
        ),
        ("securityContext.capabilities.drop={AL}", "/securityContext/capabilities/drop/0", "'ALL'"),
        (
            "securityContext.allowPrivilegeEscalation=flase",
            "/securityContext/allowPrivilegeEscalation",
            "want null or boolean",
        ),
        ("webhook.securityContext.procMount=Masked", "/webhook/securityContext/procMount", "'Unmasked'"),
        ("podSecurityContext.seccompProfile.typ=Localhost", "/podSecurityContext/seccompProfile", "'typ'"),
        (
            "podSecurityContext.seccompProfile.type=RuntimeDefalt",
            "/podSecurityContext/seccompProfile/type",
            "'RuntimeDefault'",
        ),
        (
            "podSecurityContext.fsGroupChangePolicy=Allways",
            "/podSecurityContext/fsGroupChangePolicy",
            "'Always'",
        ),
        (
            "webhook.podSecurityContext.seLinuxOptions.lvl=a",
            "/webhook/podSecurityContext/seLinuxOptions",
            "lvl",
        ),
        (
            "controller.podSecurityContext.sysctls[0].valu=b",
            "/controller/podSecurityContext/sysctls/0",
            "'valu'",
        ),
        ("controller.extraVolumes[0].configmap.name=b", "/controller/extraVolumes/0", "configmap"),
        ("controller.extraVolumes[0].secret.secretNam=b", "/controller/extraVolumes/0/secret", "'secretNam'"),
        (
            "webhook.extraVolumes[0].projected.sources[0].serviceAccountToken.expires=1",
            "/webhook/extraVolumes/0/projected/sources/0/serviceAccountToken",
            "expires",
        ),
        (
            "controller.jobs.extraVolumes[0].emptyDir.medium=memory",
            "/controller/jobs/extraVolumes/0/emptyDir/medium",
            "pattern",
        ),
        (
            "controller.jobs.extraVolumeMounts[0].mounthPath=/a",
            "/controller/jobs/extraVolumeMounts/0",
            "mounthPath",
        ),
        (
            "webhook.extraVolumeMounts[0].mountPropagation=Both",
            "/webhook/extraVolumeMounts/0/mountPropagation",
            "'Bidirectional'",
        ),
        (
            "controller.affinity.nodeAffinity.requiredDuringScheduling.a=b",
            "/controller/affinity/nodeAffinity",
            "'requiredDuringScheduling'",
        ),
        (
            "controller.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution\
             .nodeSelectorTerms[0].matchExpression[0].key=a",
            "/controller/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0",
            "'matchExpression'",
        ),
        (
            "webhook.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0]\
             .podAffinityTerm.topologykey=a",
            "/webhook/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution/0/podAffinityTerm",
            "'topologykey'",
        ),
        (
            "controller.jobs.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0]\
             .labelSelector.matchLabel.a=b",
            "/controller/jobs/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/labelSelector",
            "'matchLabel'",
        ),
        (
            "webhook.topologySpreadConstraints[0].labelSelector.matchExpressions[0].operator=Inn",
            "/webhook/topologySpreadConstraints/0/labelSelector/matchExpressions/0/operator",
            "'In'",
        ),
        (
            "controller.topologySpreadConstraints[0].maxSkw=1",
            "/controller/topologySpreadConstraints/0",
            "'maxSkw'",
        ),
        (
            "controller.podDisruptionBudget.maxUnavailabel=1",
            "/controller/podDisruptionBudget",
            "maxUnavailabel",
        ),
        ("webhook.strategy.type=Rolling", "/webhook/strategy/type", "'RollingUpdate'"),
        (
            "controller.extraEnv[0].valueFrom.secretKeyReff.key=b",
            "/controller/extraEnv/0/valueFrom",
            "secretKeyReff",
        ),
        (
            "webhook.extraEnv[0].valueFrom.fieldRef.fieldPath=metadata.nam",
            "/webhook/extraEnv/0/valueFrom/fieldRef/fieldPath",
            "pattern",
        ),
        ("webhook.extraEnvFrom[0].secretRef.nam=a", "/webhook/extraEnvFrom/0/secretRef", "'nam'"),
        ("controller.podAnnotations.a/b/c=d", "/controller/podAnnotations", "a/b/c"),
        ("webhook.matchConditions[0].expresion=true", "/webhook/matchConditions/0", "expresion"),
        ("webhook.objectSelector[0].operator=Exist", "/webhook/objectSelector/0/operator", "'Exists'"),
        ("networkPolicy.metricsFrom[0].podSelectr.a=b", "/networkPolicy/metricsFrom/0", "podSelectr"),
        ("networkPolicy.extraEgress[0].prots[0].port=1", "/networkPolicy/extraEgress/0", "prots"),
        (
            "networkPolicy.extraEgress[0].ports[0].protocol=TPC",
            "/networkPolicy/extraEgress/0/ports/0/protocol",
            "'TCP'",
        ),
        (
            "networkPolicy.extraEgress[0].to[0].ipBlock.cdir=10.0.0.0/8",
            "/networkPolicy/extraEgress/0/to/0/ipBlock",
            "cdir",
        ),
        (
            "monitoring.podMonitor.relabelings[0].targetLable=a",
            "/monitoring/podMonitor/relabelings/0",
            "targetLable",
        ),
        (
            "monitoring.serviceMonitor.metricRelabelings[0].action=dorp",
            "/monitoring/serviceMonitor/metricRelabelings/0/action",
            "'drop'",
        ),
        ("hostAliases[0].hostNames={a}", "/hostAliases/0", "'hostNames'"),
        ("hostAliases[0].ip=10.0.0", "/hostAliases/0/ip", "pattern"),
        ("imagePullSecrets[0].nam=a", "/imagePullSecrets/0", "'nam'"),
        ("dnsConfig.options[0].nam=a", "/dnsConfig/options/0", "'nam'"),
        ("dnsConfig.nameservers={10.0.0}", "/dnsConfig/nameservers/0", "pattern"),
    ]
}

#[tokio::test]
async fn misspelt_value_is_named_at_every_depth() -> Result<()> {
    let helm = Helm::find().await?;
    for (set, path, wrong) in misspelt_values().into_iter().chain(misspelt_parts_of_kubernetes_objects()) {
        let message = helm.fails_to_render("zstart", &[set]).await?;
        assert!(message.contains(&format!("'{path}'")) && message.contains(wrong), "--set {set}: {message}");
    }
    Ok(())
}
