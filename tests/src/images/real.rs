//! Real images, of the crate `zstart-test-images`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
pub use zstart_test_images::{RealImage, TAG};

use crate::cluster;

/// Layout folder of the image, built on the first call.
pub async fn layout(image: RealImage) -> Result<PathBuf> {
    let folder = image.folder()?;
    ensure!(
        folder.is_dir() || !cluster::is_inside(),
        "failed to build the image \"{}\": packages can't be downloaded inside the cluster's namespaces; run \
         `lab image` before entering them",
        image.name()
    );
    tokio::task::spawn_blocking(move || image.layout()).await?
}
