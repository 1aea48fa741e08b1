//! Reads the `container_definitions` of a Terraform file into a tree.

use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, FuncCall, Object, ObjectKey, ObjectValue};
use hcl_edit::structure::{Attribute, Block, BlockLabel};
use hcl_edit::template::{Element, HeredocTemplate};
use hcl_edit::visit::{Visit, visit_attr, visit_block, visit_object_item};

use crate::collector::line;
use crate::error::ParseError;
use crate::found::Cpu;
use crate::json;
use crate::tree::{Kind, NodeId, Style, Tree};

/// Name of the attribute in `aws_ecs_task_definition` and in modules.
const ATTRIBUTE: &str = "container_definitions";

/// Value of an attribute `container_definitions`.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) root: NodeId,
    /// Block that has the attribute, e.g. `aws_ecs_task_definition.web`.
    pub(crate) owner: String,
    pub(crate) cpu: Option<Cpu>,
}

/// Reads a text.
pub(crate) fn read(text: &str) -> Result<(Tree, Vec<Definition>), ParseError> {
    let body = hcl_edit::parser::parse_body(text).map_err(|error| ParseError::Syntax {
        format: "Terraform",
        line: error.location().line(),
        problem: error.message().to_owned(),
    })?;
    let mut reader =
        Reader { text, tree: Tree::default(), definitions: Vec::new(), blocks: Vec::new(), error: None };
    reader.visit_body(&body);
    match reader.error {
        Some(error) => Err(error),
        None => Ok((reader.tree, reader.definitions)),
    }
}

struct Reader<'t> {
    text: &'t str,
    tree: Tree,
    definitions: Vec<Definition>,
    /// Names and architectures of the blocks around.
    blocks: Vec<(String, Option<Cpu>)>,
    error: Option<ParseError>,
}

impl Visit for Reader<'_> {
    fn visit_block(&mut self, block: &Block) {
        self.blocks.push((name(block), cpu(block)));
        visit_block(self, block);
        self.blocks.pop();
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        if attribute.key.as_str() == ATTRIBUTE {
            self.define(&attribute.value);
        } else {
            visit_attr(self, attribute);
        }
    }

    fn visit_object_item(&mut self, key: &ObjectKey, value: &ObjectValue) {
        if key_text(key) == Some(ATTRIBUTE) {
            self.define(value.expr());
        } else {
            visit_object_item(self, key, value);
        }
    }
}

impl Reader<'_> {
    fn define(&mut self, value: &Expression) {
        let root = self.add(value);
        self.tree.roots.push(root);
        let (owner, cpu) = self.blocks.last().cloned().unwrap_or_default();
        self.definitions.push(Definition { root, owner, cpu });
    }

    fn add(&mut self, expression: &Expression) -> NodeId {
        let range = expression.span().unwrap_or_default();
        match expression {
            Expression::String(value) => {
                let kind = Kind::Scalar { value: value.to_string(), style: Style::DoubleQuoted };
                self.tree.add(kind, range, None)
            }
            Expression::Null(_) | Expression::Bool(_) | Expression::Number(_) => {
                let value = self.text.get(range.clone()).unwrap_or_default().to_owned();
                self.tree.add(Kind::Scalar { value, style: Style::Plain }, range, None)
            }
            Expression::Array(array) => {
                let id = self.tree.add(Kind::Sequence(Vec::new()), range, None);
                let items = array.iter().map(|item| self.add(item)).collect();
                self.tree.nodes[id].kind = Kind::Sequence(items);
                id
            }
            Expression::Object(object) => self.add_object(object, range),
            Expression::FuncCall(call) if is_transparent(call) => {
                self.add_call(range, &call.args.iter().collect::<Vec<_>>())
            }
            Expression::Parenthesis(parenthesis) => self.add_call(range, &[parenthesis.inner()]),
            Expression::Conditional(conditional) => {
                self.add_call(range, &[&conditional.true_expr, &conditional.false_expr])
            }
            Expression::HeredocTemplate(heredoc) => self.add_heredoc(heredoc, range),
            _ => self.tree.add(Kind::Expression, range, None),
        }
    }

    fn add_object(&mut self, object: &Object, range: Range<usize>) -> NodeId {
        let id = self.tree.add(Kind::Mapping(Vec::new()), range, None);
        let mut entries = Vec::with_capacity(object.len());
        for (key, value) in object {
            let range = key.span().unwrap_or_default();
            let kind = match key_text(key) {
                Some(text) => Kind::Scalar { value: text.to_owned(), style: Style::Plain },
                None => Kind::Expression,
            };
            let key = self.tree.add(kind, range, None);
            entries.push((key, self.add(value.expr())));
        }
        self.tree.nodes[id].kind = Kind::Mapping(entries);
        id
    }

    fn add_call(&mut self, range: Range<usize>, arguments: &[&Expression]) -> NodeId {
        let id = self.tree.add(Kind::Call(Vec::new()), range, None);
        let arguments = arguments.iter().map(|argument| self.add(argument)).collect();
        self.tree.nodes[id].kind = Kind::Call(arguments);
        id
    }

    /// Adds the JSON of a heredoc. Interpolations are hidden from the parser behind digits, which are valid in a
    /// string and as a number.
    fn add_heredoc(&mut self, heredoc: &HeredocTemplate, range: Range<usize>) -> NodeId {
        let content = heredoc.template.span().and_then(|span| Some((span.start, self.text.get(span)?)));
        let is_directive = |element: &Element| matches!(element, Element::Directive(_));
        let (Some((offset, content)), false) = (content, heredoc.template.iter().any(is_directive)) else {
            return self.tree.add(Kind::Expression, range, None);
        };
        let mut masked = content.as_bytes().to_vec();
        for element in &heredoc.template {
            if let Element::Interpolation(interpolation) = element {
                let span = interpolation.span().unwrap_or_default();
                let hidden = span.start.saturating_sub(offset)..span.end.saturating_sub(offset);
                masked.get_mut(hidden).into_iter().flatten().for_each(|byte| *byte = b'1');
            }
        }
        let masked = String::from_utf8_lossy(&masked);
        let first = self.tree.nodes.len();
        match json::read_into(&mut self.tree, &masked, offset) {
            Ok(Some(root)) => {
                for node in &mut self.tree.nodes[first..] {
                    let source = self.text.get(node.range.clone()).unwrap_or_default();
                    if matches!(node.kind, Kind::Scalar { .. }) && source.contains("${") {
                        node.kind = Kind::Expression;
                    }
                }
                root
            }
            Ok(None) => self.tree.add(Kind::Expression, range, None),
            Err(error) => {
                let ParseError::Syntax { format, line: within, problem } = error else {
                    return self.tree.add(Kind::Expression, range, None);
                };
                let line = line(self.text, offset) + within - 1;
                self.error.get_or_insert(ParseError::Syntax { format, line, problem });
                self.tree.add(Kind::Expression, range, None)
            }
        }
    }
}

/// Name of a block: its labels, or its type.
fn name(block: &Block) -> String {
    let labels: Vec<&str> = block
        .labels
        .iter()
        .map(|label| match label {
            BlockLabel::Ident(ident) => ident.as_str(),
            BlockLabel::String(text) => text.as_str(),
        })
        .collect();
    if labels.is_empty() { block.ident.as_str().to_owned() } else { labels.join(".") }
}

/// Architecture that a task definition's block `runtime_platform` names.
fn cpu(block: &Block) -> Option<Cpu> {
    let platform = block.body.get_blocks("runtime_platform").next()?;
    let architecture = platform.body.get_attribute("cpu_architecture")?;
    Cpu::parse(architecture.value.as_str()?)
}

fn key_text(key: &ObjectKey) -> Option<&str> {
    match key {
        ObjectKey::Ident(ident) => Some(ident.as_str()),
        ObjectKey::Expression(expression) => expression.as_str(),
    }
}

/// Returns whether a function passes its arguments on. Others, such as `templatefile`, may make another reference of an
/// image.
fn is_transparent(call: &FuncCall) -> bool {
    const FUNCTIONS: [&str; 5] = ["concat", "flatten", "jsonencode", "merge", "tolist"];
    call.name.namespace.is_empty() && FUNCTIONS.contains(&call.name.name.as_str())
}
