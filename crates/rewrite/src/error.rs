//! Errors of reading and editing a file.

use thiserror::Error;

use crate::found::Obstacle;

/// Reason why a file can't be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// The text breaks the format's grammar.
    #[error("line {line} is not valid {format}: {problem}")]
    Syntax {
        /// Name of the format.
        format: &'static str,
        /// Line, from 1.
        line: usize,
        /// The parser's message.
        problem: String,
    },
    /// The text is a template of Helm.
    #[error(
        "line {line} has a template expression ({{{{ }}}}): zstart rewrites rendered manifests; run \
         `helm template … | zstart rewrite -f -`"
    )]
    HelmTemplate {
        /// Line, from 1.
        line: usize,
    },
}

/// Reason why a file can't be edited.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EditError {
    /// The image can't be replaced without a change of other values.
    #[error("document {document}, line {line}: {obstacle}")]
    Obstacle {
        /// Number of the document, from 1.
        document: usize,
        /// Line of the image, from 1.
        line: usize,
        /// Reason.
        obstacle: Obstacle,
    },
    /// The edited text doesn't have the content of the original with other images.
    #[error("the edited text has another content than the original with other images; nothing was written")]
    Changed,
}
