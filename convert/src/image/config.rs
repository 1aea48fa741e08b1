//! The parts of an image config that a conversion needs. The config's bytes are never changed.

use serde::Deserialize;
use thiserror::Error;
use zstart_core::{Digest, Platform};

/// What an image config says of platform and layers (OCI image specification, `config.md`).
#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// Where the image runs; `None` where operating system or architecture isn't named.
    pub platform: Option<Platform>,
    /// The digest of each layer's uncompressed bytes, lowest layer first.
    pub diff_ids: Vec<Digest>,
}

/// Why a config can't be used.
#[derive(Debug, Error)]
#[error("the image config is not readable")]
pub struct ConfigError {
    #[source]
    source: serde_json::Error,
}

#[derive(Deserialize)]
struct Members {
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
        let members: Members = serde_json::from_slice(bytes).map_err(|source| ConfigError { source })?;
        let platform = match (members.os, members.architecture) {
            (Some(os), Some(architecture)) if !os.is_empty() && !architecture.is_empty() => Some(Platform {
                os,
                architecture,
                variant: members.variant.filter(|variant| !variant.is_empty()),
            }),
            _ => None,
        };
        Ok(Self { platform, diff_ids: members.rootfs.diff_ids })
    }
}
