//! Parses the parts of an image config that a conversion needs. The config's bytes never change.

use serde::Deserialize;
use thiserror::Error;
use zstart_core::{Digest, Platform};

use super::CONFIG_MAX;

/// Platform and layers of an image config (OCI image specification, `config.md`).
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Platform of the image. `None` if operating system or architecture is absent, or if one of them or the
    /// variant is no valid name.
    pub platform: Option<Platform>,
    /// Digests of the layers' uncompressed bytes, lowest layer first. Empty if the list is absent or `null`; a
    /// manifest with layers then differs in their number.
    pub diff_ids: Vec<Digest>,
}

/// An error of reading an image config.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The config isn't JSON as in the specification.
    #[error("failed to parse the image config")]
    Json(#[source] serde_json::Error),
    /// The config is larger than any known one.
    #[error("the image config has {size} bytes, which exceeds the limit of {CONFIG_MAX} bytes")]
    TooLarge {
        /// Size in the manifest, in bytes.
        size: u64,
    },
}

#[derive(Deserialize)]
struct ConfigMembers {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Option<Vec<Digest>>,
}

impl ImageConfig {
    /// Parses a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let members: ConfigMembers = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let ConfigMembers { os, architecture, variant, rootfs } = members;
        let platform = os
            .zip(architecture)
            .and_then(|(os, architecture)| Platform::named(&os, &architecture, variant.as_deref()));
        let diff_ids = rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        Ok(Self { platform, diff_ids })
    }
}
