//! Commands of `lab`, one per part.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{self, Cluster, Storage};
use crate::control_plane::{self, ControlPlane};
use crate::images::real;
use crate::inventory::{Size, tables};
use crate::registry::Registry;
use crate::tools;

/// Finds or builds every component.
pub fn tools() -> Result<()> {
    runtime()?.block_on(async {
        tools::all().await?;
        tools::monitoring().await
    })
}

/// Writes the repository's generated files, or compares them.
pub fn generate(check: bool) -> Result<()> {
    runtime()?.block_on(async {
        if check { crate::generated::check().await } else { crate::generated::write().await }
    })
}

/// Builds the large image and prints its location.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub fn image() -> Result<()> {
    let folder = super::image()?;
    println!("oci:{}:{}", folder.display(), real::TAG);
    Ok(())
}

/// Compares the package lists that scanners make of real images and of their variants.
pub fn scanners() -> Result<()> {
    runtime()?.block_on(crate::scanners::run(&cluster::built_binaries()?.join("zstart")))
}

/// Measures the controller in a large cluster.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub fn inventory(controller: &Path, size: Size) -> Result<()> {
    // The program runs in a folder of its own.
    let controller = std::path::absolute(controller)?;
    println!("{}", tables(&runtime()?.block_on(crate::inventory::run(&controller, size))?));
    Ok(())
}

/// Counts the requests about images that can't be converted.
#[expect(clippy::print_stdout, reason = "this is a command line")]
pub fn restraint(options: crate::restraint::Options) -> Result<()> {
    let controller = std::path::absolute(options.controller)?;
    let options = crate::restraint::Options { controller, ..options };
    println!("{}", crate::restraint::text(&options, &runtime()?.block_on(crate::restraint::run(&options))?));
    Ok(())
}

/// Restarts, upgrades and drains the webhook while pods are created.
pub fn soak(options: crate::soak::Options) -> Result<()> {
    if !cluster::is_inside() {
        runtime()?.block_on(tools::for_cluster())?;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    cluster::run_program(Storage::Disk, &arguments, |cluster| crate::soak::run(cluster, options))
}

/// Pulls an image in each compression, in a cluster with its images in memory and in one with its images on the disk.
pub fn pulls(options: &crate::bench_pull::Options) -> Result<()> {
    let run = |storage, arguments: &[String]| {
        cluster::run_program(storage, arguments, |cluster| async move {
            crate::bench_pull::run(&cluster, options).await
        })
    };
    if cluster::is_inside() {
        return run(Storage::Disk, &[]);
    }
    runtime()?.block_on(async {
        tools::for_cluster().await?;
        real::layout(real::RealImage::Python).await
    })?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(Storage::Memory, &arguments)?;
    run(Storage::Disk, &arguments)
}

/// Starts pods of an image in several ways.
pub fn starts(options: &crate::bench_start::Options) -> Result<()> {
    if !cluster::is_inside() {
        runtime()?.block_on(async {
            tools::for_cluster().await?;
            for tool in crate::bench_start::TOOLS {
                tools::find(tool).await?;
            }
            real::layout(real::RealImage::Python).await
        })?;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    cluster::run_program(Storage::with_free_memory()?, &arguments, |mut cluster| async move {
        crate::bench_start::run(&mut cluster, options).await
    })
}

/// Starts a cluster with a command or a shell in it.
pub fn up(command: Vec<String>) -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    cluster::run_program(Storage::Disk, &arguments, |cluster| async move { shell(&cluster, &command) })
}

/// Runs a command or a shell with the cluster's tools on PATH and its kubeconfig.
#[expect(clippy::print_stderr, reason = "this is a command line")]
pub(super) fn shell(cluster: &Cluster, command: &[String]) -> Result<()> {
    let (program, arguments) = if let Some((program, arguments)) = command.split_first() {
        (program.as_str(), arguments)
    } else {
        eprintln!(
            "Starting a shell in the cluster. kubectl, helm, zstart and ctr are on the PATH. The registry is"
        );
        eprintln!("{} in this shell and {} in pods.", cluster::LOCAL_REGISTRY, cluster::REGISTRY);
        eprintln!("The cluster ends with the shell.");
        ("bash", &[][..])
    };
    let status = cluster.command(program).args(arguments).status();
    let status = status.with_context(|| format!("failed to start {program}"))?;
    ensure!(command.is_empty() || status.success(), "{program} ended with {status}");
    Ok(())
}

/// Starts an API server and a registry, and runs a command or a shell.
#[expect(clippy::print_stderr, reason = "this is a command line")]
pub fn control_plane(command: &[String]) -> Result<()> {
    let runtime = runtime()?;
    let (plane, registry) =
        runtime.block_on(async { anyhow::Ok((ControlPlane::start().await?, Registry::start().await?)) })?;
    let program = command.first().cloned().unwrap_or_else(|| "bash".to_owned());
    eprintln!("KUBECONFIG={} REGISTRY={}", plane.kubeconfig().display(), registry.host());
    let mut process = Command::new(&program);
    process.args(command.iter().skip(1));
    process.env("KUBECONFIG", plane.kubeconfig()).env("REGISTRY", registry.host());
    let status = process.status().with_context(|| format!("failed to start {program}"))?;
    ensure!(command.is_empty() || status.success(), "{program} ended with {status}");
    Ok(())
}

/// Keeps an API server for the tests of a run.
pub fn keep_control_plane(folder: &Path, runner: u32) -> Result<()> {
    runtime()?.block_on(control_plane::keep(folder, runner))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
