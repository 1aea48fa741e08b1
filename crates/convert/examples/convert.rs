//! Converts an image of an OCI layout folder into another layout folder:
//! `cargo run -p zstart-convert --example convert -- FROM:TAG TO`.
#![expect(clippy::print_stdout, reason = "prints its result")]

use std::error::Error;

use zstart_convert::progress::Silent;
use zstart_convert::{
    Execution, Job, LayerCache, Settings, VariantTagging, execute, plan, resolve, verify_pushed,
};
use zstart_core::{Tag, VariantNames};
use zstart_registry::{LayoutFolder, ManifestKey};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else { return Err("usage: convert FROM:TAG TO".into()) };
    let (folder, tag) = from.rsplit_once(':').ok_or("FROM has no tag; write FOLDER:TAG")?;
    let source_tag: Tag = tag.parse()?;
    let (source, target) = (LayoutFolder::new(folder), LayoutFolder::new(to));
    let settings = Settings::default();

    let key = ManifestKey::Tag(&source_tag);
    let resolved = resolve(&source, key).await?;
    let plan = plan(&source, &resolved, &settings).await?;
    let names = VariantNames::new(Some(&source_tag), resolved.digest());
    let layer_cache = LayerCache::default();
    let job = Job {
        source: &source,
        target: &target,
        settings: &settings,
        layer_cache: &layer_cache,
        progress: &Silent,
    };
    let tagging = VariantTagging::Derived { names: &names, listing: None };
    let Execution { image, tag, .. } = execute(job, key, tagging, &plan).await?;
    verify_pushed(&target, &tag, &plan, &image).await?;

    let (before, after) = (image.source_bytes(), image.variant_bytes());
    let saved = i128::from(before) - i128::from(after);
    println!("{to}:{tag}: {before} bytes became {after} bytes, {saved} bytes saved");
    Ok(())
}
