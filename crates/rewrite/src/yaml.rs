//! Reads YAML into a tree.

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::error::ParseError;
use crate::tree::{Kind, NodeId, Style, Tree};

/// Open sequence or mapping.
struct Open {
    id: NodeId,
    children: Vec<NodeId>,
}

/// Reads all documents of a text.
pub(crate) fn read(text: &str) -> Result<Tree, ParseError> {
    let mut tree = Tree::default();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| ParseError::Syntax {
            format: "YAML",
            line: error.marker().line(),
            problem: error.info(),
        })?;
        let range = || range(&span);
        let anchor = |anchor: usize| (anchor != 0).then_some(anchor);
        let id = match event {
            Event::Scalar(value, style, id, tag) => {
                let kind = match tag {
                    Some(tag) if !is_string(&tag) => Kind::Expression,
                    _ => Kind::Scalar { value: value.into_owned(), style: self::style(style) },
                };
                tree.add(kind, range(), anchor(id))
            }
            Event::Alias(id) => tree.add(Kind::Alias(id), range(), None),
            Event::SequenceStart(_, id, _) => {
                let id = tree.add(Kind::Sequence(Vec::new()), range(), anchor(id));
                open.push(Open { id, children: Vec::new() });
                continue;
            }
            Event::MappingStart(_, id, _) => {
                let id = tree.add(Kind::Mapping(Vec::new()), range(), anchor(id));
                open.push(Open { id, children: Vec::new() });
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { id, children }) = open.pop() else { continue };
                let node = &mut tree.nodes[id];
                node.kind = match node.kind {
                    Kind::Mapping(_) => {
                        Kind::Mapping(children.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
                    }
                    _ => Kind::Sequence(children),
                };
                id
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(id),
            None => tree.roots.push(id),
        }
    }
    Ok(tree)
}

fn range(span: &Span) -> std::ops::Range<usize> {
    // The parser knows byte offsets of texts in memory. Without them, the range is none of a scalar's.
    span.byte_range().unwrap_or(0..0)
}

fn is_string(tag: &Tag) -> bool {
    tag.is_yaml_core_schema_tag("str")
}

fn style(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    }
}
