//! Images that a cluster needs before its first pod.

use anyhow::{Context as _, Result};

use super::{Cluster, LOCAL_REGISTRY};
use crate::images::Fixture;

/// Image of the container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "pause:1";
/// Image with a shell and the usual small programs.
pub const BUSYBOX: &str = "busybox:1";
/// Debian's static build (package busybox-static).
const BUSYBOX_PROGRAM: &str = "/bin/busybox";

impl Cluster {
    /// Pushes both images, built from one static program.
    pub(super) async fn push_base_images(&self) -> Result<()> {
        let program =
            std::fs::read(BUSYBOX_PROGRAM).with_context(|| format!("failed to read {BUSYBOX_PROGRAM}"))?;
        let image = Fixture::new().layer(&[("bin/busybox", &program), ("bin/sh", &program)]);
        let pause = image.clone().entrypoint(&["/bin/busybox", "sleep", "2147483647"]);
        pause.push(LOCAL_REGISTRY, PAUSE).await.context("failed to push the pause image")?;
        let shell = image.entrypoint(&["/bin/sh", "-c"]);
        shell.push(LOCAL_REGISTRY, BUSYBOX).await.context("failed to push the busybox image")?;
        Ok(())
    }
}
