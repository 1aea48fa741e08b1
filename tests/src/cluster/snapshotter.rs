//! Snapshotters of a node: containerd's own, and programs that containerd asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::node::{containerd_socket, listens};
use super::{LOCAL_REGISTRY, NODE_READY_WITHIN, Storage};
use crate::process::{Component, run};
use crate::tools::{self, Tool};
use crate::wait;

/// containerd's settings (`plugins/transfer/plugin.go`; the defaults are 3 downloads, whole layers, and 1) with the
/// numbers of [`PARALLEL_PULL`].
const PARALLEL_UNPACKING: &str = r#"[plugins."io.containerd.transfer.v1.local"]
  max_concurrent_downloads = 10
  concurrent_layer_fetch_buffer = 8388608
  max_concurrent_unpacks = 10
"#;
/// Settings of SOCI's `docs/parallel-mode.md`, without its unpigz: all nodes decode with containerd's library.
const PARALLEL_PULL: &str = r#"type = "containerd"
[pull_modes.soci_v2]
enable = false
[pull_modes.parallel_pull_unpack]
enable = true
max_concurrent_downloads = 50
max_concurrent_downloads_per_image = 10
concurrent_download_chunk_size = "8mb"
max_concurrent_unpacks = 20
max_concurrent_unpacks_per_image = 10
discard_unpacked_layers = true
"#;

/// Snapshotter of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Snapshotter {
    /// containerd's default: the whole image is pulled, and its layers are unpacked one after the other.
    Overlayfs,
    /// containerd with settings that pull a layer in parts and unpack several layers at once.
    OverlayfsParallel,
    /// eStargz and zstd:chunked: files are loaded when they are read.
    Stargz,
    /// SOCI: files are loaded when they are read.
    Soci,
    /// SOCI: the whole image is pulled, over several connections for each layer, and its layers are unpacked at once.
    SociParallel,
}

impl Snapshotter {
    /// Name in containerd's settings.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overlayfs | Self::OverlayfsParallel => "overlayfs",
            Self::Stargz => "stargz",
            Self::Soci | Self::SociParallel => "soci",
        }
    }

    /// Returns whether files are loaded when they are read.
    pub(crate) fn is_lazy(self) -> bool {
        matches!(self, Self::Stargz | Self::Soci)
    }

    /// More settings of containerd. For a snapshotter outside of it, they are those that the projects document for
    /// containerd 2.
    pub(super) fn containerd_settings(self, node: &Path) -> String {
        match self {
            Self::Overlayfs => return String::new(),
            Self::OverlayfsParallel => return PARALLEL_UNPACKING.to_owned(),
            Self::Stargz | Self::Soci | Self::SociParallel => {}
        }
        let (name, socket, root) = (self.name(), socket(node), root(node));
        let (socket, root) = (socket.display(), root.display());
        format!(
            r#"[[plugins."io.containerd.transfer.v1.local".unpack_config]]
  platform = "linux"
  snapshotter = "{name}"
[proxy_plugins.{name}]
  type = "snapshot"
  address = "{socket}"
  [proxy_plugins.{name}.exports]
    root = "{root}"
    enable_remote_snapshot_annotations = "true"
"#
        )
    }

    /// Starts the snapshotter of a node and waits until it listens. containerd's own needs no program.
    pub(super) async fn start(self, node: &Path, storage: Storage) -> Result<Option<Component>> {
        let tool = match self {
            Self::Overlayfs | Self::OverlayfsParallel => return Ok(None),
            Self::Stargz => Tool::Stargz,
            Self::Soci | Self::SociParallel => Tool::Soci,
        };
        let (config, root, socket) = (node.join("snapshotter.toml"), root(node), socket(node));
        fs::write(&config, self.settings(node))?;
        storage.prepare(&root)?;
        let mut component = Component::start(tool.file_name(), node, &tools::find(tool).await?, |command| {
            command.arg("serve").args([&config, &root, &socket])
        })?;
        let listening = || listens(&socket);
        wait::until_component(&mut component, "the snapshotter to listen", NODE_READY_WITHIN, listening)
            .await?;
        Ok(Some(component))
    }

    /// Settings of the snapshotter's program: the lab's registry, and the values that the project's documents show.
    fn settings(self, node: &Path) -> String {
        // SOCI parses the host of a mirror as a URL, eStargz takes it as it is.
        let scheme = if self == Self::Stargz { "" } else { "http://" };
        let hosts = format!(
            "[[resolver.host.\"{LOCAL_REGISTRY}\".mirrors]]\nhost = \"{scheme}{LOCAL_REGISTRY}\"\ninsecure = true\n"
        );
        // SOCI asks containerd for manifests; without an answer it waits for 10 seconds.
        let store =
            format!("[content_store]\ncontainerd_address = \"{}\"\n", containerd_socket(node).display());
        let more = match self {
            Self::Overlayfs | Self::OverlayfsParallel => String::new(),
            // The daemon's default, which its TOML library reads from the type's tags.
            Self::Stargz => "[directory_cache]\ndirect = true\n".to_owned(),
            Self::Soci => store + "[pull_modes.soci_v2]\nenable = true\n",
            Self::SociParallel => store + PARALLEL_PULL,
        };
        hosts + &more
    }
}

/// Form of an image whose files are loaded when they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LazyForm {
    /// gzip with an index of version 2.
    Soci,
    /// gzip with a table of contents.
    Estargz,
    /// zstd with a table of contents.
    ZstdChunked,
}

impl LazyForm {
    pub(crate) const ALL: [Self; 3] = [Self::Soci, Self::Estargz, Self::ZstdChunked];

    /// Name, as a tag has it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Soci => "soci",
            Self::Estargz => "estargz",
            Self::ZstdChunked => "zstdchunked",
        }
    }

    /// Converts the image of an OCI layout, in place.
    pub(crate) async fn convert(self, layout: &Path) -> Result<()> {
        let (tool, form) = match self {
            Self::Soci => (Tool::Soci, None),
            Self::Estargz | Self::ZstdChunked => (Tool::Stargz, Some(self.name())),
        };
        let program = tools::find(tool).await?;
        run(Command::new(&program).arg("convert").args(form).arg(layout))
            .with_context(|| format!("failed to convert {}", layout.display()))
            .map(drop)
    }
}

fn socket(node: &Path) -> PathBuf {
    node.join("snapshotter.sock")
}

fn root(node: &Path) -> PathBuf {
    node.join("snapshotter")
}
