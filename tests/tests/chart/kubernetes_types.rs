//! Values that are parts of Kubernetes' objects: the schema accepts everything that a supported version of Kubernetes
//! knows, and nothing more.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use zstart_tests::chart::{Helm, chart, schemas};

const REFERENCE: &str = "#/definitions/";
/// Metadata of which the API server accepts labels and annotations alone.
const CLAIM_METADATA: &str = "ephemeral.volumeClaimTemplate.metadata";
/// Members that the API doesn't require. The value does nothing without them.
const REQUIRED_BY_THE_CHART: [&str; 6] = [
    "imagePullSecrets[].name",
    "hostAliases[].hostnames",
    "dnsConfig.options[].name",
    ".secretRef.name",
    ".configMapRef.name",
    ".nodePublishSecretRef.name",
];

type Part = (&'static str, &'static str);

/// Values of the controller, the Jobs and the webhook, with the name of each one's type. `[]` is an item of a list.
const OF_PODS: [Part; 7] = [
    ("extraEnv[]", "api.core.v1.EnvVar"),
    ("extraEnvFrom[]", "api.core.v1.EnvFromSource"),
    ("extraVolumes[]", "api.core.v1.Volume"),
    ("extraVolumeMounts[]", "api.core.v1.VolumeMount"),
    ("tolerations[]", "api.core.v1.Toleration"),
    ("affinity", "api.core.v1.Affinity"),
    ("resources", "api.core.v1.ResourceRequirements"),
];
/// Values of the controller and the webhook.
const OF_DEPLOYMENTS: [Part; 4] = [
    ("strategy", "api.apps.v1.DeploymentStrategy"),
    ("podSecurityContext", "api.core.v1.PodSecurityContext"),
    ("securityContext", "api.core.v1.SecurityContext"),
    ("topologySpreadConstraints[]", "api.core.v1.TopologySpreadConstraint"),
];
const OTHERS: [Part; 10] = [
    ("imagePullSecrets[]", "api.core.v1.LocalObjectReference"),
    ("hostAliases[]", "api.core.v1.HostAlias"),
    ("dnsConfig", "api.core.v1.PodDNSConfig"),
    ("podSecurityContext", "api.core.v1.PodSecurityContext"),
    ("securityContext", "api.core.v1.SecurityContext"),
    ("webhook.namespaceSelector[]", "apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement"),
    ("webhook.objectSelector[]", "apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement"),
    ("webhook.matchConditions[]", "api.admissionregistration.v1.MatchCondition"),
    ("networkPolicy.metricsFrom[]", "api.networking.v1.NetworkPolicyPeer"),
    ("networkPolicy.extraEgress[]", "api.networking.v1.NetworkPolicyEgressRule"),
];

fn parts() -> Vec<(String, Value)> {
    let sections: [(&str, &[Part]); 6] = [
        ("controller.", &OF_PODS),
        ("controller.jobs.", &OF_PODS),
        ("webhook.", &OF_PODS),
        ("controller.", &OF_DEPLOYMENTS),
        ("webhook.", &OF_DEPLOYMENTS),
        ("", &OTHERS),
    ];
    let mut parts = Vec::new();
    for (section, members) in sections {
        for (path, kind) in members {
            parts.push((format!("{section}{path}"), json!({"$ref": format!("{REFERENCE}io.k8s.{kind}")})));
        }
    }
    parts
}

/// Types of all supported versions in one: a type has each member that it has in any version, and requires the members
/// that it requires in every version.
struct Types(Map<String, Value>);

impl Types {
    async fn load() -> Result<Self> {
        let mut all = Map::new();
        for (version, _) in schemas::VERSIONS {
            for (name, definition) in schemas::types(version).await? {
                let Some(known) = all.get_mut(&name) else {
                    all.insert(name, definition);
                    continue;
                };
                for (member, part) in definition["properties"].as_object().into_iter().flatten() {
                    known["properties"][member] = part.clone();
                }
                if let Some(required) = known["required"].as_array_mut() {
                    let now = definition["required"].as_array();
                    required.retain(|member| now.is_some_and(|now| now.contains(member)));
                }
            }
        }
        Ok(Self(all))
    }

    /// Definition to which a part refers, and the last word of its name. A part without a reference is its own.
    fn resolve<'a>(&'a self, part: &'a Value) -> Result<(&'a Value, &'a str)> {
        let Some(reference) = part["$ref"].as_str() else { return Ok((part, "")) };
        let name = reference.trim_start_matches(REFERENCE);
        let definition = self.0.get(name).with_context(|| format!("Kubernetes has no type {name}"))?;
        Ok((definition, name.rsplit('.').next().unwrap_or_default()))
    }
}

/// The chart's schema, and its differences from Kubernetes' types.
struct Comparison<'a> {
    schema: &'a Value,
    types: &'a Types,
    differences: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn resolve(&self, part: &'a Value) -> Result<&'a Value> {
        let Some(reference) = part["$ref"].as_str() else { return Ok(part) };
        let pointer = reference.trim_start_matches('#');
        self.schema.pointer(pointer).with_context(|| format!("the schema lacks {pointer}"))
    }

    /// Part of the schema for a value's path.
    fn part(&self, path: &str) -> Result<&'a Value> {
        let mut part = self.schema;
        for name in path.split('.') {
            part = &self.resolve(part)?["properties"][name.trim_end_matches("[]")];
            if name.ends_with("[]") {
                part = &self.resolve(part)?["items"];
            }
        }
        Ok(part)
    }

    fn compare(&mut self, ours: &'a Value, theirs: &Value, path: &str) -> Result<()> {
        let ours = self.resolve(ours)?;
        let types = self.types;
        let (theirs, _) = types.resolve(theirs)?;
        if let Some(members) = theirs["properties"].as_object() {
            self.compare_members(ours, theirs, members, path)
        } else if theirs.get("items").is_some() {
            self.compare(&ours["items"], &theirs["items"], &format!("{path}[]"))
        } else {
            for kind in kinds(theirs) {
                if !accepts(self.resolve_kinds(ours)?.as_slice(), &kind) {
                    self.differences.push(format!("{path} accepts no {kind}"));
                }
            }
            Ok(())
        }
    }

    fn compare_members(
        &mut self,
        ours: &'a Value,
        theirs: &Value,
        members: &Map<String, Value>,
        path: &str,
    ) -> Result<()> {
        let known = ours["properties"].as_object().with_context(|| format!("{path} names no members"))?;
        for (member, part) in members {
            let path = format!("{path}.{member}");
            match known.get(member) {
                Some(_) if path.ends_with(CLAIM_METADATA) => {}
                Some(ours) => self.compare(ours, part, &path)?,
                None => self.differences.push(format!("{path} is refused")),
            }
        }
        let unknown = known.keys().filter(|member| !members.contains_key(*member));
        self.differences.extend(unknown.map(|member| format!("Kubernetes has no {path}.{member}")));
        let required = theirs["required"].as_array().cloned().unwrap_or_default();
        for member in ours["required"].as_array().into_iter().flatten() {
            let path = format!("{path}.{}", member.as_str().unwrap_or_default());
            let is_known = REQUIRED_BY_THE_CHART.iter().any(|end| path.ends_with(end));
            if !required.contains(member) && !is_known {
                self.differences.push(format!("Kubernetes doesn't require {path}"));
            }
        }
        Ok(())
    }

    /// JSON types that a part accepts.
    fn resolve_kinds(&self, part: &'a Value) -> Result<Vec<String>> {
        let Some(alternatives) = part["oneOf"].as_array() else { return Ok(kinds(part)) };
        let mut all = Vec::new();
        for alternative in alternatives {
            all.extend(kinds(self.resolve(alternative)?));
        }
        Ok(all)
    }
}

/// Names of the JSON types in a part. Every enumeration in the schema is one of texts.
fn kinds(part: &Value) -> Vec<String> {
    let named = match &part["type"] {
        Value::Array(names) => names.clone(),
        Value::Null if part.get("enum").is_some() => vec![json!("string")],
        name => vec![name.clone()],
    };
    named.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Kubernetes' document calls integers that may be text numbers.
fn accepts(ours: &[String], kind: &str) -> bool {
    ours.iter().any(|own| own == kind || (kind == "number" && own == "integer"))
}

#[tokio::test]
async fn schema_has_the_members_of_kubernetes_types() -> Result<()> {
    let types = Types::load().await?;
    let schema = serde_json::from_str(&std::fs::read_to_string(chart().join("values.schema.json"))?)?;
    let mut comparison = Comparison { schema: &schema, types: &types, differences: Vec::new() };
    for (path, kind) in parts() {
        let part = comparison.part(&path)?;
        comparison.compare(part, &kind, &path)?;
    }
    assert_eq!(comparison.differences, [""; 0]);
    Ok(())
}

/// Contents of members that don't accept every text: all words of an enumeration, and examples of each form.
fn contents() -> Vec<(&'static str, Value)> {
    vec![
        ("AppArmorProfile.type", json!(["Localhost", "RuntimeDefault", "Unconfined"])),
        ("AzureDiskVolumeSource.cachingMode", json!(["None", "ReadOnly", "ReadWrite"])),
        ("AzureDiskVolumeSource.kind", json!(["Dedicated", "Managed", "Shared"])),
        ("Capabilities.add", json!(["ALL", "NET_ADMIN", "CHECKPOINT_RESTORE", "SYSLOG"])),
        ("Capabilities.drop", json!(["ALL", "all", "BPF"])),
        ("DeploymentStrategy.type", json!(["", "Recreate", "RollingUpdate"])),
        ("EmptyDirVolumeSource.medium", json!(["", "HugePages", "HugePages-2Mi", "Memory"])),
        ("HostAlias.ip", json!(["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"])),
        (
            "HostPathVolumeSource.type",
            json!([
                "",
                "DirectoryOrCreate",
                "Directory",
                "FileOrCreate",
                "File",
                "Socket",
                "CharDevice",
                "BlockDevice"
            ]),
        ),
        ("IPBlock.cidr", json!(["10.0.0.0/8", "fd00::/8", "::/0"])),
        ("IPBlock.except", json!(["10.0.0.0/9", "fd00::/9"])),
        ("ImageVolumeSource.pullPolicy", json!(["", "Always", "IfNotPresent", "Never"])),
        ("LabelSelectorRequirement.operator", json!(["DoesNotExist", "Exists", "In", "NotIn"])),
        ("NetworkPolicyPort.port", json!([443, "https"])),
        ("NetworkPolicyPort.protocol", json!(["SCTP", "TCP", "UDP"])),
        ("NodeSelectorRequirement.operator", json!(["DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn"])),
        ("ObjectFieldSelector.apiVersion", json!(["", "v1"])),
        (
            "ObjectFieldSelector.fieldPath",
            json!([
                "metadata.name",
                "metadata.namespace",
                "metadata.uid",
                "metadata.labels",
                "metadata.annotations['a.b/c']",
                "spec.nodeName",
                "spec.serviceAccountName",
                "status.hostIP",
                "status.hostIPs",
                "status.podIP",
                "status.podIPs",
            ]),
        ),
        (
            "PersistentVolumeClaimSpec.accessModes",
            json!(["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]),
        ),
        ("PersistentVolumeClaimSpec.volumeMode", json!(["Block", "Filesystem"])),
        (
            "PodCertificateProjection.keyType",
            json!(["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"]),
        ),
        ("PodDNSConfig.nameservers", json!(["10.0.0.53", "fd00::53"])),
        ("PodDNSConfig.searches", json!([".", "corp.example", "_a.example."])),
        ("PodSecurityContext.fsGroupChangePolicy", json!(["Always", "OnRootMismatch"])),
        ("PodSecurityContext.seLinuxChangePolicy", json!(["MountOption", "Recursive"])),
        ("PodSecurityContext.supplementalGroupsPolicy", json!(["Merge", "Strict"])),
        (
            "ResourceFieldSelector.resource",
            json!(["limits.cpu", "limits.hugepages-2Mi", "requests.ephemeral-storage", "requests.memory"]),
        ),
        (
            "ResourceRequirements.limits",
            json!([
                {"cpu": 2, "memory": "1Gi"},
                {"ephemeral-storage": "1e9", "hugepages-2Mi": "64Mi"},
                {"nvidia.com/gpu": "1"},
            ]),
        ),
        ("RollingUpdateDeployment.maxSurge", json!([1, "0%", "150%"])),
        ("RollingUpdateDeployment.maxUnavailable", json!([0, "100%"])),
        ("SeccompProfile.type", json!(["Localhost", "RuntimeDefault", "Unconfined"])),
        ("SecurityContext.procMount", json!(["Default", "Unmasked"])),
        ("Toleration.effect", json!(["", "NoExecute", "NoSchedule", "PreferNoSchedule"])),
        ("Toleration.key", json!(["", "node-role.kubernetes.io/infra"])),
        ("Toleration.operator", json!(["", "Equal", "Exists", "Gt", "Lt"])),
        ("TopologySpreadConstraint.nodeAffinityPolicy", json!(["Honor", "Ignore"])),
        ("TopologySpreadConstraint.nodeTaintsPolicy", json!(["Honor", "Ignore"])),
        ("TopologySpreadConstraint.whenUnsatisfiable", json!(["DoNotSchedule", "ScheduleAnyway"])),
        ("VolumeMount.bindMountOptions", json!(["nodev", "noexec", "nosuid"])),
        ("VolumeMount.mountPropagation", json!(["Bidirectional", "HostToContainer", "None"])),
        ("VolumeMount.recursiveReadOnly", json!(["Disabled", "Enabled", "IfPossible"])),
        ("VolumeResourceRequirements.requests", json!([{"storage": "1.5Gi"}])),
    ]
}

/// Makes objects that have all members. The rounds go through the contents of a member in turn.
struct Objects<'a> {
    types: &'a Types,
    contents: Vec<(&'static str, Value)>,
    round: usize,
}

impl Objects<'_> {
    fn turn(&self, contents: &Value) -> Value {
        let contents = contents.as_array().map(Vec::as_slice).unwrap_or_default();
        contents[self.round % contents.len()].clone()
    }

    /// Content of a type's member.
    fn content(&self, part: &Value, member: &str) -> Result<Value> {
        let (definition, kind) = self.types.resolve(part)?;
        if member == "PersistentVolumeClaimTemplate.metadata" {
            return Ok(json!({"labels": {"a": "b"}, "annotations": {"a": "b"}}));
        }
        let given = self.contents.iter().find(|(name, _)| *name == member);
        if let Some(members) = definition["properties"].as_object() {
            let mut object = Map::new();
            for (member, part) in members {
                object.insert(member.clone(), self.content(part, &format!("{kind}.{member}"))?);
            }
            return Ok(Value::Object(object));
        }
        if definition.get("items").is_some() {
            return Ok(json!([self.content(&definition["items"], member)?]));
        }
        if let Some((_, contents)) = given {
            return Ok(self.turn(contents));
        }
        if definition.get("additionalProperties").is_some() {
            return Ok(json!({"example.com/a": self.content(&definition["additionalProperties"], member)?}));
        }
        Ok(match kinds(definition).join(" ").as_str() {
            "boolean" => json!(true),
            "integer" => json!(1),
            "string" => json!("a"),
            // A quantity.
            _ => self.turn(&json!(["1Gi", "500m", 2, 0.5, "1e3"])),
        })
    }
}

/// Puts a content at a path, whose `[]` is a new item of the list.
fn put(values: &mut Value, path: &str, content: Value) {
    let place = path.split('.').fold(values, |place, name| &mut place[name.trim_end_matches("[]")]);
    if path.ends_with("[]") {
        let items = place.as_array().cloned().unwrap_or_default();
        *place = items.into_iter().chain([content]).collect();
    } else {
        *place = content;
    }
}

/// Each source of a volume in a volume of its own.
fn volumes(all: &Value) -> impl Iterator<Item = Value> {
    let sources = all.as_object().into_iter().flatten().filter(|(member, _)| *member != "name");
    sources
        .enumerate()
        .map(|(number, (source, content))| json!({"name": format!("v{number}"), source: content}))
}

#[tokio::test]
async fn full_objects_of_kubernetes_are_accepted() -> Result<()> {
    let helm = Helm::find().await?;
    let types = Types::load().await?;
    let folder = tempfile::tempdir()?;
    let contents = contents();
    let longest = contents.iter().filter_map(|(_, contents)| contents.as_array().map(Vec::len)).max();
    let mut objects = Objects { types: &types, contents, round: 0 };
    for round in 0..longest.unwrap_or_default() {
        objects.round = round;
        let mut values = json!({"controller": {"executor": "jobs"}, "networkPolicy": {"enabled": true}});
        for (path, kind) in parts() {
            let content = objects.content(&kind, "")?;
            if path.ends_with("extraVolumes[]") {
                volumes(&content).for_each(|volume| put(&mut values, &path, volume));
            } else {
                put(&mut values, &path, content);
            }
        }
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, serde_json::to_vec(&values)?)?;
        let rendered = helm.render_file("zstart", &file).await.with_context(|| format!("round {round}"))?;
        assert!(!rendered.is_empty());
    }
    Ok(())
}

/// A volume without a source is an emptyDir, and `emptyDir:` without members is common.
#[tokio::test]
async fn empty_parts_of_kubernetes_objects_are_accepted() -> Result<()> {
    let helm = Helm::find().await?;
    for set in [
        "webhook.extraVolumes[0].name=a",
        "webhook.extraVolumes[0].name=a,webhook.extraVolumes[0].emptyDir=null",
        "webhook.podSecurityContext=null",
        "webhook.podSecurityContext.seccompProfile=null",
        "securityContext.capabilities=null",
        "controller.securityContext.seLinuxOptions=null,controller.securityContext.procMount=null",
    ] {
        helm.render("zstart", &[set]).await.with_context(|| format!("--set {set}"))?;
    }
    Ok(())
}

/// Members and actions of `RelabelConfig` in the Prometheus Operator's `monitoring.coreos.com/v1`.
#[tokio::test]
async fn relabelings_of_the_prometheus_operator_are_accepted() -> Result<()> {
    const ACTIONS: [&str; 11] = [
        "Replace",
        "Keep",
        "Drop",
        "HashMod",
        "LabelMap",
        "LabelDrop",
        "LabelKeep",
        "Lowercase",
        "Uppercase",
        "KeepEqual",
        "DropEqual",
    ];
    let rules = ACTIONS.iter().flat_map(|action| [(*action).to_owned(), action.to_lowercase()]);
    let rules: Vec<Value> = rules
        .map(|action| {
            json!({
                "action": action, "sourceLabels": ["a", "b"], "separator": ";", "targetLabel": "c",
                "regex": "(.*)", "modulus": 8, "replacement": "$1",
            })
        })
        .collect();
    let values = json!({"monitoring": {
        "serviceMonitor": {"enabled": true, "relabelings": rules},
        "podMonitor": {"metricRelabelings": rules},
    }});
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), serde_json::to_vec(&values)?)?;
    let objects = Helm::find().await?.render_file("zstart", file.path()).await?;
    let monitor = zstart_tests::chart::find(&objects, "ServiceMonitor", "zstart")?;
    assert_eq!(monitor["spec"]["endpoints"][0]["relabelings"], json!(rules));
    Ok(())
}
