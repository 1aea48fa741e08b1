//! `zstart tune`.

use anyhow::{Context as _, Result};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use zstart_tests::images::{Compression, Fixture, Index};
use zstart_tests::registry::Registry;
use zstart_tests::registry::gateway::{Fault, Gateway};

use crate::command::Zstart;
use crate::exit_codes::require_failure;
use crate::layout::Layout;

/// Piece size of `tune`: 4 MiB.
const PIECE: usize = 4 << 20;

fn image() -> Fixture {
    Fixture::new().large_layer("usr/bin/app", 300_000).layer(&[("etc/app", b"configuration")])
}

/// Bytes in stretches of 1 MiB, each with another compression ratio, from almost zero to incompressible.
fn mixed_entropy(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Number of random bits in each byte.
        let kept = [0xff, 0x0f, 0x3f, 0x01, 0x07][(bytes.len() >> 20) * 7 % 13 % 5];
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = (state ^ (state >> 29)) & (u64::MAX / 255 * kept);
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn level(found: &Value, level: i32) -> Result<&Value> {
    let mut levels = found["levels"].as_array().context("levels")?.iter();
    levels.find(|found| found["level"] == level).with_context(|| format!("level {level}"))
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("{value} is no number"))
}

/// Size of the variant that `convert` creates when it encodes all layers.
async fn converted_bytes(zstart: &Zstart, source: &str, level: i32) -> Result<Value> {
    let (target, level) = (zstart.oci(&format!("level-{level}:v1")), level.to_string());
    let made = zstart.json(&["convert", source, &target, "--level", &level, "--method", "encode"]).await?;
    Ok(made["platforms"][0]["variantBytes"].clone())
}

#[tokio::test]
async fn size_of_a_fully_measured_image_is_exact() -> Result<()> {
    let zstart = Zstart::find()?;
    let whole_pieces = mixed_entropy(3, 2 * PIECE);
    let zstd = Compression::Zstd;
    let image = image()
        .raw_layer(Compression::Plain, whole_pieces.clone(), whole_pieces)
        .layer_as(Compression::Gzip, &[("data", &mixed_entropy(4, 2 * PIECE + 12_345))])
        .layer_as(zstd, &[("stays", b"as it is")])
        .raw_layer(Compression::Plain, Vec::new(), Vec::new());
    image.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let source = zstart.oci("images:v1");
    let levels = [1, 3, 7, 12];
    let found = zstart.json(&["tune", &source, "--level", "1,3,7", "--level", "12"]).await?;
    let layout = Layout::new(zstart.folder(), "images");
    assert_eq!(found["now"]["bytes"], crate::layout::layer_bytes(&layout.manifest("v1")?));
    assert_eq!((&found["layers"], &found["layersKept"]), (&json!(6), &json!(1)));
    assert_eq!(found["levels"].as_array().map(Vec::len), Some(levels.len()));
    for number_of in levels {
        let found = level(&found, number_of)?;
        assert_eq!(found["bytesMargin"], 0.0, "{found:#}");
        assert_eq!(found["bytes"], converted_bytes(&zstart, &source, number_of).await?);
    }
    assert_eq!(layout.tags()?, ["v1"], "nothing is written");
    Ok(())
}

#[tokio::test]
async fn size_estimated_from_a_sample_is_within_its_margin() -> Result<()> {
    let zstart = Zstart::find()?;
    let (first, second) = (mixed_entropy(1, 70 << 20), mixed_entropy(2, 90 << 20));
    let image = Fixture::new().raw_layer(Compression::Plain, first.clone(), first).raw_layer(
        Compression::Plain,
        second.clone(),
        second,
    );
    image.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let source = zstart.oci("images:v1");
    let found = zstart.json(&["tune", &source, "--level", "1,5", "--sample", "96M"]).await?;
    assert_eq!(level(&found, 1)?["bytesMargin"], 0.0);
    let estimated = level(&found, 5)?;
    assert_eq!(estimated["pieces"], 8, "each with the 8 MiB before it");
    let (bytes, margin) = (number(&estimated["bytes"])?, number(&estimated["bytesMargin"])?);
    let real = number(&converted_bytes(&zstart, &source, 5).await?)?;
    assert!(margin > 0.0 && margin < bytes / 2.0, "{estimated:#}");
    assert!((bytes - real).abs() <= margin, "{bytes} ± {margin}, but it is {real}");
    Ok(())
}

#[tokio::test]
async fn best_level_is_unique_and_times_respect_the_bandwidth() -> Result<()> {
    let zstart = Zstart::find()?;
    let image = image().layer(&[("data", &mixed_entropy(5, 3 * PIECE))]);
    image.prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let links = [10e6, 1e9];
    let found =
        zstart.json(&["tune", &zstart.oci("images:v1"), "--levels", "19,1", "--bandwidth", "10M,1G"]).await?;
    assert!(number(&level(&found, 19)?["bytes"])? <= number(&level(&found, 1)?["bytes"])?);
    for (index, link) in links.into_iter().enumerate() {
        let times: Vec<&Value> = [1, 19]
            .into_iter()
            .map(|number| Ok(&level(&found, number)?["times"][index]))
            .collect::<Result<_>>()?;
        let best: Vec<&&Value> = times.iter().filter(|time| time["rank"] == "best").collect();
        let [best] = best[..] else { panic!("{found:#}") };
        for (time, level) in times.iter().zip([level(&found, 1)?, level(&found, 19)?]) {
            let seconds = number(&time["seconds"])?;
            assert!(seconds >= number(&best["seconds"])?);
            assert!(seconds >= number(&level["bytes"])? * 8.0 / link);
            assert!(number(&time["margin"])? > 0.0);
        }
        assert!(
            number(&found["now"]["times"][index]["seconds"])? >= number(&found["now"]["bytes"])? * 8.0 / link
        );
    }
    assert_eq!(level(&found, 19)?["times"][0]["rank"], "best", "the slower the link, the more size counts");
    for level in found["levels"].as_array().context("levels")? {
        assert!(
            number(&level["encodeBytesPerSecond"])? > 0.0 && number(&level["decodeBytesPerSecond"])? > 0.0
        );
    }
    Ok(())
}

#[tokio::test]
async fn node_and_its_decoders_are_named() -> Result<()> {
    let zstart = Zstart::find()?;
    image().prepare()?.write(&zstart.folder().join("images"), "v1").await?;
    let source = zstart.oci("images:v1");
    let tune = ["tune", &source, "--level", "3"];
    for node in ["containerd", "pigz", "igzip"] {
        let found = zstart.json(&[&tune[..], &["--node", node]].concat()).await?;
        assert_eq!(found["node"], node);
        let shown = zstart.print(&[&tune[..], &["--node", node]].concat()).await?;
        let program = if node == "pigz" { "unpigz" } else { node };
        assert!(shown.contains(&format!("Decoders of the node: {program}")), "{shown}");
    }
    assert_eq!(zstart.json(&tune).await?["node"], "containerd", "the default");
    require_failure(&zstart, &["tune", &source, "--node", "crio"], 2, &["containerd, pigz, igzip"]).await
}

#[tokio::test]
async fn table_fits_100_columns_and_names_the_best_levels() -> Result<()> {
    let zstart = Zstart::find()?;
    let prepared = image().prepare()?;
    prepared.write(&zstart.folder().join("images"), "v1").await?;
    let source = zstart.oci("images:v1");
    let said = zstart.print(&["tune", &source, "--bandwidth", "64K,200M,2.5G,10G"]).await?;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], format!("{source}@{}", prepared.digest));
    assert!(lines[1].starts_with("linux/amd64        2 layers  "), "{said}");
    assert!(lines[1..].iter().all(|line| line.chars().count() <= 100), "{said}");
    for head in ["at 64K", "at 2.5G", "at 10G"] {
        assert!(lines.iter().any(|line| line.contains("encode") && line.contains(head)), "{said}");
        assert!(lines.iter().any(|line| line.starts_with(&format!("{head}: level "))), "{said}");
    }
    for number in [1, 3, 6, 9, 12, 15, 19] {
        let rows = lines.iter().filter(|line| line.starts_with(&format!("level {number} ")));
        assert_eq!(rows.count(), 2, "three bandwidths stand side by side: {said}");
    }
    assert!(said.contains("Sizes are exact") && said.contains("Not counted: writing to disk"), "{said}");
    Ok(())
}

#[tokio::test]
async fn platform_defaults_to_that_of_this_machine() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let (other, own) = match std::env::consts::ARCH {
        "aarch64" => ("amd64", "arm64"),
        _ => ("arm64", "amd64"),
    };
    let (other_image, own_image) = (image().platform("linux", other), image().platform("linux", own));
    let index =
        Index::new().image(&image().platform("linux", "s390x"))?.image(&other_image)?.image(&own_image)?;
    index.prepare()?.push(&registry.host(), "app:v1").await?;
    let name = format!("{}/app:v1", registry.host());
    let found = zstart.json(&["tune", &name, "--level", "1"]).await?;
    assert_eq!((&found["platform"], &found["image"]), (&json!(format!("linux/{own}")), &json!(name)));
    assert_eq!(found["digest"], json!(own_image.prepare()?.digest));
    let platform = format!("linux/{other}");
    let found = zstart.json(&["tune", &name, "--level", "1", "--platform", &platform]).await?;
    assert_eq!(
        (&found["platform"], &found["digest"]),
        (&json!(platform), &json!(other_image.prepare()?.digest))
    );
    let none = ["tune", &name, "--platform", "linux/riscv64"];
    require_failure(&zstart, &none, 7, &["only linux/s390x"]).await?;

    let foreign = Index::new()
        .image(&image().platform("linux", "s390x"))?
        .image(&image().platform("linux", "ppc64le"))?;
    foreign.prepare()?.push(&registry.host(), "app:v2").await?;
    let found = zstart.json(&["tune", &format!("{}/app:v2", registry.host()), "--level", "1"]).await?;
    assert_eq!(found["platform"], "linux/s390x");
    Ok(())
}

#[tokio::test]
async fn image_without_layers_to_encode_is_reported() -> Result<()> {
    let zstart = Zstart::find()?;
    let folder = zstart.folder().join("images");
    Fixture::new()
        .oci()
        .layer_as(Compression::Zstd, &[("a", b"b")])
        .prepare()?
        .write(&folder, "zstd")
        .await?;
    Fixture::new().prepare()?.write(&folder, "empty").await?;
    for (tag, said) in
        [("zstd", "all layers are already zstd, nothing to convert"), ("empty", "no layers to convert")]
    {
        let source = zstart.oci(&format!("images:{tag}"));
        let shown = zstart.print(&["tune", &source]).await?;
        assert!(
            shown.lines().last().is_some_and(|line| line.starts_with(&format!("{source}: {said}"))),
            "{shown}"
        );
        assert_eq!(zstart.json(&["tune", &source]).await?["levels"], json!([]));
    }
    Ok(())
}

#[tokio::test]
async fn tune_failures_have_their_exit_codes() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let folder = zstart.folder().join("images");
    image().prepare()?.write(&folder, "v1").await?;
    let v1 = zstart.oci("images:v1");
    require_failure(&zstart, &["tune", &v1, "--level", "3,0"], 2, &["1 (fastest) to 22"]).await?;
    require_failure(&zstart, &["tune", &v1, "--bandwidth", "fast"], 2, &["\"fast\" is not a bandwidth"])
        .await?;
    require_failure(&zstart, &["tune", &v1, "--sample", "1M"], 2, &["at least 96.0 MiB"]).await?;
    require_failure(&zstart, &["tune", &zstart.oci("images:v2")], 3, &["no image \"v2\""]).await?;
    require_failure(&zstart, &["tune", &format!("{}/app:v1", registry.host())], 3, &["pull image v1"])
        .await?;

    image().push(&registry.host(), "app:v1").await?;
    let gateway = Gateway::start(&registry.host()).await?;
    let name = format!("{}/app:v1", gateway.host());
    gateway.fault(Method::GET, "/manifests/", Fault::Respond(StatusCode::FORBIDDEN, vec![], "no"));
    require_failure(&zstart, &["tune", &name], 4, &["HTTP 403"]).await?;
    drop(gateway);
    require_failure(&zstart, &["tune", &name], 5, &["refused"]).await?;

    image().with_wrong_diff_id().prepare()?.write(&folder, "wrong-diff-id").await?;
    require_failure(&zstart, &["tune", &zstart.oci("images:wrong-diff-id")], 6, &["promises diff_id"])
        .await?;
    let artifact = image().members(json!({"artifactType": "application/x-signature"}));
    artifact.prepare()?.write(&folder, "signature").await?;
    require_failure(
        &zstart,
        &["tune", &zstart.oci("images:signature")],
        7,
        &["is left alone: the member \"artifactType\" marks an artifact"],
    )
    .await?;
    let damaged =
        Fixture::new().raw_layer(Compression::Gzip, b"files".to_vec(), b"\x1f\x8bnot gzip".to_vec());
    damaged.prepare()?.write(&folder, "damaged").await?;
    require_failure(
        &zstart,
        &["tune", &zstart.oci("images:damaged")],
        7,
        &["failed to read blob", "is damaged"],
    )
    .await?;

    let layers = Layout::new(zstart.folder(), "images").manifest("v1")?["layers"].clone();
    let layer = layers[0]["digest"].as_str().context("digest")?;
    std::fs::write(folder.join("blobs").join(layer.replace(':', "/")), b"other bytes")?;
    require_failure(&zstart, &["tune", &v1], 6, &[layer, "served 11 bytes"]).await
}
