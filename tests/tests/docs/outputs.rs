//! Commands of a page in a folder with a registry, and the outputs that the page shows.
//!
//! A page shows what a command printed once, for larger images. Digests, sizes, durations and percentages are compared
//! as such, and every other word as it is. The registry's address and a variant's tag are those of the test.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use zstart_tests::images::{Fixture, Index};
use zstart_tests::registry::Registry;
use zstart_tests::transcript::{Part, commands, is_shown};

use crate::markdown::Block;
use crate::places::Folder;

/// Addresses of registries in the pages.
const REGISTRIES: [&str; 2] = ["localhost:5417", "registry.example"];
/// Tag of the variant of `app:v1` in the pages.
const TAG: &str = "v1-zstd-1a2b3c4d5e6f-27893757";
/// Text in place of a number or digest.
const MASK: &str = "#";
/// Shortest digest that programs print.
const DIGEST_MIN: usize = 8;

/// Runs the blocks, and requires the shown outputs. Stops at the first other output.
pub(crate) async fn compare(blocks: &[&Block]) -> Result<()> {
    let (folder, registry) = (Folder::new().await?, Registry::start().await?);
    let host = registry.host();
    forecast().push(&host, "shop/forecast:v1").await?;
    Fixture::new().layer(&[("srv/web", b"pages")]).push(&host, "shop/web:v1").await?;
    app()?.prepare()?.push(&host, "app:v1").await?;
    let converted = bash(&folder, &format!("zstart convert --json {host}/app:v1 2>/dev/null")).await?.1;
    let converted: Value = serde_json::from_str(&converted).with_context(|| converted.clone())?;
    let variant = converted["variant"].as_str().context("no variant")?;
    let (_, tag) = variant.rsplit_once(':').context("no tag")?;
    let local = |text: &str| {
        REGISTRIES.iter().fold(text.replace(TAG, tag), |text, registry| text.replace(registry, &host))
    };
    for block in blocks {
        let text = local(&block.text);
        if let Some(name) = block.file() {
            std::fs::write(folder.path().join(name), text)?;
            continue;
        }
        for part in commands(&text.lines().collect::<Vec<_>>())? {
            if let Part::Command { command, output } = part {
                follow(&folder, &command, &output).await?;
            }
        }
    }
    Ok(())
}

/// An image of four layers, one of them small.
fn forecast() -> Fixture {
    let image = Fixture::new().large_layer("usr/lib/python", 400_000).layer(&[("etc/passwd", b"root")]);
    image.large_layer("usr/lib/packages", 300_000).large_layer("usr/lib/forecast", 200_000)
}

/// An index with an image of two layers, and an attestation of the image.
fn app() -> Result<Index> {
    let image = Fixture::new().large_layer("usr/lib/app", 300_000).large_layer("srv/app", 200_000);
    let member = json!({
        "platform": {"os": "unknown", "architecture": "unknown"},
        "annotations": {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.prepare()?.digest,
        },
    });
    let attestation = Fixture::new().oci().layer(&[("attestation", b"of the image")]);
    Index::new().image(&image)?.image_with(&attestation, &member)
}

async fn follow(folder: &Folder, command: &str, shown: &[String]) -> Result<()> {
    let (succeeds, said) = bash(folder, command).await?;
    if shown.is_empty() {
        ensure!(succeeds, "{command} failed: {said}");
        return Ok(());
    }
    let expected: Vec<String> = shown.iter().map(|line| mask(line)).collect();
    let actual: Vec<String> = said.lines().map(mask).collect();
    ensure!(
        is_shown(&expected, &actual.join("\n")),
        "{command} shows:\n{said}\ninstead of:\n{}",
        shown.join("\n")
    );
    Ok(())
}

/// Returns whether a command succeeded, and its output with its errors, in their order.
async fn bash(folder: &Folder, command: &str) -> Result<(bool, String)> {
    let script = format!("exec 2>&1\n{command}");
    let output = folder.command(&["-o", "pipefail", "-c", &script]).output().await?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// Replaces the digests, sizes, durations and percentages of a line.
fn mask(line: &str) -> String {
    let mut words = line.split_whitespace().peekable();
    let mut masked = Vec::new();
    while let Some(word) = words.next() {
        let unit = words.peek().and_then(|next| {
            let is_size = ["B", "KiB", "MiB", "GiB"].contains(&next.trim_end_matches([',', ':', ';']));
            (is_number(word) && is_size).then(|| next.trim_start_matches(char::is_alphabetic))
        });
        if let Some(punctuation) = unit {
            masked.push(format!("{MASK}{punctuation}"));
            words.next();
            continue;
        }
        let bare = word.trim_end_matches([',', ':', ';']);
        let is_measured = ["ms", "s", "%"].iter().any(|unit| bare.strip_suffix(unit).is_some_and(is_number));
        masked.push(if is_measured {
            format!("{MASK}{}", &word[bare.len()..])
        } else {
            without_digests(word)
        });
    }
    masked.join(" ")
}

fn is_number(word: &str) -> bool {
    word.parse::<f64>().is_ok() && word.starts_with(|c: char| c.is_ascii_digit())
}

/// Replaces each run of hexadecimal digits that is long enough for a digest.
fn without_digests(word: &str) -> String {
    let is_digest = |run: &str| {
        run.len() >= DIGEST_MIN && run.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let runs = word.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let runs = runs.map(|run| {
        let bare = run.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if is_digest(bare) { format!("{MASK}{}", &run[bare.len()..]) } else { run.to_owned() }
    });
    runs.collect()
}

#[test]
fn masked_lines_keep_every_other_word() {
    for (line, masked) in [
        ("layer 8df57ec835e1: 108 MiB → 88.6 MiB in 7.4s", "layer #: # → # in #"),
        ("layer ff491c3b930e: 380 B → 377 B in 182ms", "layer #: # → # in #"),
        ("→ v1-zstd-541f0a5c2f90-8f05751d, 14.3% smaller", "→ v1-zstd-#-#, # smaller"),
        ("a:v1@sha256:7cbf3895408bd033\"}, exit code 9", "a:v1@sha256:#\"}, exit code 9"),
        ("layer 1/2  74.3 MiB, equal", "layer 1/2 #, equal"),
    ] {
        assert_eq!(mask(line), masked);
    }
}
