//! Images in Kubernetes manifests, Amazon ECS task definitions, CloudFormation templates and Terraform files: finds them,
//! and replaces them without a change of any other byte.
//!
//! A file is parsed into a tree that knows the bytes of each value. An edit replaces the bytes of image references,
//! parses the result, and compares both trees. What can't be edited that way is an [`EditError`], not a guess.
//!
//! The crate reads no files and asks no registry.

mod cloudformation;
mod collector;
mod cursor;
mod ecs;
mod edit;
mod error;
mod found;
mod json;
mod kubernetes;
mod terraform;
mod terraform_json;
#[cfg(test)]
mod tests;
mod tree;
mod unescaped;
mod yaml;

pub use error::{EditError, ParseError};
pub use found::{Cpu, FoundImage, ImageValue, Obstacle, Target};

use self::collector::Collector;
use self::cursor::Cursor;
use self::tree::Tree;

/// Byte order mark, which some editors write in front.
const BOM: char = '\u{feff}';

/// Notation of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML, with any number of documents.
    Yaml,
    /// JSON.
    Json,
    /// Terraform's language (HCL).
    Terraform,
    /// Terraform's JSON syntax.
    TerraformJson,
}

/// Parsed file and its images.
#[derive(Debug)]
pub struct Manifest {
    text: String,
    format: Format,
    tree: Tree,
    images: Vec<FoundImage>,
}

impl Manifest {
    /// Parses a text and finds its images. Objects of other kinds are skipped.
    pub fn parse(text: String, format: Format) -> Result<Self, ParseError> {
        let body = text.strip_prefix(BOM).unwrap_or(&text);
        let (tree, images) = match format {
            Format::Yaml | Format::Json => {
                let read = if format == Format::Yaml { yaml::read(body) } else { json::read(body) };
                let tree = read.map_err(|error| templated(body, error))?;
                let mut collector = Collector::new(body, &tree, true);
                for (index, root) in tree.roots.iter().enumerate() {
                    collector.document = index + 1;
                    let root = Cursor::root(&tree, *root);
                    if !kubernetes::find(&mut collector, root) && !cloudformation::find(&mut collector, root)
                    {
                        ecs::find(&mut collector, root);
                    }
                }
                let images = collector.finish()?;
                (tree, images)
            }
            Format::Terraform | Format::TerraformJson => {
                let is_json = format == Format::TerraformJson;
                let (tree, definitions) =
                    if is_json { terraform_json::read(body)? } else { terraform::read(body)? };
                let mut collector = Collector::new(body, &tree, false);
                for definition in &definitions {
                    ecs::find_definition(&mut collector, Cursor::root(&tree, definition.root), definition);
                }
                let images = collector.finish()?;
                (tree, images)
            }
        };
        Ok(Self { text, format, tree, images })
    }

    /// Images, in the order of the text.
    pub fn images(&self) -> &[FoundImage] {
        &self.images
    }

    /// The text as it was parsed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the text with other references. `replacements` has an entry for each image; `None` leaves the image.
    pub fn replace(&self, replacements: &[Option<String>]) -> Result<String, EditError> {
        edit::replace(self, replacements)
    }

    /// The text without a byte order mark, which the ranges of the tree count from.
    fn body(&self) -> &str {
        self.text.strip_prefix(BOM).unwrap_or(&self.text)
    }
}

/// Explains a syntax error at or behind the first template expression of Helm.
fn templated(text: &str, error: ParseError) -> ParseError {
    let first = text.find("{{").map(|at| collector::line(text, at));
    match (&error, first) {
        (ParseError::Syntax { line, .. }, Some(first)) if first <= *line => {
            ParseError::HelmTemplate { line: first }
        }
        _ => error,
    }
}
