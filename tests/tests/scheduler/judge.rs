//! Judgement of each image of each pod, by rules of the test's own.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use zstart_tests::simulation::node_name;

use crate::images::Image;
use crate::nodes::{Fleet, Node};
use crate::pods::Draft;

/// Effect of a rewrite on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The node starts zstd layers.
    StartsZstd,
    /// The node's platform isn't converted. The node starts the source's own layers.
    StartsUnchanged,
    /// The node could start the source but not the variant.
    Breaks,
    /// The source doesn't have the node's platform, so the node can start neither.
    StartsNeither,
}

impl Effect {
    fn of(image: &Image, node: &Node) -> Self {
        if !image.platforms.contains(&node.platform) {
            return Self::StartsNeither;
        }
        // The variant is in the registry that the reference means elsewhere: it may be another image.
        let is_ambiguous = image.is_short() && node.resolves_short_names();
        let is_converted = image.converted.contains(&node.platform);
        if is_ambiguous || (is_converted && !node.starts_zstd()) {
            Self::Breaks
        } else if is_converted {
            Self::StartsZstd
        } else {
            Self::StartsUnchanged
        }
    }
}

/// Pod after scheduling.
pub(crate) struct Trial<'a> {
    pub(crate) draft: &'a Draft,
    /// Object that the API server returned at creation.
    pub(crate) created: &'a Value,
    /// Object after scheduling.
    pub(crate) settled: &'a Pod,
    /// The webhook's decisions, by image field; `None` if the webhook wasn't asked.
    pub(crate) decisions: Option<&'a str>,
    /// Nodes that existed before the pod and that the scheduler's rules for labels and taints admit.
    pub(crate) possible: Vec<&'a Node>,
}

/// Judgement of one image.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// Reason in the webhook's answer.
    pub(crate) reason: String,
    pub(crate) is_rewritten: bool,
    /// Effect on the node that the pod was bound to; `None` for a pod without a node, and for a node that joined
    /// after the pod was created.
    pub(crate) bound: Option<Effect>,
    /// A rewrite would help on at least one possible node and break the image on none.
    pub(crate) could_be_rewritten: bool,
    /// Broken promises.
    pub(crate) violations: Vec<String>,
}

impl Trial<'_> {
    /// Judges each image of the pod.
    pub(crate) fn judge(&self, fleet: &Fleet) -> Result<Vec<Verdict>> {
        let decisions: BTreeMap<String, String> =
            serde_json::from_str(self.decisions.unwrap_or("{}")).context("decisions aren't a map")?;
        let bound = node_name(self.settled);
        let node = bound.and_then(|name| fleet.nodes.iter().find(|node| node.name == name));
        let is_pinned = self.draft.object["spec"].get("nodeName").is_some();
        let mut verdicts = Vec::new();
        for (field, written) in images(&self.draft.object) {
            let after = images(self.created);
            let after = after.get(&field).with_context(|| format!("{} lost {field}", self.draft.name))?;
            let image = Image::find(&written).context("the image is unknown to the test")?;
            let effect = |node: &&Node| Effect::of(image, node);
            let effects: Vec<Effect> = self.possible.iter().map(effect).collect();
            let is_rewritten = *after != written;
            // An answer may explain its reason after the word.
            let word =
                |text: &String| text.chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
            let reason = decisions.get(&field).map_or_else(|| "(not asked)".into(), word);
            let mut violations = Vec::new();
            let mut require = |holds: bool, promise: &str| {
                if !holds {
                    violations.push(format!("{} {field} ({written}, {reason}): {promise}", self.draft.name));
                }
            };
            require(is_rewritten == (reason == "Rewritten"), "the decision differs from the stored image");
            if is_rewritten {
                let variant = format!("@{}", image.variant_digest());
                require(after.ends_with(&variant), &format!("{after} isn't the variant"));
                require(!effects.is_empty(), "rewritten although no node matches");
                for node in self.possible.iter().filter(|node| effect(node) == Effect::Breaks) {
                    require(false, &format!("{} can't start the variant", shown(node)));
                }
                if let Some(node) = node.filter(|node| effect(node) == Effect::Breaks) {
                    require(false, &format!("landed on {}", shown(node)));
                }
            }
            if let Some(node) = node.filter(|_| !is_pinned) {
                let known = self.possible.iter().any(|possible| possible.name == node.name);
                require(known, &format!("the scheduler chose {}, which its library refuses", node.name));
            }
            verdicts.push(Verdict {
                could_be_rewritten: effects.contains(&Effect::StartsZstd)
                    && !effects.contains(&Effect::Breaks),
                bound: node.as_ref().map(effect),
                reason,
                is_rewritten,
                violations,
            });
        }
        Ok(verdicts)
    }
}

fn shown(node: &Node) -> String {
    format!("{} ({}, {})", node.name, node.platform, node.runtime)
}

/// Images of a pod, by field: `containers/NAME`.
fn images(pod: &Value) -> BTreeMap<String, String> {
    let mut images = BTreeMap::new();
    let lists = [("containers", "/image"), ("initContainers", "/image"), ("volumes", "/image/reference")];
    for (list, pointer) in lists {
        for entry in pod["spec"][list].as_array().into_iter().flatten() {
            let name = entry["name"].as_str().unwrap_or_default();
            if let Some(image) = entry.pointer(pointer).and_then(Value::as_str) {
                images.insert(format!("{list}/{name}"), image.to_owned());
            }
        }
    }
    images
}
