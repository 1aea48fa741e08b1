//! Syntax tree with the byte range of every value, for all formats.
//!
//! The nodes are in the order of the text. Two texts with equal content therefore have equal lists of nodes, which
//! is how an edit is checked.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::unescaped::Unescaped;

/// Index of a node in its tree.
pub(crate) type NodeId = usize;

/// Values of a file.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// Root of each document.
    pub(crate) roots: Vec<NodeId>,
    /// Nodes by YAML's anchor.
    pub(crate) anchors: HashMap<usize, NodeId>,
    /// Anchors that an alias names.
    pub(crate) aliased: HashSet<usize>,
}

/// Value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    /// Bytes of the value, with its quotes. Only exact for scalars.
    pub(crate) range: Range<usize>,
    /// YAML's anchor.
    pub(crate) anchor: Option<usize>,
}

/// Kinds of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Scalar {
        value: String,
        style: Style,
    },
    Sequence(Vec<NodeId>),
    /// Keys and values.
    Mapping(Vec<(NodeId, NodeId)>),
    /// Another place of the anchor's node.
    Alias(usize),
    /// Arguments of a Terraform function.
    Call(Vec<NodeId>),
    /// Value that is computed elsewhere: a reference, an interpolated string, a tagged scalar.
    Expression,
}

/// Notation of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    /// JSON's quotes, escaped in a string. The range is between them.
    Escaped,
    /// YAML's literal (`|`) or folded (`>`) block.
    Block,
}

impl Style {
    /// Quotes around the value.
    pub(crate) fn quote(self) -> Option<char> {
        match self {
            Self::Plain | Self::Escaped | Self::Block => None,
            Self::SingleQuoted => Some('\''),
            Self::DoubleQuoted => Some('"'),
        }
    }
}

impl Tree {
    /// Adds a node whose children follow.
    pub(crate) fn add(&mut self, kind: Kind, range: Range<usize>, anchor: Option<usize>) -> NodeId {
        let id = self.nodes.len();
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, id);
        }
        if let Kind::Alias(target) = kind {
            self.aliased.insert(target);
        }
        self.nodes.push(Node { kind, range, anchor });
        id
    }

    /// Moves the nodes from `first` on, which were read from this text, to the places where the file writes them.
    pub(crate) fn move_to(&mut self, first: NodeId, text: &Unescaped) {
        for node in &mut self.nodes[first..] {
            if let Kind::Scalar { style: style @ Style::DoubleQuoted, .. } = &mut node.kind
                && text.is_escaped()
            {
                *style = Style::Escaped;
                node.range = node.range.start + 1..node.range.end - 1;
            }
            node.range = text.place(&node.range);
        }
    }

    /// Makes expressions of the scalars from `first` on that contain an interpolation in the file's text.
    pub(crate) fn reveal_interpolations(&mut self, first: NodeId, text: &str) {
        for node in &mut self.nodes[first..] {
            let source = text.get(node.range.clone()).unwrap_or_default();
            if matches!(node.kind, Kind::Scalar { .. }) && source.contains("${") {
                node.kind = Kind::Expression;
            }
        }
    }

    /// Returns whether both trees have equal values, except for the values that `expected` names.
    pub(crate) fn equals_except(&self, other: &Self, expected: &HashMap<NodeId, &str>) -> bool {
        let equal = |(id, (one, other)): (NodeId, (&Node, &Node))| match (expected.get(&id), &other.kind) {
            (Some(expected), Kind::Scalar { value, .. }) => value == expected,
            (Some(_), _) => false,
            (None, kind) => one.kind == *kind && one.anchor == other.anchor,
        };
        self.nodes.len() == other.nodes.len()
            && self.roots == other.roots
            && self.nodes.iter().zip(&other.nodes).enumerate().all(equal)
    }
}
