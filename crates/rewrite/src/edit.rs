//! Replacement of image references.

use std::collections::{BTreeMap, HashMap};

use crate::Manifest;
use crate::error::EditError;
use crate::tree::{Kind, NodeId};

/// Replaces bytes, parses the result, and compares it with the original.
pub(crate) fn replace(manifest: &Manifest, replacements: &[Option<String>]) -> Result<String, EditError> {
    let mut edits: HashMap<NodeId, &str> = HashMap::new();
    for (image, replacement) in manifest.images.iter().zip(replacements) {
        let Some(replacement) = replacement else { continue };
        if let Some(obstacle) = image.obstacle {
            return Err(EditError::Obstacle { document: image.document, line: image.line, obstacle });
        }
        edits.insert(image.node, replacement);
    }
    let edited = splice(manifest, &edits);
    let reread = Manifest::parse(edited, manifest.format).map_err(|_| EditError::Changed)?;
    if !manifest.tree.equals_except(&reread.tree, &edits) {
        return Err(EditError::Changed);
    }
    Ok(reread.text)
}

/// Puts the new references in the place of the old ones.
fn splice(manifest: &Manifest, edits: &HashMap<NodeId, &str>) -> String {
    let body = manifest.body();
    let mut text = manifest.text[..manifest.text.len() - body.len()].to_owned();
    let mut at = 0;
    let nodes = &manifest.tree.nodes;
    let in_order: BTreeMap<usize, (NodeId, &str)> =
        edits.iter().map(|(node, value)| (nodes[*node].range.start, (*node, *value))).collect();
    for (start, (node, value)) in in_order {
        let node = &nodes[node];
        let Kind::Scalar { style, .. } = &node.kind else { continue };
        let quote = style.quote();
        text.push_str(&body[at..start]);
        text.extend(quote);
        text.push_str(value);
        text.extend(quote);
        at = node.range.end;
    }
    text.push_str(&body[at..]);
    text
}
