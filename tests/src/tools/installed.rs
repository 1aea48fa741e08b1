//! Programs that the machine already has: on PATH, in the pinned major and minor version.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::module::Module;

/// Major and minor version.
type Version = (u64, u64);

/// Returns a module's program from `folders`, if they have all of the module's programs in a fitting version. A module
/// is used whole, because its programs work together.
pub(super) fn find(module: &Module, program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let arguments = version_arguments(module.name)?;
    let mut programs = module.packages.iter().map(|(_, name)| *name);
    let first = on_path(programs.next()?, folders)?;
    programs.all(|name| on_path(name, folders).is_some()).then_some(())?;
    let output = Command::new(first).args(arguments).stdin(Stdio::null()).output().ok()?;
    let found = version(&String::from_utf8_lossy(&output.stdout))?;
    (output.status.success() && Some(found) == version(module.version)).then_some(())?;
    on_path(program, folders)
}

/// Arguments with which the first program of a module prints its version. `None` for programs that are built in any
/// case: Kubernetes, whose parts report no common version, and plugins.
fn version_arguments(module: &str) -> Option<&'static [&'static str]> {
    match module {
        "helm" => Some(&["version", "--short"]),
        "etcd" | "containerd" | "runc" | "registry" => Some(&["--version"]),
        _ => None,
    }
}

fn on_path(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(program)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Reads the first version in a text, e.g. `etcd Version: 3.6.8` or `v4.2.4+g1234567`.
fn version(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut parts = word.trim_start_matches('v').split(['.', '+', '-']);
        let mut number = || parts.next()?.parse::<u64>().ok();
        Some((number()?, number()?))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Tool;
    use super::*;

    #[test]
    fn version_is_read_from_what_programs_print() {
        for (text, expected) in [
            ("etcd Version: 3.6.8\nGit SHA: Not provided\nGo Version: go1.26.4", Some((3, 6))),
            ("v4.2.4+g24f1a5e", Some((4, 2))),
            ("containerd github.com/containerd/containerd/v2 2.4.2 \n", Some((2, 4))),
            ("registry github.com/distribution/distribution/v3 v3.1.2", Some((3, 1))),
            ("runc version 1.5.2\nspec: 1.3.0", Some((1, 5))),
            ("no version", None),
        ] {
            assert_eq!(version(text), expected, "{text}");
        }
    }

    #[test]
    fn other_versions_and_parts_of_a_module_arent_used() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, prints: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho {prints}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let folders = [folder.path().to_owned()];
        let found = |tool: Tool| find(tool.module(), tool.file_name(), &folders);
        let pinned = Tool::Etcd.version();
        let etcd = write("etcd", &format!("etcd Version: {pinned}"));
        assert_eq!(found(Tool::Etcd), Some(etcd));
        write("etcd", "etcd Version: 3.5.1");
        assert_eq!(found(Tool::Etcd), None);

        let version = format!("containerd containerd {}", Tool::Containerd.version());
        write("containerd", &version);
        assert_eq!(found(Tool::Containerd), None, "its shim is missing");
        write("containerd-shim-runc-v2", "");
        let ctr = write("ctr", "");
        assert_eq!(found(Tool::Ctr), Some(ctr));
    }
}
