//! Files of the repository that are made from other files of it: `make generate` writes them, `make generated` compares
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::chart::{Helm, chart, renders, values_table};
use crate::prometheus::programs::Programs;

mod metrics;
mod reasons;
pub(crate) mod section;

/// Folder of the variants' differences.
pub const RENDERS: &str = "tests/tests/chart/renders";

/// Folder of the manifests for clusters without Helm.
const MANIFESTS: &str = "deploy/manifests";

/// A file's path in the repository, and its content.
struct Generated {
    path: PathBuf,
    content: String,
}

impl Generated {
    /// Document whose sections `replace` writes.
    fn sections(path: &str, replace: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let content =
            replace(&read(&root().join(path))?).with_context(|| format!("failed to make {path}"))?;
        Ok(Self { path: path.into(), content })
    }
}

async fn files(helm: &Helm) -> Result<Vec<Generated>> {
    let values = read(&chart().join("values.yaml"))?;
    let exported = Programs::start().await?.metrics().await?;
    let mut files = vec![
        Generated::sections("charts/zstart/README.md", |readme| values_table::replace(readme, &values))?,
        Generated { path: "docs/settings.md".into(), content: values_table::page(&values)? },
        Generated { path: "docs/metrics.md".into(), content: metrics::page(&exported)? },
        Generated::sections("docs/pods.md", reasons::pods)?,
        Generated::sections("docs/troubleshooting.md", reasons::troubleshooting)?,
    ];
    let path = Path::new(MANIFESTS).join("zstart.yaml");
    files.push(Generated { path, content: renders::manifests(helm).await? });
    for (name, content) in renders::differences(helm).await? {
        files.push(Generated { path: Path::new(RENDERS).join(format!("{name}.diff")), content });
    }
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Writes the files, and removes renders of variants that don't exist.
pub async fn write() -> Result<()> {
    let files = files(&Helm::find().await?).await?;
    let root = root();
    for path in leftover(&files)? {
        fs::remove_file(root.join(path))?;
    }
    for file in files {
        let path = root.join(file.path);
        path.parent().map(fs::create_dir_all).transpose()?;
        fs::write(&path, file.content).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// Requires that the files are those that [`write`] would write.
pub async fn check() -> Result<()> {
    let files = files(&Helm::find().await?).await?;
    let mut wrong: Vec<String> = leftover(&files)?.iter().map(|path| path.display().to_string()).collect();
    for file in &files {
        let found = fs::read_to_string(root().join(&file.path)).unwrap_or_default();
        if found != file.content {
            wrong.push(file.path.display().to_string());
        }
    }
    ensure!(
        wrong.is_empty(),
        "these files don't match their sources; run `make generate` and review: {}",
        wrong.join(", ")
    );
    Ok(())
}

/// Files in the folder of renders that no variant has.
fn leftover(files: &[Generated]) -> Result<Vec<PathBuf>> {
    let wanted: BTreeSet<&PathBuf> = files.iter().map(|file| &file.path).collect();
    let mut left = Vec::new();
    for entry in fs::read_dir(root().join(RENDERS)).into_iter().flatten() {
        let path = Path::new(RENDERS).join(entry?.file_name());
        if !wanted.contains(&path) {
            left.push(path);
        }
    }
    Ok(left)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
