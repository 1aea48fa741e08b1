//! Images that a file names.

use std::fmt;

use crate::tree::NodeId;

/// Image that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Value of the field.
    pub value: ImageValue,
    /// Object and container, e.g. `Deployment/web, container app`.
    pub holder: String,
    /// Number of the YAML document in the file, from 1.
    pub document: usize,
    /// Line in the file, from 1.
    pub line: usize,
    /// Runtime that reads the field.
    pub target: Target,
    /// Reason why the field can't be edited.
    pub obstacle: Option<Obstacle>,
    pub(crate) node: NodeId,
}

/// Value of an image field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageValue {
    /// Reference, perhaps an invalid one.
    Reference(String),
    /// Source text of a value that is computed elsewhere, e.g. `"${var.image}"`.
    Expression(String),
}

/// Runtime that reads an image field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Kubernetes, which accepts a tag and a digest together.
    Kubernetes,
    /// Amazon ECS, which documents a tag or a digest.
    Ecs(Option<Cpu>),
}

/// Processor architecture of an ECS task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cpu {
    /// `X86_64`
    X86,
    /// `ARM64`
    Arm,
}

/// Reason why a field can't be edited without a change of other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The value comes from an alias or a merge key.
    Alias,
    /// An alias uses the value elsewhere.
    Anchor,
    /// The value is a block scalar.
    Block,
    /// The key occurs twice.
    Duplicate,
    /// The value's text isn't in one piece.
    Unclear,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Alias => "an alias (*) or merge key (<<) provides the image; write the image there",
            Self::Anchor => "the image is part of an anchor (&) that an alias uses elsewhere; write both out",
            Self::Block => "the image is a block scalar (| or >); write it in the line of its key",
            Self::Duplicate => "a key on the way to the image occurs twice; remove one",
            Self::Unclear => "the image isn't written in one piece; write it in the line of its key",
        })
    }
}
