//! The bytes of a variant: equal source and settings give an equal digest, in every version of zstart that
//! writes an equal settings string.

use anyhow::Result;
use serde_json::json;
use zstart_tests::images::{Compression, Fixture, Index};

use crate::command::Zstart;
use crate::layout::Layout;

/// Text-like bytes from a fixed generator.
fn text(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut content = Vec::with_capacity(size + 16);
    while content.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        content.extend_from_slice(format!("{:x} ", (state >> 33) % 100_003).as_bytes());
    }
    content.truncate(size);
    content
}

/// Plain layers: gzip bytes would differ between versions of the gzip encoder. The large layer is encoded
/// in jobs.
fn image(large: usize) -> Fixture {
    let (large, small) = (text(large), text(300_000));
    Fixture::new()
        .members(json!({"annotations": {"keep": "me"}, "x-unknown": [1, 2.50]}))
        .layer_as(Compression::Plain, &[("usr/lib/large", &large)])
        .layer_as(Compression::Plain, &[("usr/bin/small", &small), ("etc/empty", b"")])
        .layer_as(Compression::Zstd, &[("etc/kept", b"zstd already")])
}

#[tokio::test]
async fn variant_digests_are_pinned_for_each_level_and_format() -> Result<()> {
    let zstart = Zstart::find()?;
    let (docker, oci) = (image(33 << 20), image(1 << 20).oci());
    docker.prepare()?.write(&zstart.folder().join("images"), "docker").await?;
    oci.prepare()?.write(&zstart.folder().join("images"), "oci").await?;
    let index = Index::new().oci().image(&oci)?.image(&image(1 << 10).platform("linux", "arm64"))?;
    index.prepare()?.write(&zstart.folder().join("images"), "index").await?;

    let mut found = Vec::new();
    for (name, level) in
        [("docker", "1"), ("docker", "3"), ("oci", "3"), ("oci", "9"), ("oci", "19"), ("index", "3")]
    {
        let source = zstart.oci(&format!("images:{name}"));
        let target = zstart.oci(&format!("variants:{name}-{level}"));
        zstart.print(&["convert", &source, &target, "--level", level]).await?;
        let digest = Layout::new(zstart.folder(), "variants").digest(&format!("{name}-{level}"))?;
        found.push(format!("{name} {level} {digest}"));
    }
    let pinned = [
        "docker 1 sha256:64beac4e32e90005864723617ea959657917dbabb8f15b77f2268c8baccb7396",
        "docker 3 sha256:55c2bb6bd4887d79291e89944b5773610181652f692d886bd67424f997c1f91c",
        "oci 3 sha256:4f4e932a1f9cf848a9fc9883ea362b97ea36814fb2d394a4df0b6fd15bc659a5",
        "oci 9 sha256:49b328b199ba65ac5dcdd8a58eea9401edb3637467fd27437b44527c961a028b",
        "oci 19 sha256:eb90404cee7e0cdfd3ff3709b606c02706afeaf3d7506b3dfbff86ea135ba6c0",
        "index 3 sha256:c53338b18412a42bdedb9649466b254af30b3e54f99f80cc29c222a52aadd8cc",
    ];
    assert_eq!(found, pinned);
    Ok(())
}

#[tokio::test]
async fn encoded_bytes_do_not_depend_on_source_compression() -> Result<()> {
    let zstart = Zstart::find()?;
    let files: [(&str, &[u8]); 1] = [("usr/bin/app", &text(1 << 20))];
    let layers = [Compression::Plain, Compression::Gzip];
    let mut digests = Vec::new();
    for (tag, compression) in ["plain", "gzip"].into_iter().zip(layers) {
        Fixture::new()
            .layer_as(compression, &files)
            .prepare()?
            .write(&zstart.folder().join("in"), tag)
            .await?;
        zstart
            .print(&[
                "convert",
                &zstart.oci(&format!("in:{tag}")),
                &zstart.oci(&format!("out:{tag}")),
                "--method",
                "encode",
            ])
            .await?;
        let variant = Layout::new(zstart.folder(), "out").manifest(tag)?;
        digests.push(variant["layers"][0]["digest"].clone());
    }
    assert!(digests[0].is_string() && digests[0] == digests[1], "{digests:?}");
    Ok(())
}
