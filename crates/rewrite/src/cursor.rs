//! Way through a tree, which follows aliases and remembers why a value can't be edited.

use crate::found::Obstacle;
use crate::tree::{Kind, NodeId, Style, Tree};

/// Place in a tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'t> {
    tree: &'t Tree,
    id: NodeId,
    obstacle: Option<Obstacle>,
}

impl<'t> Cursor<'t> {
    /// Place of a document's root.
    pub(crate) fn root(tree: &'t Tree, id: NodeId) -> Self {
        Self { tree, id, obstacle: None }.with(id)
    }

    /// Node of this place.
    pub(crate) fn id(self) -> NodeId {
        self.id
    }

    /// Reason why an edit here would be wrong or change other values.
    pub(crate) fn obstacle(self) -> Option<Obstacle> {
        match &self.tree.nodes[self.id].kind {
            Kind::Scalar { style: Style::Block, .. } => self.obstacle.or(Some(Obstacle::Block)),
            _ => self.obstacle,
        }
    }

    /// Text of a scalar.
    pub(crate) fn text(self) -> Option<&'t str> {
        match &self.tree.nodes[self.id].kind {
            Kind::Scalar { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Returns whether the value is missing, empty or YAML's null.
    pub(crate) fn is_empty(self) -> bool {
        match &self.tree.nodes[self.id].kind {
            Kind::Scalar { value, style: Style::Plain } => {
                matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::Scalar { value, .. } => value.is_empty(),
            _ => false,
        }
    }

    /// Value of a mapping's key, which a merge key (`<<`) may provide.
    pub(crate) fn get(self, key: &str) -> Option<Self> {
        self.entry(key).or_else(|| {
            let merged = self.entry("<<")?;
            let bases = if merged.is_sequence() { merged.items() } else { vec![merged] };
            let found = bases.into_iter().find_map(|base| base.entry(key))?;
            Some(Self { obstacle: Some(Obstacle::Alias), ..found })
        })
    }

    /// Value behind several keys.
    pub(crate) fn path(self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self, |cursor, key| cursor.get(key))
    }

    /// Text behind several keys.
    pub(crate) fn text_at(self, keys: &[&str]) -> Option<&'t str> {
        self.path(keys)?.text()
    }

    /// Entries of a sequence.
    pub(crate) fn items(self) -> Vec<Self> {
        match &self.tree.nodes[self.id].kind {
            Kind::Sequence(items) => items.iter().map(|id| self.with(*id)).collect(),
            _ => Vec::new(),
        }
    }

    /// Keys and values of a mapping.
    pub(crate) fn entries(self) -> Vec<(Option<&'t str>, Self)> {
        match &self.tree.nodes[self.id].kind {
            Kind::Mapping(entries) => {
                entries.iter().map(|(key, value)| (self.with(*key).text(), self.with(*value))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Arguments of a function.
    pub(crate) fn arguments(self) -> Vec<Self> {
        match &self.tree.nodes[self.id].kind {
            Kind::Call(arguments) => arguments.iter().map(|id| self.with(*id)).collect(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn is_sequence(self) -> bool {
        matches!(self.tree.nodes[self.id].kind, Kind::Sequence(_))
    }

    pub(crate) fn is_mapping(self) -> bool {
        matches!(self.tree.nodes[self.id].kind, Kind::Mapping(_))
    }

    pub(crate) fn is_expression(self) -> bool {
        matches!(self.tree.nodes[self.id].kind, Kind::Expression)
    }

    /// Value of a key that the mapping itself has. Parsers differ about a key that occurs twice; most take the last.
    fn entry(self, key: &str) -> Option<Self> {
        let entries = self.entries();
        let mut own = entries.into_iter().filter(|(name, _)| *name == Some(key)).map(|(_, value)| value);
        let first = own.next()?;
        match own.next_back() {
            None => Some(first),
            Some(last) => Some(Self { obstacle: Some(Obstacle::Duplicate), ..last }),
        }
    }

    /// Place of a child.
    fn with(self, id: NodeId) -> Self {
        let node = &self.tree.nodes[id];
        if let Kind::Alias(target) = node.kind {
            // A parser reports unknown anchors. An alias inside of its own anchor has no other content.
            let id = self.tree.anchors.get(&target).copied().unwrap_or(id);
            return Self { tree: self.tree, id, obstacle: Some(Obstacle::Alias) };
        }
        let is_shared = node.anchor.is_some_and(|anchor| self.tree.aliased.contains(&anchor));
        let obstacle = self.obstacle.or(is_shared.then_some(Obstacle::Anchor));
        Self { tree: self.tree, id, obstacle }
    }
}
