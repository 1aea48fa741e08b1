//! Random constraints: selectors, affinity, tolerations, spreading.

use serde_json::{Value, json};

use crate::nodes::{CORDONED, Fleet, INSTANCE, LATE, POOLS, Pool, TEAM, Taint, instance_id};
use crate::random::Random;

const ZONES: [&str; 4] = ["a", "b", "c", "nowhere"];
const ARCHITECTURES: [&str; 3] = ["amd64", "arm64", "riscv64"];

/// Name of a node that exists before the pods.
pub(crate) fn any_node<'a>(random: &mut Random, fleet: &'a Fleet) -> &'a str {
    &random.pick(&fleet.nodes).name
}

/// Fields of a specification that limit a pod's nodes. Many pods choose a pool and tolerate its taint; an
/// unlimited pod seldom can be rewritten in a cluster of so many kinds of nodes.
pub(crate) fn placement(random: &mut Random, app: &str, fleet: &Fleet) -> Vec<(&'static str, Value)> {
    let pool = home(random);
    let mut fields = Vec::new();
    let (mut selector, mut pinned) = (json!({}), None);
    match (pool, random.chance(50)) {
        (Some(pool), true) => selector["pool"] = json!(pool.name),
        (Some(pool), false) => {
            let mut pools = vec![pool.name];
            if random.chance(20) {
                pools.push(random.pick(&POOLS).name);
            }
            pinned = Some(json!({"key": "pool", "operator": "In", "values": pools}));
        }
        (None, _) => {}
    }
    if random.chance(20) {
        let (label, value) = label(random, fleet);
        selector[label] = json!(value);
    }
    fields.push(("nodeSelector", selector));
    fields.push(("tolerations", tolerations(random, pool)));
    let mut affinity = json!({});
    if pinned.is_some() || random.chance(20) {
        affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
            json!({"nodeSelectorTerms": terms(random, fleet, pinned.as_ref())});
    }
    if random.chance(15) {
        affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] =
            json!([{"weight": 1 + random.below(100), "preference": term(random, fleet, None)}]);
    }
    let own = json!({"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": topology(random)});
    match random.below(100) {
        0..10 => {
            affinity["podAntiAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": [own]});
        }
        10..15 => {
            affinity["podAffinity"] = json!({"requiredDuringSchedulingIgnoredDuringExecution": [own]});
        }
        _ => {}
    }
    fields.push(("affinity", affinity));
    fields
}

/// Pool that a pod chooses.
fn home(random: &mut Random) -> Option<Pool> {
    match random.below(100) {
        0..70 => Some(*random.pick(&POOLS)),
        70..74 => Some(LATE),
        _ => None,
    }
}

/// Label that some nodes have, or none.
fn label(random: &mut Random, fleet: &Fleet) -> (&'static str, String) {
    match random.below(9) {
        0 => ("topology.kubernetes.io/zone", (*random.pick(&ZONES)).into()),
        1 | 2 => ("kubernetes.io/arch", (*random.pick(&ARCHITECTURES)).into()),
        3 => ("beta.kubernetes.io/os", "linux".into()),
        4 => ("kubernetes.io/os", (*random.pick(&["linux", "linux", "windows"])).into()),
        5 => ("kubernetes.io/hostname", any_node(random, fleet).into()),
        6 => ("node.kubernetes.io/instance-type", "m5.large".into()),
        7 => (INSTANCE, instance_id(any_node(random, fleet))),
        _ => ("team", (*random.pick(&["a", "b"])).into()),
    }
}

/// Alternatives. Each has the requirement `pinned`, if there is one.
fn terms(random: &mut Random, fleet: &Fleet, pinned: Option<&Value>) -> Vec<Value> {
    let count = if random.chance(70) { 1 } else { 2 + random.below(2) };
    (0..count).map(|_| term(random, fleet, pinned)).collect()
}

fn term(random: &mut Random, fleet: &Fleet, pinned: Option<&Value>) -> Value {
    let mut expressions: Vec<Value> = pinned.into_iter().cloned().collect();
    let more = if pinned.is_some() { random.below(2) } else { 1 + random.below(2) };
    for _ in 0..more {
        expressions.push(expression(random, fleet));
    }
    let mut term = json!({"matchExpressions": expressions});
    if random.chance(12) {
        let operator = if random.chance(50) { "In" } else { "NotIn" };
        let name = any_node(random, fleet);
        term["matchFields"] = json!([{"key": "metadata.name", "operator": operator, "values": [name]}]);
    }
    term
}

fn expression(random: &mut Random, fleet: &Fleet) -> Value {
    let pools = POOLS.map(|pool| pool.name);
    // Labels that tell single nodes apart.
    let names = [any_node(random, fleet), any_node(random, fleet)];
    let ids = names.map(instance_id);
    let ids = [&*ids[0], &*ids[1]];
    let (key, values): (&str, &[&str]) = match random.below(11) {
        0 | 1 => ("topology.kubernetes.io/zone", &ZONES),
        2 | 3 => ("kubernetes.io/arch", &ARCHITECTURES),
        4 => ("kubernetes.io/os", &["linux", "windows"]),
        5 => ("pool", &pools),
        6 => ("generation", &["1", "2", "5", "007", "x7", ""]),
        7 => ("spot", &["true", ""]),
        8 => ("kubernetes.io/hostname", &names),
        9 => (INSTANCE, &ids),
        _ => ("absent", &["x"]),
    };
    match random.below(12) {
        0..4 => json!({"key": key, "operator": "In", "values": random.some(values, 3)}),
        4..7 => json!({"key": key, "operator": "NotIn", "values": random.some(values, 2)}),
        7 => json!({"key": key, "operator": "Exists"}),
        8 => json!({"key": key, "operator": "DoesNotExist"}),
        // Numbers, mostly of the only label that has numbers.
        number => {
            let key = if random.chance(85) { "generation" } else { key };
            let operator = if number % 2 == 0 { "Gt" } else { "Lt" };
            let bound = *random.pick(&["0", "2", "5", "006", "10"]);
            json!({"key": key, "operator": operator, "values": [bound]})
        }
    }
}

fn tolerations(random: &mut Random, pool: Option<Pool>) -> Value {
    let mut tolerations = Vec::new();
    if let Some(taint) = pool.and_then(|pool| pool.taint).filter(|_| random.chance(85)) {
        tolerations.push(toleration(random, taint));
    }
    if random.chance(25) {
        let taints: Vec<Taint> = POOLS.iter().filter_map(|pool| pool.taint).chain([CORDONED, TEAM]).collect();
        let taint = *random.pick(&taints);
        tolerations.push(toleration(random, taint));
    }
    match random.below(100) {
        0..4 => tolerations.push(json!({"operator": "Exists"})),
        4..8 => tolerations.push(json!({"operator": "Exists", "effect": "NoSchedule"})),
        8..10 => {
            tolerations.push(json!({"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}));
        }
        _ => {}
    }
    Value::Array(tolerations)
}

/// Toleration of a taint in one of its forms. The last two differ from the taint.
fn toleration(random: &mut Random, (key, value, effect): Taint) -> Value {
    match random.below(10) {
        0..3 => json!({"key": key, "operator": "Equal", "value": value, "effect": effect}),
        3..5 => json!({"key": key, "value": value}),
        5..7 => json!({"key": key, "operator": "Exists"}),
        7 => json!({"key": key, "operator": "Exists", "effect": effect}),
        8 => json!({"key": key, "operator": "Equal", "value": "other", "effect": effect}),
        _ => json!({"key": key, "operator": "Exists", "effect": "PreferNoSchedule"}),
    }
}

fn topology(random: &mut Random) -> &'static str {
    if random.chance(75) { "kubernetes.io/hostname" } else { "topology.kubernetes.io/zone" }
}

/// Spreading of an application's pods.
pub(crate) fn spread(random: &mut Random, app: &str) -> Value {
    let policy = |random: &mut Random| if random.chance(50) { "Honor" } else { "Ignore" };
    let unsatisfiable = if random.chance(50) { "DoNotSchedule" } else { "ScheduleAnyway" };
    json!([{
        "maxSkew": 1 + random.below(2), "topologyKey": topology(random), "whenUnsatisfiable": unsatisfiable,
        "labelSelector": {"matchLabels": {"app": app}},
        "nodeAffinityPolicy": policy(random), "nodeTaintsPolicy": policy(random),
    }])
}
