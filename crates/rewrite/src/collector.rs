//! List of the images that were found.

use crate::cursor::Cursor;
use crate::error::ParseError;
use crate::found::{FoundImage, ImageValue, Obstacle, Target};
use crate::tree::{Kind, Style, Tree};

/// List of images, while a file is searched.
pub(crate) struct Collector<'t> {
    text: &'t str,
    tree: &'t Tree,
    /// Number of the document that is searched.
    pub(crate) document: usize,
    images: Vec<FoundImage>,
    /// Helm's templates have this format.
    may_be_helm: bool,
    /// Line of the first image that is a template of Helm.
    helm: Option<usize>,
}

impl<'t> Collector<'t> {
    pub(crate) fn new(text: &'t str, tree: &'t Tree, may_be_helm: bool) -> Self {
        Self { text, tree, document: 1, images: Vec::new(), may_be_helm, helm: None }
    }

    /// Adds the image in a field. A field without a value names no image.
    pub(crate) fn add(&mut self, field: Cursor<'_>, holder: &str, target: Target) {
        if field.is_empty() {
            return;
        }
        let node = &self.tree.nodes[field.id()];
        let source = self.text.get(node.range.clone()).unwrap_or_default();
        let line = line(self.text, node.range.start);
        let from_here = self.text.get(node.range.start..).unwrap_or_default();
        if self.may_be_helm && (source.contains("{{") || from_here.starts_with("{{")) {
            self.helm.get_or_insert(line);
            return;
        }
        let (value, unclear) = match &node.kind {
            // An interpolation of a Terraform string. No reference contains one.
            Kind::Scalar { .. } if source.contains("${") || source.contains("%{") => {
                (ImageValue::Expression(source.to_owned()), None)
            }
            Kind::Scalar { value, style } => {
                let unclear = (!is_in_one_piece(source, value, *style)).then_some(Obstacle::Unclear);
                (ImageValue::Reference(value.clone()), unclear)
            }
            Kind::Expression | Kind::Call(_) => (ImageValue::Expression(source.to_owned()), None),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => return,
        };
        self.push(value, line, field, holder, target, field.obstacle().or(unclear));
    }

    /// Adds an image that a function computes, so that the reader sees that it stays.
    pub(crate) fn add_expression(&mut self, field: Cursor<'_>, holder: &str, target: Target) {
        let node = &self.tree.nodes[field.id()];
        let source = match &node.kind {
            Kind::Mapping(_) => {
                let key = field.entries().first().and_then(|(key, _)| *key);
                format!("{{{}: …}}", key.unwrap_or_default())
            }
            Kind::Sequence(_) => "[…]".to_owned(),
            _ => self.text.get(node.range.clone()).unwrap_or_default().to_owned(),
        };
        let line = line(self.text, node.range.start);
        self.push(ImageValue::Expression(source), line, field, holder, target, None);
    }

    fn push(
        &mut self,
        value: ImageValue,
        line: usize,
        field: Cursor<'_>,
        holder: &str,
        target: Target,
        obstacle: Option<Obstacle>,
    ) {
        let (holder, document, node) = (holder.to_owned(), self.document, field.id());
        self.images.push(FoundImage { value, holder, document, line, target, obstacle, node });
    }

    /// Number of images so far.
    pub(crate) fn len(&self) -> usize {
        self.images.len()
    }

    pub(crate) fn finish(mut self) -> Result<Vec<FoundImage>, ParseError> {
        if let Some(line) = self.helm {
            return Err(ParseError::HelmTemplate { line });
        }
        self.images.sort_by_key(|image| image.line);
        Ok(self.images)
    }
}

/// Line of a byte, from 1.
pub(crate) fn line(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count()
}

/// Returns whether `source` is the notation of `value` and of nothing else, so that its bytes can be replaced.
fn is_in_one_piece(source: &str, value: &str, style: Style) -> bool {
    match style.quote() {
        None => source == value,
        Some(quote) => {
            let inner = source.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
            inner.is_some_and(|inner| !inner.contains('\n') && (inner == value || inner.contains('\\')))
        }
    }
}
