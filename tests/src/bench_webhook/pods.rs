//! Pods with the defaults, tokens and managed fields that an API server has filled in before it calls webhooks.

use serde_json::{Map, Value, json};
use zstart_core::Digest;

use super::reviews::{NAMESPACE, ReplicaSet};

/// Environment variables of a container.
const VARIABLES: [(&str, &str); 10] = [
    ("LOG_LEVEL", "info"),
    ("HTTP_PORT", "8080"),
    ("DATABASE_URL", "postgres://orders.db.internal:5432/orders?sslmode=verify-full"),
    ("KAFKA_BROKERS", "kafka-0.kafka.internal:9093,kafka-1.kafka.internal:9093,kafka-2.kafka.internal:9093"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.observability.svc:4317"),
    ("OTEL_SERVICE_NAME", "service"),
    ("FEATURE_FLAGS", "checkout-v2,new-search,fast-refunds"),
    ("CACHE_TTL", "300s"),
    ("GOMEMLIMIT", "460MiB"),
    ("REGION", "eu-central-1"),
];
/// Name of the volume with the service account's token.
const TOKEN: &str = "kube-api-access-7x2lq";

/// Name of a workload.
pub(super) fn workload(number: usize) -> String {
    format!("service-{}", number % 997)
}

/// Formats the first half of a hash as a UUID.
pub(super) fn uuid(hash: &Digest) -> String {
    let hex = hash.hex();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

/// Pod of a `ReplicaSet`, with one container per image and the given scheduling members.
pub(crate) fn pod(number: usize, images: &[String], owner: &ReplicaSet, placement: &Value) -> Value {
    let workload = workload(number);
    let labels = json!({
        "app.kubernetes.io/name": workload, "app.kubernetes.io/part-of": "shop",
        "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "service-4.2.1", "pod-template-hash": "5d4f7c9b8",
    });
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(index, image)| container(index, image)).collect();
    let mut spec = json!({
        "volumes": [
            {"name": "config", "configMap": {"name": format!("{workload}-config"), "defaultMode": 420}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
            token_volume(),
        ],
        "containers": containers,
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "serviceAccountName": workload, "serviceAccount": workload,
        "securityContext": {"runAsNonRoot": true, "runAsUser": 10_001, "fsGroup": 10_001,
            "seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler", "priority": 0, "enableServiceLinks": true,
        "preemptionPolicy": "PreemptLowerPriority",
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": workload}}}],
    });
    if let (Some(spec), Some(members)) = (spec.as_object_mut(), placement.as_object()) {
        spec.extend(members.clone());
    }
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "generateName": format!("{}-", owner.name), "namespace": NAMESPACE, "creationTimestamp": null,
            "labels": labels,
            "annotations": {"checksum/config": Digest::sha256_of(workload.as_bytes()).hex(),
                "prometheus.io/port": "9090", "prometheus.io/scrape": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner.name,
                "uid": owner.uid, "controller": true, "blockOwnerDeletion": true}],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-01-20T08:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": managed_fields(images.len()),
            }],
        },
        "spec": spec,
        "status": {},
    })
}

fn container_name(index: usize) -> &'static str {
    ["app", "exporter", "proxy", "agent"][index % 4]
}

/// Container; the first one has more variables and probes.
fn container(index: usize, image: &str) -> Value {
    let variables = if index == 0 { &VARIABLES[..] } else { &VARIABLES[..3] };
    let variables: Vec<Value> =
        variables.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let mut container = json!({
        "name": container_name(index), "image": image, "env": variables,
        "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "250m", "memory": "512Mi"}},
        "volumeMounts": [
            {"name": "config", "readOnly": true, "mountPath": "/etc/service"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": TOKEN, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ],
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}},
    });
    if index == 0 {
        let probe = |path: &str| {
            json!({"httpGet": {"path": path, "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 1,
                "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3})
        };
        container["ports"] = json!([{"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "metrics", "containerPort": 9090, "protocol": "TCP"}]);
        container["livenessProbe"] = probe("/livez");
        container["readinessProbe"] = probe("/readyz");
    }
    container
}

fn token_volume() -> Value {
    json!({"name": TOKEN, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3_607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

/// Fields that the ReplicaSet controller's request sets. `FieldsV1` marks each with an empty object.
fn managed_fields(containers: usize) -> Value {
    let set = |names: &[&str]| -> Map<String, Value> {
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect()
    };
    let keyed = |key: &str, value: &str| format!("k:{}", json!({key: value}));
    let container = |index: usize| {
        let mut fields = set(&[
            ".",
            "f:image",
            "f:imagePullPolicy",
            "f:name",
            "f:ports",
            "f:resources",
            "f:terminationMessagePath",
            "f:terminationMessagePolicy",
        ]);
        let variables = if index == 0 { &VARIABLES[..] } else { &VARIABLES[..3] };
        let mut environment = set(&["."]);
        for (name, _) in variables {
            environment.insert(keyed("name", name), json!({".": {}, "f:name": {}, "f:value": {}}));
        }
        fields.insert("f:env".to_owned(), environment.into());
        let mut mounts = set(&["."]);
        for path in ["/etc/service", "/tmp"] {
            mounts.insert(keyed("mountPath", path), json!({".": {}, "f:mountPath": {}, "f:name": {}}));
        }
        fields.insert("f:volumeMounts".to_owned(), mounts.into());
        (keyed("name", container_name(index)), Value::from(fields))
    };
    let mut spec = set(&[
        "f:dnsPolicy",
        "f:enableServiceLinks",
        "f:restartPolicy",
        "f:schedulerName",
        "f:securityContext",
        "f:serviceAccount",
        "f:serviceAccountName",
        "f:terminationGracePeriodSeconds",
    ]);
    spec.insert("f:containers".to_owned(), (0..containers).map(container).collect::<Map<_, _>>().into());
    json!({
        "f:metadata": {
            "f:annotations": {".": {}, "f:checksum/config": {}, "f:prometheus.io/port": {}, "f:prometheus.io/scrape": {}},
            "f:generateName": {},
            "f:labels": {".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {},
                "f:helm.sh/chart": {}, "f:pod-template-hash": {}},
            "f:ownerReferences": {".": {}},
        },
        "f:spec": spec,
    })
}
