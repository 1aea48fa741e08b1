//! Finds or builds the lab's binaries.
//!
//! Order: a folder given by the user (`ZSTART_LAB_BIN`, then `KUBEBUILDER_ASSETS`), then the cache, then programs on
//! PATH in the pinned major and minor version. Missing binaries are built once from the Go modules under `tests/tools/`,
//! whose `go.mod` and `go.sum` pin every byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use zstart_core::units;

use crate::packages;
use crate::process::run;
use crate::settings;

mod compiler;
mod installed;
mod module;
mod pinned;
mod tool;

use module::Module;
pub use tool::Tool;

/// Path of a program. The first call may build it, which takes minutes.
pub async fn find(tool: Tool) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || find_blocking(tool)).await?
}

/// Path of helm.
pub async fn helm() -> Result<PathBuf> {
    find(Tool::Helm).await
}

/// Finds or builds every tool of the tests that this user can run, and prints what it builds.
pub async fn all() -> Result<()> {
    for_cluster().await?;
    tokio::task::spawn_blocking(|| Tool::TESTS.into_iter().try_for_each(|tool| find_blocking(tool).map(drop)))
        .await?
}

/// Finds or builds every tool of a cluster that this user can run. Prints what it builds, and what it uses of the
/// machine.
#[expect(clippy::print_stderr, reason = "the first build takes minutes")]
pub async fn for_cluster() -> Result<()> {
    tokio::task::spawn_blocking(|| {
        let everything = settings::is_root();
        let tools = Tool::CLUSTER.into_iter().filter(|tool| everything || !tool.needs_root());
        let cache = settings::cache_folder()?;
        for tool in tools {
            let path = find_blocking(tool)?;
            if !path.starts_with(&cache) {
                eprintln!("    uses {}", path.display());
            }
        }
        if everything {
            packages::require(&packages::CLUSTER)?;
        }
        Ok(())
    })
    .await?
}

/// Finds or builds Prometheus and its tools.
pub async fn monitoring() -> Result<()> {
    for tool in Tool::MONITORING {
        find(tool).await?;
    }
    Ok(())
}

/// Folder of the source of a Go module that a folder under `tests/tools/` requires. Downloads the module once.
pub async fn module_source(folder: &'static str, module: &'static str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(folder);
    let (source, _) = tokio::task::spawn_blocking(move || download_module(&folder, module)).await??;
    Ok(source)
}

/// Folder of the source of a Go module, given as `PATH@VERSION`, with this checksum. Downloads the module once.
pub async fn checked_module_source(module: &'static str, sum: &'static str) -> Result<PathBuf> {
    // Outside of a Go module, so that no other one decides the version.
    let folder = tempfile::tempdir()?;
    let download = tokio::task::spawn_blocking(move || download_module(folder.path(), module));
    let (source, found) = download.await??;
    ensure!(found == sum, "the checksum of {module} is {found}, expected {sum}");
    Ok(source)
}

/// Downloads a Go module as `go` chooses it in a folder. Returns the folder of its source, and its checksum.
fn download_module(folder: &Path, module: &str) -> Result<(PathBuf, String)> {
    let mut go = Command::new("go");
    let answer = run(go.current_dir(folder).args(["mod", "download", "-json", module]))
        .with_context(|| format!("failed to download {module}"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let member =
        |name: &str| answer[name].as_str().with_context(|| format!("go names no {name} of {module}"));
    Ok((member("Dir")?.into(), member("Sum")?.to_owned()))
}

fn find_blocking(tool: Tool) -> Result<PathBuf> {
    let name = tool.file_name();
    let mut folders = settings::binary_folders();
    let module = tool.module();
    let built = settings::cache_folder()?.join("tools").join(format!("{}-{}", module.name, module.version));
    folders.push(built.clone());
    let found =
        |folders: &[PathBuf]| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if let Some(path) = found(&folders) {
        return Ok(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Some(path) = installed::find(module, name, &on_path) {
        return Ok(path);
    }
    build(module, &built)?;
    found(&[built]).with_context(|| format!("the build of module {} gave no program {name}", module.name))
}

/// Builds a module's programs into a folder that appears when it is complete. If several processes need a
/// module at once, one builds and the others wait.
#[expect(clippy::print_stderr, reason = "the first build takes minutes")]
fn build(module: &Module, folder: &Path) -> Result<()> {
    let parent = folder.parent().context("the cache has a parent folder")?;
    fs::create_dir_all(parent).with_context(|| format!("failed to create {}", parent.display()))?;
    let lock = File::create(parent.join(format!("{}.lock", module.name)))?;
    lock.lock().context("failed to lock the tool cache")?;
    if folder.is_dir() {
        return Ok(());
    }
    packages::require(module.debian_packages)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(module.folder);
    ensure!(source.is_dir(), "the Go module {} is missing", source.display());
    eprintln!("==> building {} {} (once; {} on 2 cores)", module.name, module.version, module.cold_build);
    let started = Instant::now();
    let partial = tempfile::Builder::new().prefix(&format!(".{}-", module.name)).tempdir_in(parent)?;
    // One command for all programs: one is linked while another is compiled.
    let mut go = Command::new("go");
    go.current_dir(&source).args(["build", "-mod=readonly", "-trimpath", "-tags", module.tags]);
    go.envs(compiler::environment().iter().chain(module.environment).copied());
    go.args(module.compiler_flags).arg("-ldflags").arg(format!("-s -w {}", module.linker_flags));
    let output = match module.packages {
        [(_, name)] => partial.path().join(name),
        _ => partial.path().to_owned(),
    };
    go.arg("-o").arg(output).args(module.packages.iter().map(|(package, _)| package));
    run(&mut go).with_context(|| format!("failed to build {} (is Go installed?)", module.name))?;
    if module.packages.len() > 1 {
        for (package, name) in module.packages {
            // Go names the program after the package's folder.
            let built = partial.path().join(package.rsplit('/').next().unwrap_or(package));
            fs::rename(&built, partial.path().join(name))
                .with_context(|| format!("the build of {package} gave no {}", built.display()))?;
        }
    }
    fs::rename(partial.keep(), folder)?;
    eprintln!("    {} built in {}", module.name, units::duration(started.elapsed()));
    Ok(())
}
