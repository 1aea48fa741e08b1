//! zstart in a cluster, from an image in the registry to a pod that runs its variant.

use zstart_tests::{cluster, demo};

#[test]
fn pod_of_a_real_image_starts_from_its_verified_variant() {
    let image = demo::small_image().expect("the image exists or is built");
    cluster::run("end_to_end::pod_of_a_real_image_starts_from_its_verified_variant", |cluster| async move {
        let report = cluster.folder().join("report.html");
        demo::scenario::run(&cluster, &cluster::built_binaries()?, &image, 1, &report).await?;
        let html = std::fs::read_to_string(report)?;
        anyhow::ensure!(html.contains("(median of 1)") && html.contains("shop/forecast:v1"), "{html}");
        Ok(())
    });
}
