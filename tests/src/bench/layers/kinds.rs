//! Kinds of layers.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::super::floor::layer_files;
use crate::images::real::{self, RealImage};
use crate::settings;

/// A kind of layer, written by gzip's default level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Debian,
    Python,
    Node,
    Java,
    Wheels,
}

impl Kind {
    /// The kinds that this user can build.
    pub(super) fn all() -> Vec<Self> {
        let all = [Self::Debian, Self::Python, Self::Node, Self::Java, Self::Wheels].into_iter();
        all.filter(|kind| *kind != Self::Debian || settings::is_root()).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::Wheels => "wheels",
        }
    }

    /// Whether the encoders of sources are compared with this kind.
    pub(super) fn is_compressible(self) -> bool {
        matches!(self, Self::Debian | Self::Python | Self::Node)
    }

    fn image(self) -> RealImage {
        match self {
            Self::Debian => RealImage::Debian,
            Self::Python => RealImage::Python,
            Self::Node => RealImage::Node,
            Self::Java => RealImage::Java,
            Self::Wheels => RealImage::Wheels,
        }
    }

    /// The layer's file. The first call builds its image.
    pub(super) async fn layer(self) -> Result<PathBuf> {
        let layers = layer_files(&real::layout(self.image()).await?)?;
        // NumPy and the packages that depend on it are the third layer from the top. Other images have one layer.
        let index = if self == Self::Python { layers.len().checked_sub(3) } else { Some(0) };
        let layer = index.and_then(|index| layers.into_iter().nth(index));
        layer.with_context(|| format!("the image \"{}\" has too few layers", self.name()))
    }
}
