//! Inputs of a conversion.

use zstart_registry::Store;

use crate::layer_cache::LayerCache;
use crate::progress::Progress;
use crate::settings::Settings;

/// A conversion.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Repository of the image.
    pub source: &'a dyn Store,
    /// Repository of the variant.
    pub target: &'a dyn Store,
    /// Settings of the conversion.
    pub settings: &'a Settings,
    /// Results of earlier conversions.
    pub layer_cache: &'a LayerCache,
    /// Observer of the layers.
    pub progress: &'a dyn Progress,
}
