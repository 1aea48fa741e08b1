//! The parts of an image config that a conversion needs. The config's bytes are never changed.

use serde::Deserialize;
use thiserror::Error;
use zstart_core::{Digest, Platform};

use super::CONFIG_MAX;

/// What an image config says of platform and layers (OCI image specification, `config.md`).
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Where the image runs; `None` where operating system or architecture isn't named, or what is said
    /// of them or of the variant is no name.
    pub platform: Option<Platform>,
    /// The digest of each layer's uncompressed bytes, lowest layer first.
    pub diff_ids: Vec<Digest>,
}

/// Why a config can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It isn't what the specification says.
    #[error("the image config is not readable")]
    Json(#[source] serde_json::Error),
    /// It is larger than any that was ever seen.
    #[error("the image config has {size} bytes; at most {CONFIG_MAX} are read")]
    TooLarge {
        /// How large the manifest says that it is.
        size: u64,
    },
}

#[derive(Deserialize)]
struct ConfigMembers {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads a config.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let members: ConfigMembers = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let ConfigMembers { os, architecture, variant, rootfs } = members;
        let platform = os
            .zip(architecture)
            .and_then(|(os, architecture)| Platform::named(&os, &architecture, variant.as_deref()));
        Ok(Self { platform, diff_ids: rootfs.diff_ids })
    }
}
