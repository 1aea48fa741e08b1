//! Reads JSON into a tree.

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::error::ParseError;
use crate::tree::{Kind, NodeId, Style, Tree};

/// JSON as RFC 8259 defines it.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a text.
pub(crate) fn read(text: &str) -> Result<Tree, ParseError> {
    let mut tree = Tree::default();
    let root = read_into(&mut tree, text)?;
    tree.roots.extend(root);
    Ok(tree)
}

/// Adds a text to a tree. Returns its root; `None` if the text is empty.
pub(crate) fn read_into(tree: &mut Tree, text: &str) -> Result<Option<NodeId>, ParseError> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| {
        ParseError::Syntax { format: "JSON", line: error.line_display(), problem: error.kind().to_string() }
    })?;
    Ok(parsed.value.as_ref().map(|value| add(tree, value, text)))
}

fn add(tree: &mut Tree, value: &Value<'_>, text: &str) -> NodeId {
    let range = value.range();
    let place = range.start..range.end;
    let plain = || {
        let value = text.get(range.start..range.end).unwrap_or_default().to_owned();
        Kind::Scalar { value, style: Style::Plain }
    };
    match value {
        Value::StringLit(string) => {
            let kind = Kind::Scalar { value: string.value.to_string(), style: Style::DoubleQuoted };
            tree.add(kind, place, None)
        }
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => tree.add(plain(), place, None),
        Value::Array(array) => {
            let id = tree.add(Kind::Sequence(Vec::new()), place, None);
            let items = array.elements.iter().map(|item| add(tree, item, text)).collect();
            tree.nodes[id].kind = Kind::Sequence(items);
            id
        }
        Value::Object(object) => {
            let id = tree.add(Kind::Mapping(Vec::new()), place, None);
            let mut entries = Vec::with_capacity(object.properties.len());
            for property in &object.properties {
                let (name, range) = match &property.name {
                    ObjectPropName::String(name) => (name.value.to_string(), name.range),
                    ObjectPropName::Word(name) => (name.value.to_owned(), name.range),
                };
                let kind = Kind::Scalar { value: name, style: Style::DoubleQuoted };
                let key = tree.add(kind, range.start..range.end, None);
                entries.push((key, add(tree, &property.value, text)));
            }
            tree.nodes[id].kind = Kind::Mapping(entries);
            id
        }
    }
}
