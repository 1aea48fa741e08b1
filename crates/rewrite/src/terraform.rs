//! Reads the `container_definitions` of a Terraform file into a tree.

use std::ops::Range;

use hcl_edit::Span;
use hcl_edit::expr::{Expression, FuncCall, Object, ObjectKey, ObjectValue};
use hcl_edit::structure::{Attribute, Block, BlockLabel};
use hcl_edit::template::Element;
use hcl_edit::visit::{Visit, visit_attr, visit_block, visit_object_item};

use crate::collector::line;
use crate::error::ParseError;
use crate::found::Cpu;
use crate::json;
use crate::tree::{Kind, NodeId, Style, Tree};
use crate::unescaped::Unescaped;

/// Name of the attribute in `aws_ecs_task_definition` and in modules.
pub(crate) const ATTRIBUTE: &str = "container_definitions";

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
    let mut tree = Tree::default();
    let mut reader = Reader::new(text, &mut tree);
    reader.visit_body(&body);
    let (definitions, error) = (reader.definitions, reader.error);
    match error {
        Some(error) => Err(error),
        None => Ok((tree, definitions)),
    }
}

/// Reads a JSON string of Terraform's JSON syntax, which is a template: JSON, or one expression. Returns the content's
/// root.
pub(crate) fn read_string(tree: &mut Tree, text: &str, range: Range<usize>) -> Result<NodeId, ParseError> {
    let Some(content) = content_of_string(text, &range) else {
        return Ok(tree.add(Kind::Expression, range, None));
    };
    let Ok(template) = hcl_edit::parser::parse_template(content.text()) else {
        return Ok(tree.add(Kind::Expression, range, None));
    };
    let first = tree.nodes.len();
    let mut reader = Reader::new(content.text(), tree);
    let root = reader.add_template(&template.iter().collect::<Vec<_>>(), 0..content.text().len(), false);
    if let Some(ParseError::Syntax { format, problem, .. }) = reader.error {
        // The file has a string in one line.
        return Err(ParseError::Syntax { format, line: line(text, range.start), problem });
    }
    tree.move_to(first, &content);
    tree.reveal_interpolations(first, text);
    Ok(root)
}

struct Reader<'t> {
    text: &'t str,
    tree: &'t mut Tree,
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

impl<'t> Reader<'t> {
    fn new(text: &'t str, tree: &'t mut Tree) -> Self {
        Self { text, tree, definitions: Vec::new(), blocks: Vec::new(), error: None }
    }

    fn define(&mut self, value: &Expression) {
        let first = self.tree.nodes.len();
        let root = self.add_definition(value);
        self.tree.reveal_interpolations(first, self.text);
        self.tree.roots.push(root);
        let (owner, cpu) = self.blocks.last().cloned().unwrap_or_default();
        self.definitions.push(Definition { root, owner, cpu });
    }

    /// Adds the value of the attribute. Its strings have JSON, and those within other values any text.
    fn add_definition(&mut self, value: &Expression) -> NodeId {
        let range = value.span().unwrap_or_default();
        match value {
            Expression::String(_) => self.add_string(range),
            Expression::StringTemplate(template) => {
                self.add_template(&template.iter().collect::<Vec<_>>(), range, true)
            }
            Expression::HeredocTemplate(heredoc) => {
                self.add_template(&heredoc.template.iter().collect::<Vec<_>>(), range, false)
            }
            Expression::Parenthesis(parenthesis) => {
                self.add_call(range, &[parenthesis.inner()], Self::add_definition)
            }
            Expression::Conditional(conditional) => {
                let branches = [&conditional.true_expr, &conditional.false_expr];
                self.add_call(range, &branches, Self::add_definition)
            }
            _ => self.add(value),
        }
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
                self.add_call(range, &call.args.iter().collect::<Vec<_>>(), Self::add)
            }
            Expression::Parenthesis(parenthesis) => self.add_call(range, &[parenthesis.inner()], Self::add),
            Expression::Conditional(conditional) => {
                self.add_call(range, &[&conditional.true_expr, &conditional.false_expr], Self::add)
            }
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

    fn add_call(
        &mut self,
        range: Range<usize>,
        arguments: &[&Expression],
        add: fn(&mut Self, &Expression) -> NodeId,
    ) -> NodeId {
        let id = self.tree.add(Kind::Call(Vec::new()), range, None);
        let arguments = arguments.iter().map(|argument| add(self, argument)).collect();
        self.tree.nodes[id].kind = Kind::Call(arguments);
        id
    }

    /// Adds the content of a quoted string without interpolations.
    fn add_string(&mut self, range: Range<usize>) -> NodeId {
        match content_of_string(self.text, &range) {
            Some(content) => self.add_json(&content, range),
            None => self.tree.add(Kind::Expression, range, None),
        }
    }

    /// Adds the content of a template: an expression, or JSON.
    fn add_template(&mut self, elements: &[&Element], range: Range<usize>, is_quoted: bool) -> NodeId {
        let is_blank =
            |element: &Element| matches!(element, Element::Literal(text) if text.trim().is_empty());
        let parts: Vec<_> = elements.iter().filter(|element| !is_blank(element)).collect();
        if let [Element::Interpolation(only)] = *parts {
            return self.add_definition(&only.expr);
        }
        match self.content_of_template(elements, is_quoted) {
            Some(content) => self.add_json(&content, range),
            None => self.tree.add(Kind::Expression, range, None),
        }
    }

    /// Content of a template without directives, with its interpolations hidden.
    fn content_of_template(&self, elements: &[&Element], is_quoted: bool) -> Option<Unescaped> {
        let mut content = Unescaped::default();
        for element in elements {
            let span = element.span()?;
            let source = self.text.get(span.clone())?;
            match element {
                Element::Literal(_) if is_quoted => content.push_escaped(source, span.start)?,
                Element::Literal(_) => content.push_plain(source, span.start),
                Element::Interpolation(_) => content.hide(span),
                Element::Directive(_) => return None,
            }
        }
        Some(content)
    }

    /// Adds JSON. A list or an object that isn't JSON is an error, unless an interpolation may complete it.
    fn add_json(&mut self, content: &Unescaped, range: Range<usize>) -> NodeId {
        let first = self.tree.nodes.len();
        match json::read_into(self.tree, content.text()) {
            Ok(Some(root)) => {
                self.tree.move_to(first, content);
                return root;
            }
            Ok(None) => {
                let kind = Kind::Scalar { value: String::new(), style: Style::Plain };
                return self.tree.add(kind, range, None);
            }
            Err(ParseError::Syntax { format, line: within, problem })
                if !content.has_hidden() && content.text().trim_start().starts_with(['[', '{']) =>
            {
                // The file has a string in one line, even if its content has line breaks.
                let within = if content.is_escaped() { 0 } else { within - 1 };
                let line = line(self.text, content.place(&(0..0)).start) + within;
                self.error.get_or_insert(ParseError::Syntax { format, line, problem });
            }
            Err(_) => {}
        }
        self.tree.add(Kind::Expression, range, None)
    }
}

/// Content of the quoted string in these bytes.
fn content_of_string(text: &str, range: &Range<usize>) -> Option<Unescaped> {
    let inner = range.start + 1..range.end.checked_sub(1)?;
    let mut content = Unescaped::default();
    content.push_escaped(text.get(inner.clone())?, inner.start)?;
    Some(content)
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
