//! Labels that divide nodes into too many classes.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use crate::eligibility::node_class::NodeClass;

/// Most values of a label that always stays in the classes, such as a zone.
const FEW_VALUES: usize = 8;

/// Labels that divide the classes in the same way, e.g. the four labels of a zone.
struct Group<'a> {
    keys: Vec<&'a str>,
    values: usize,
}

/// Returns the labels without which the fewest classes are left; of alike ones, those with the most values. Labels
/// with few values are never among them.
pub(super) fn most_dividing<'a>(classes: impl Iterator<Item = &'a NodeClass>) -> Vec<String> {
    let classes: Vec<&NodeClass> = classes.collect();
    let groups = groups(&classes).into_iter().filter(|group| group.values > FEW_VALUES);
    // The keys make the choice the same in each process.
    let found = groups.min_by_key(|group| {
        (classes_without(&classes, &group.keys), Reverse(group.values), group.keys.clone())
    });
    found.map_or_else(Vec::new, |group| group.keys.into_iter().map(str::to_owned).collect())
}

fn groups<'a>(classes: &[&'a NodeClass]) -> Vec<Group<'a>> {
    let keys: BTreeSet<&str> =
        classes.iter().flat_map(|class| class.labels.keys()).map(String::as_str).collect();
    let mut groups = HashMap::<Vec<usize>, Group<'_>>::new();
    for key in keys {
        // Equal numbers for equal values, in the order of the classes.
        let mut numbers = HashMap::new();
        let division = classes.iter().map(|class| {
            let next = numbers.len();
            *numbers.entry(class.labels.get(key)).or_insert(next)
        });
        let division = division.collect();
        let values = numbers.len();
        groups.entry(division).or_insert_with(|| Group { keys: Vec::new(), values }).keys.push(key);
    }
    groups.into_values().collect()
}

/// Number of classes that are left without the labels `keys`. Classes are compared by a sum of hashes. Two different
/// classes have equal sums with a chance of about 1 in 2^64: then another label may be chosen, and the candidates
/// stay the same.
fn classes_without(classes: &[&NodeClass], keys: &[&str]) -> usize {
    let sum = |class: &&NodeClass| {
        let NodeClass { labels, taints, platform, runtime } = *class;
        let labels = labels.iter().filter(|(key, _)| !keys.contains(&key.as_str()));
        labels.fold(hash(&(taints, platform, runtime)), |sum, label| sum.wrapping_add(hash(&label)))
    };
    classes.iter().map(sum).collect::<HashSet<_>>().len()
}

fn hash(value: &impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(value)
}
