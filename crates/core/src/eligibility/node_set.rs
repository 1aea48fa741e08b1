//! All nodes of a cluster, interned into classes. The cost of a look-up depends on the number of classes.
//!
//! Some labels divide nodes into too many classes: they identify single nodes (`kubernetes.io/hostname`, instance
//! ids) or small groups (racks, `topology.k8s.aws/network-node-layer-3`). The nodes keep such labels, and an index
//! finds the nodes of a value.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::node::Node;
use super::node_class::{Candidate, NodeClass};
use super::placement::Placement;
use super::selector::{Match, Value, Values};

mod dividing;
#[cfg(test)]
mod tests;

/// Label that always identifies a single node.
const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";
/// Number of classes that moving labels to the nodes aims at. Clusters of thousands of nodes have dozens of
/// shapes.
const MAX_CLASSES: usize = 64;

type Labels = BTreeMap<String, String>;

/// Nodes by name, and their classes.
#[derive(Debug)]
pub struct NodeSet {
    nodes: HashMap<Arc<str>, Member>,
    classes: HashMap<Arc<NodeClass>, BTreeSet<Arc<str>>>,
    /// Nodes by label value, for each label that the nodes keep.
    kept_labels: HashMap<String, HashMap<String, BTreeSet<Arc<str>>>>,
    /// Number of classes that makes labels move to the nodes.
    max_classes: usize,
}

impl Default for NodeSet {
    fn default() -> Self {
        Self {
            nodes: HashMap::new(),
            classes: HashMap::new(),
            kept_labels: HashMap::new(),
            max_classes: MAX_CLASSES,
        }
    }
}

/// A node: its class, and the labels that it keeps.
#[derive(Debug, PartialEq)]
struct Member {
    class: Arc<NodeClass>,
    own: Labels,
}

/// Values of one node.
struct MemberValues<'a> {
    name: &'a str,
    member: &'a Member,
}

/// Values that all nodes of a class share.
struct ClassValues<'a> {
    set: &'a NodeSet,
    class: &'a NodeClass,
}

impl Member {
    /// Returns whether the pod could be scheduled to this node.
    fn matches(&self, name: &str, placement: &Placement<'_>) -> bool {
        placement.matches(&MemberValues { name, member: self }, &self.class) != Match::No
    }
}

impl Values for MemberValues<'_> {
    fn label(&self, key: &str) -> Value<'_> {
        let value = self.member.own.get(key).or_else(|| self.member.class.labels.get(key));
        Value::Known(value.map(String::as_str))
    }

    fn name(&self) -> Value<'_> {
        Value::Known(Some(self.name))
    }
}

impl Values for ClassValues<'_> {
    fn label(&self, key: &str) -> Value<'_> {
        if self.set.is_kept(key) {
            Value::Differs
        } else {
            Value::Known(self.class.labels.get(key).map(String::as_str))
        }
    }

    fn name(&self) -> Value<'_> {
        Value::Differs
    }
}

impl NodeSet {
    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes.len()
    }

    /// Names of the nodes of a class.
    pub fn names(&self, class: &NodeClass) -> impl Iterator<Item = &str> {
        self.classes.get(class).into_iter().flatten().map(|name| &**name)
    }

    /// A node by its name.
    pub fn get(&self, name: &str) -> Option<Node> {
        let (name, Member { class, own }) = self.nodes.get_key_value(name)?;
        let NodeClass { labels, taints, platform, runtime } = (**class).clone();
        let labels = labels.into_iter().chain(own.clone()).collect();
        Some(Node { name: name.to_string(), labels, taints, platform, runtime })
    }

    /// Adds or replaces a node.
    pub fn insert(&mut self, node: Node) {
        let (name, member) = self.split(node);
        // The kubelet reports its status every few minutes, and most reports change nothing.
        if self.nodes.get(&*name) == Some(&member) {
            return;
        }
        self.remove(&name);
        // Nodes that were different once may have gone.
        self.max_classes = self.max_classes.min(MAX_CLASSES.max(self.classes.len() * 2));
        self.add(name, member);
        self.merge_classes();
    }

    /// Removes a node, if it exists.
    pub fn remove(&mut self, name: &str) {
        let Some((name, member)) = self.nodes.remove_entry(name) else { return };
        if let Some(names) = self.classes.get_mut(&member.class) {
            names.remove(&name);
            if names.is_empty() {
                self.classes.remove(&member.class);
            }
        }
        for (key, value) in &member.own {
            if let Some(values) = self.kept_labels.get_mut(key)
                && let Some(names) = values.get_mut(value)
            {
                names.remove(&name);
                if names.is_empty() {
                    values.remove(value);
                }
            }
        }
    }

    /// Returns the classes with nodes that the pod could be scheduled to.
    ///
    /// A class counts whole if one of its nodes matches. Only constraints on names and on labels that the nodes
    /// keep tell the nodes of a class apart; then single nodes are tried until one matches.
    pub fn candidates(&self, placement: &Placement<'_>) -> Vec<Candidate<'_>> {
        if let Some(names) = self.named(placement) {
            return self.candidates_among(&names, placement);
        }
        let is_match =
            |name: &Arc<str>| self.nodes.get(name).is_some_and(|node| node.matches(name, placement));
        let found = self.classes.iter().filter_map(|(class, names)| {
            let node = match placement.matches(&ClassValues { set: self, class }, class) {
                Match::No => None,
                Match::All => names.first(),
                Match::Some => names.iter().find(|name| is_match(name)),
            };
            Some(Candidate { class, node: node?, nodes: names.len() })
        });
        found.collect()
    }

    fn candidates_among(&self, names: &[&str], placement: &Placement<'_>) -> Vec<Candidate<'_>> {
        let (mut found, mut places) = (Vec::<Candidate<'_>>::new(), HashMap::new());
        for name in names {
            let Some((node, member)) = self.nodes.get_key_value(*name) else { continue };
            let class = &member.class;
            // Groups of nodes have few classes. A class that was found needs no second match.
            if let Some(place) = places.get(&Arc::as_ptr(class)) {
                let candidate: &mut Candidate<'_> = &mut found[*place];
                candidate.nodes += 1;
            } else if member.matches(node, placement) {
                places.insert(Arc::as_ptr(class), found.len());
                found.push(Candidate { class, node, nodes: 1 });
            }
        }
        found
    }

    /// Names of the only possible nodes in order, if the pod names nodes or values of labels that nodes keep.
    fn named<'s>(&'s self, placement: &Placement<'s>) -> Option<Vec<&'s str>> {
        if let Some(name) = placement.node_name() {
            return Some(vec![name]);
        }
        // No node has a value that isn't indexed.
        let none = const { &BTreeSet::new() };
        let of_value =
            |(key, value): (&str, &str)| Some(self.kept_labels.get(key)?.get(value).unwrap_or(none));
        if let Some(fewest) = placement.node_selector().filter_map(of_value).min_by_key(|names| names.len()) {
            return Some(fewest.iter().map(|name| &**name).collect());
        }
        let mut names = Vec::new();
        for term in placement.terms()? {
            if let Some(pinned) = super::selector::pinned_names(term) {
                names.extend(pinned.iter().map(String::as_str));
                continue;
            }
            let by_label = self.kept_labels.iter().find_map(|(key, values)| {
                super::selector::pinned_values(term, key).map(|pinned| (values, pinned))
            });
            let (values, pinned) = by_label?;
            names.extend(pinned.iter().filter_map(|value| values.get(value)).flatten().map(|name| &**name));
        }
        names.sort_unstable();
        names.dedup();
        Some(names)
    }

    fn is_kept(&self, key: &str) -> bool {
        key == HOSTNAME_LABEL || self.kept_labels.contains_key(key)
    }

    /// Splits a node's labels into those of its class and its own. An equal class is shared.
    fn split(&self, node: Node) -> (Arc<str>, Member) {
        let Node { name, labels, taints, platform, runtime } = node;
        let (own, labels): (Labels, Labels) = labels.into_iter().partition(|(key, _)| self.is_kept(key));
        let class = NodeClass { labels, taints, platform, runtime };
        let class = self
            .classes
            .get_key_value(&class)
            .map_or_else(|| Arc::new(class), |(class, _)| Arc::clone(class));
        (name.into(), Member { class, own })
    }

    fn add(&mut self, name: Arc<str>, member: Member) {
        self.classes.entry(Arc::clone(&member.class)).or_default().insert(Arc::clone(&name));
        for (key, value) in &member.own {
            let values = self.kept_labels.entry(key.clone()).or_default();
            values.entry(value.clone()).or_default().insert(Arc::clone(&name));
        }
        self.nodes.insert(name, member);
    }

    /// Moves labels from the classes to the nodes if there are too many classes. Moved labels are considered again:
    /// a label that divided a few nodes most may be the shape of many. Only labels with a value for each second
    /// node stay, because thousands of classes take long to divide, and reviews wait.
    fn merge_classes(&mut self) {
        if self.classes.len() <= self.max_classes {
            return;
        }
        let half = self.nodes.len() / 2;
        self.kept_labels.retain(|_, values| values.len() > half);
        let kept_before: HashSet<String> = self.kept_labels.keys().cloned().collect();
        self.rebuild();
        let before = self.classes.len();
        while self.classes.len() > MAX_CLASSES {
            let labels = dividing::most_dividing(self.classes.keys().map(|class| &**class));
            if labels.is_empty() {
                break;
            }
            self.kept_labels.extend(labels.into_iter().map(|label| (label, HashMap::new())));
            self.rebuild();
        }
        // The nodes differ in other ways, so labels that pods select by had better stay in the classes.
        if self.classes.len() > MAX_CLASSES && self.classes.len() > before / 2 {
            self.kept_labels.retain(|label, _| kept_before.contains(label));
            self.rebuild();
        }
        // The next attempt waits until the number has doubled.
        self.max_classes = MAX_CLASSES.max(self.classes.len() * 2);
    }

    /// Divides all nodes into classes again.
    fn rebuild(&mut self) {
        let labels = self.kept_labels.keys().map(|label| (label.clone(), HashMap::new()));
        let mut rebuilt =
            Self { kept_labels: labels.collect(), max_classes: self.max_classes, ..Self::default() };
        for node in self.nodes.keys().filter_map(|name| self.get(name)) {
            let (name, member) = rebuilt.split(node);
            rebuilt.add(name, member);
        }
        *self = rebuilt;
    }
}
