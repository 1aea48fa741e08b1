//! Runs helm on this repository's chart and returns the rendered objects as JSON. Helm has its own home
//! folder, so it neither reads nor writes the user's files.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::control_plane::GARBAGE_PERCENT;

pub mod cert_manager;
pub mod renders;
mod rights;
pub mod schemas;
pub mod values_table;

pub use rights::{grant, grant_with};

/// Namespace of every test installation.
pub const NAMESPACE: &str = "zstart-system";

/// Folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/zstart")
}

/// Values files under `ci/`; each describes one kind of installation.
pub fn ci_values() -> Result<Vec<PathBuf>> {
    let folder = chart().join("ci");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("failed to read {}", folder.display()))? {
        files.push(entry?.path());
    }
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    Ok(files)
}

/// Name of the installation that a values file describes, e.g. `proxy` of `ci/proxy-values.yaml`.
pub fn variant_name(values: &Path) -> Result<String> {
    let name = values.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix("-values.yaml"));
    name.map(str::to_owned).with_context(|| format!("{} isn't named NAME-values.yaml", values.display()))
}

/// The helm program.
pub struct Helm {
    program: PathBuf,
    home: TempDir,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Helm without a cluster: enough to lint and to render.
    pub async fn find() -> Result<Self> {
        Ok(Self { program: crate::tools::helm().await?, home: TempDir::new()?, kubeconfig: None })
    }

    /// Sets the cluster into which helm installs.
    #[must_use]
    pub fn with_kubeconfig(mut self, path: &Path) -> Self {
        self.kubeconfig = Some(path.to_owned());
        self
    }

    /// Runs helm. Returns its output; an error contains helm's messages.
    pub async fn run<A: AsRef<OsStr>, B: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        more: impl IntoIterator<Item = B>,
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(more).env_clear().env("HOME", self.home.path()).kill_on_drop(true);
        command.env("GOGC", GARBAGE_PERCENT);
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        let output =
            command.output().await.with_context(|| format!("failed to start {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "helm failed ({}): {}{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Text of a chart's objects.
    async fn template(&self, chart: &Path, release: &str, more: &[&OsStr]) -> Result<String> {
        let arguments: [&OsStr; 5] = [
            "template".as_ref(),
            release.as_ref(),
            chart.as_ref(),
            "--namespace".as_ref(),
            NAMESPACE.as_ref(),
        ];
        self.run(arguments, more).await
    }

    /// Renders a chart in any folder with `--set` values.
    pub async fn render_chart(&self, chart: &Path, release: &str, sets: &[&str]) -> Result<Vec<Value>> {
        parse(&self.template(chart, release, &set_arguments(sets)).await?)
    }

    /// Text that helm renders with a values file: the objects of a release with their comments.
    pub async fn text(&self, values: &Path) -> Result<String> {
        self.text_with(values, &[]).await
    }

    /// Text that helm renders with a values file and more arguments.
    pub async fn text_with(&self, values: &Path, more: &[&str]) -> Result<String> {
        let mut arguments = vec![OsStr::new("--values"), values.as_os_str()];
        arguments.extend(more.iter().map(OsStr::new));
        self.template(&chart(), "zstart", &arguments).await
    }

    /// Renders a release with `--set` values.
    pub async fn render(&self, release: &str, sets: &[&str]) -> Result<Vec<Value>> {
        self.render_chart(&chart(), release, sets).await
    }

    /// Renders a release with a values file.
    pub async fn render_file(&self, release: &str, values: &Path) -> Result<Vec<Value>> {
        parse(&self.template(&chart(), release, &["--values".as_ref(), values.as_ref()]).await?)
    }

    /// Requires that rendering fails, and returns helm's message.
    pub async fn fails_to_render(&self, release: &str, sets: &[&str]) -> Result<String> {
        match self.render(release, sets).await {
            Ok(_) => bail!("helm rendered {release} with {sets:?}, but an error was expected"),
            Err(error) => Ok(format!("{error:#}")),
        }
    }
}

/// Objects of a text that helm rendered.
fn parse(text: &str) -> Result<Vec<Value>> {
    let objects: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(objects.into_iter().filter(|object| !object.is_null()).collect())
}

/// Puts `--set` in front of each value.
pub fn set_arguments<'a>(sets: &[&'a str]) -> Vec<&'a OsStr> {
    sets.iter().flat_map(|set| [OsStr::new("--set"), OsStr::new(*set)]).collect()
}

/// Name of an object.
pub fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// Finds an object by kind and name.
pub fn find<'a>(objects: &'a [Value], kind: &str, wanted: &str) -> Result<&'a Value> {
    objects
        .iter()
        .find(|object| object["kind"] == kind && name(object) == wanted)
        .with_context(|| format!("no {kind} {wanted} was rendered"))
}
