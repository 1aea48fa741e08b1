//! Random pods: images, and every kind of constraint that the scheduler knows for labels, taints and spreading.

use serde_json::{Map, Value, json};

use crate::constraints;
use crate::images::IMAGES;
use crate::nodes::Fleet;
use crate::random::Random;

/// Namespaces of the pods, and the value of their label `zstart.dev/rewrite`.
pub(crate) const NAMESPACES: [(&str, &str); 3] = [("on", "enabled"), ("audit", "audit"), ("off", "disabled")];
/// `ReplicaSet` that owns pods, in each namespace.
pub(crate) const OWNER: &str = "app";
/// Pods per application. Pods of one application repel or spread each other.
const PODS_PER_APP: usize = 6;

/// Pod before its admission.
pub(crate) struct Draft {
    pub(crate) name: String,
    pub(crate) namespace: &'static str,
    pub(crate) object: Value,
}

/// Random pods. `owners` holds the UID of each namespace's `ReplicaSet`.
pub(crate) fn drafts(random: &mut Random, count: usize, fleet: &Fleet, owners: &[String]) -> Vec<Draft> {
    (0..count)
        .map(|number| {
            let place = match random.below(100) {
                0..85 => 0,
                85..95 => 1,
                _ => 2,
            };
            let name = format!("pod-{number:04}");
            let app = format!("app-{}", random.below(count / PODS_PER_APP + 1));
            let metadata = metadata(random, &name, &app, &owners[place]);
            let object = json!({"metadata": metadata, "spec": spec(random, &app, fleet)});
            Draft { name, namespace: NAMESPACES[place].0, object }
        })
        .collect()
}

fn metadata(random: &mut Random, name: &str, app: &str, owner: &str) -> Value {
    let mut metadata = json!({"name": name, "labels": {"app": app}});
    if random.chance(3) {
        metadata["labels"]["zstart.dev/rewrite"] = json!("disabled");
    }
    match random.below(100) {
        0..40 => {
            metadata["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": OWNER, "uid": owner, "controller": true}]);
        }
        40..43 => {
            metadata["ownerReferences"] = json!([{"apiVersion": "db.example/v1", "kind": "Database",
                "name": "d", "uid": "1", "controller": true}]);
        }
        _ => {}
    }
    metadata
}

fn spec(random: &mut Random, app: &str, fleet: &Fleet) -> Value {
    let mut spec = Map::new();
    let mut set = |field: &str, value: Value| spec.insert(field.to_owned(), value);
    set("containers", containers(random, "main", 3));
    if random.chance(25) {
        set("initContainers", init_containers(random));
    }
    if random.chance(10) {
        let image = image(random);
        set("volumes", json!([{"name": "model", "image": {"reference": image}}]));
    }
    match random.below(100) {
        0..5 => _ = set("os", json!({"name": "linux"})),
        5..8 => _ = set("os", json!({"name": "windows"})),
        _ => {}
    }
    if random.chance(15) {
        set("topologySpreadConstraints", constraints::spread(random, app));
    }
    match random.below(100) {
        0..4 => _ = set("nodeName", json!(constraints::any_node(random, fleet))),
        4..5 => _ = set("nodeName", json!("unknown")),
        _ => {}
    }
    for (field, value) in constraints::placement(random, app, fleet) {
        set(field, value);
    }
    Value::Object(spec)
}

fn containers(random: &mut Random, prefix: &str, most: usize) -> Value {
    let containers = (0..=random.below(most)).map(|number| {
        let mut container = json!({
            "name": format!("{prefix}-{number}"), "image": image(random),
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        });
        if let Some(policy) = pull_policy(random) {
            container["imagePullPolicy"] = json!(policy);
        }
        container
    });
    Value::Array(containers.collect())
}

fn init_containers(random: &mut Random) -> Value {
    let mut containers = containers(random, "init", 2);
    for container in containers.as_array_mut().into_iter().flatten() {
        if random.chance(40) {
            container["restartPolicy"] = json!("Always");
        }
    }
    containers
}

/// An image; the one without a record is rare.
fn image(random: &mut Random) -> &'static str {
    random.weighted(&IMAGES, |image| if image.converted.is_empty() { 2 } else { 10 }).reference
}

fn pull_policy(random: &mut Random) -> Option<&'static str> {
    match random.below(100) {
        0..60 => None,
        60..78 => Some("IfNotPresent"),
        78..97 => Some("Always"),
        _ => Some("Never"),
    }
}
