//! `make scanners`: package lists that scanners make of real images and of their variants.
//!
//! Each scanner reads the source and the variant from a registry and from OCI layout folders. The lists must
//! be equal and contain packages that the image is known to have.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use zstart_core::Tag;
use zstart_oci::media_type;

use crate::images::{push_layout, real};
use crate::process;
use crate::registry::Registry;
use crate::registry::gateway::Gateway;
use crate::registry::repository_reader::{RepositoryReader, layers, text};

mod packages;
mod scanner;
mod table;

use real::RealImage;
use scanner::{Location, Scanner};

const REPOSITORY: &str = "app";
const VARIANT_TAG: &str = "zstd";

/// One comparison.
struct Row {
    scanner: String,
    image: &'static str,
    location: &'static str,
    /// Packages in the source.
    source: usize,
    /// Packages in the variant.
    variant: usize,
    /// Packages that only one list has, as printed lines.
    difference: Vec<String>,
}

/// A real image and its variant, in a registry and in layout folders.
struct Pair {
    registry: Registry,
    /// Records the requests of the scanners.
    gateway: Gateway,
    source_layout: PathBuf,
    variant_layout: TempDir,
}

/// Converts the real images, compares the lists of all scanners, and prints a table. `zstart` is the program
/// that converts.
#[expect(clippy::print_stdout, reason = "this is the output of the command")]
pub async fn run(zstart: &Path) -> Result<()> {
    let scanners = Scanner::all().await?;
    let mut rows = Vec::new();
    for image in RealImage::all() {
        let name = image.name();
        println!("==> {name}: pushing and converting the image");
        let pair = Pair::new(image, zstart).await?;
        for scanner in &scanners {
            println!("==> {name}: reading source and variant with {}", scanner.version());
            for row in [
                compare_in_registry(image, &pair, scanner).await?,
                compare_in_layouts(image, &pair, scanner).await?,
            ] {
                println!("    {}: {} and {} packages", row.location, row.source, row.variant);
                rows.push(row);
            }
        }
    }
    println!("\n{}", table::table(&rows));
    let different: Vec<String> = rows.iter().filter_map(table::difference).collect();
    ensure!(different.is_empty(), "package lists differ:\n{}", different.join("\n"));
    Ok(())
}

impl Pair {
    async fn new(image: RealImage, zstart: &Path) -> Result<Self> {
        let source_layout = real::layout(image).await?;
        let tag: Tag = real::TAG.parse()?;
        let registry = Registry::start().await?;
        let source = format!("{}/{REPOSITORY}:{tag}", registry.host());
        push_layout(&source_layout, &tag, &source.parse()?).await?;
        let variant_layout = TempDir::with_prefix("zstart-scanners-")?;
        let source_folder = format!("oci:{}:{tag}", source_layout.display());
        let variant_folder = format!("oci:{}:{VARIANT_TAG}", variant_layout.path().display());
        convert(zstart, source, format!("{}/{REPOSITORY}:{VARIANT_TAG}", registry.host())).await?;
        convert(zstart, source_folder, variant_folder).await?;
        let gateway = Gateway::start(&registry.host()).await?;
        Ok(Self { registry, gateway, source_layout, variant_layout })
    }

    /// The variant's layers, all of which must be zstd.
    async fn variant_layers(&self) -> Result<Vec<Value>> {
        let manifest = RepositoryReader::new(&self.registry, REPOSITORY).manifest(VARIANT_TAG).await?.json;
        let layers = layers(&manifest)?;
        for layer in layers {
            ensure!(layer["mediaType"] == media_type::OCI_TAR_ZSTD, "the variant has the layer {layer}");
        }
        Ok(layers.clone())
    }
}

async fn convert(zstart: &Path, source: String, target: String) -> Result<()> {
    let mut command = std::process::Command::new(zstart);
    command.args(["convert", &source, &target]);
    tokio::task::spawn_blocking(move || process::run(&mut command)).await??;
    Ok(())
}

async fn compare_in_registry(image: RealImage, pair: &Pair, scanner: &Scanner) -> Result<Row> {
    let at = |tag: &str| Location::Registry(format!("{}/{REPOSITORY}:{tag}", pair.gateway.host()));
    let source = scanner.packages(at(real::TAG)).await?;
    let requests = pair.gateway.record();
    let variant = scanner.packages(at(VARIANT_TAG)).await?;
    // A scanner that knew the layers from the source would not have read the variant.
    for layer in pair.variant_layers().await? {
        let blob = format!("GET /v2/{REPOSITORY}/blobs/{}", text(&layer["digest"])?);
        ensure!(requests.calls().contains(&blob), "{} didn't send {blob}", scanner.version());
    }
    row(image, scanner, "registry", &source, &variant)
}

async fn compare_in_layouts(image: RealImage, pair: &Pair, scanner: &Scanner) -> Result<Row> {
    let source = scanner.packages(Location::Layout(pair.source_layout.clone())).await?;
    let variant = scanner.packages(Location::Layout(pair.variant_layout.path().to_owned())).await?;
    row(image, scanner, "layout", &source, &variant)
}

fn row(
    image: RealImage,
    scanner: &Scanner,
    location: &'static str,
    source: &packages::PackageList,
    variant: &packages::PackageList,
) -> Result<Row> {
    for (kind, name) in known_packages(image) {
        source.require(kind, name).with_context(|| {
            format!("{} doesn't find a known package of the image \"{}\"", scanner.version(), image.name())
        })?;
    }
    Ok(Row {
        scanner: scanner.version(),
        image: image.name(),
        location,
        source: source.len(),
        variant: variant.len(),
        difference: source.difference(variant),
    })
}

/// Type and name of packages that each image has.
fn known_packages(image: RealImage) -> &'static [(&'static str, &'static str)] {
    match image.name() {
        "python" => &[("deb", "libc6"), ("pypi", "numpy"), ("pypi", "polars")],
        "python-packages-only" => &[("pypi", "numpy"), ("pypi", "polars")],
        "debian" => &[("deb", "libc6"), ("deb", "cmake")],
        _ => &[("npm", "react"), ("npm", "typescript")],
    }
}
