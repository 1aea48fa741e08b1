//! Kinds of layers: one of each image, written by gzip's default level.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::super::floor::layer_files;
use crate::images::real::{self, RealImage};

/// The kinds that this user can build.
pub(super) fn all() -> Vec<RealImage> {
    use RealImage::{Debian, Java, Node, Python, Wheels};
    RealImage::buildable(&[Debian, Python, Node, Java, Wheels])
}

/// Returns whether gzip encoders are compared with this kind, because its files aren't compressed.
pub(super) fn is_compressible(kind: RealImage) -> bool {
    matches!(kind, RealImage::Debian | RealImage::Python | RealImage::Node)
}

/// The layer's file. The first call builds the image.
pub(super) async fn layer(kind: RealImage) -> Result<PathBuf> {
    let layers = layer_files(&real::layout(kind).await?)?;
    // NumPy and the packages that depend on it are the third layer from the top. Other images have one layer.
    let index = if kind == RealImage::Python { layers.len().checked_sub(3) } else { Some(0) };
    let layer = index.and_then(|index| layers.into_iter().nth(index));
    layer.with_context(|| format!("the image \"{}\" has too few layers", kind.name()))
}
