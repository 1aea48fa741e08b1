//! The program under the name by which kubectl finds plugins.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;
use zstart_tests::images::Fixture;
use zstart_tests::tools::{self, Tool};

use crate::command::{Zstart, finish};

#[tokio::test]
async fn kubectl_zstart_symlink_is_a_kubectl_plugin() -> Result<()> {
    let zstart = Zstart::find()?;
    let plugin = zstart.folder().join("kubectl-zstart");
    symlink(&zstart.program, &plugin)?;
    let run = |arguments: [String; 2]| {
        let mut command = Command::new(&plugin);
        command.args(arguments).env_clear().env("HOME", zstart.folder()).stdin(Stdio::null());
        async move { finish(&mut command).await }
    };
    let help = run(["convert".to_owned(), "--help".to_owned()]).await?;
    assert!(help.stdout.contains("Usage: kubectl zstart convert "), "{help:#?}");
    let help = zstart.print(&["convert", "--help"]).await?;
    assert!(help.contains("Usage: zstart convert "), "{help}");

    let image = Fixture::new().layer(&[("etc/app", b"configuration")]).prepare()?;
    image.write(&zstart.folder().join("images"), "v1").await?;
    let ended = run(["inspect".to_owned(), zstart.oci("images:v1")]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains(image.digest.as_str()), "{}", ended.stdout);
    Ok(())
}

#[tokio::test]
async fn krew_installs_the_packed_plugin() -> Result<()> {
    let zstart = Zstart::find()?;
    let (packed, root) = (zstart.folder().join("plugin"), zstart.folder().join("krew"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/krew/package.sh");
    let output = Command::new(script).arg(&zstart.program).arg(&packed).output().await?;
    assert!(output.status.success(), "{output:?}");

    let krew = tools::find(Tool::Krew).await?;
    let (manifest, archive) = (packed.join("zstart.yaml"), packed.join("zstart-linux-amd64.tar.gz"));
    let mut install = Command::new(krew);
    install.arg("install").arg(format!("--manifest={}", manifest.display()));
    install.arg(format!("--archive={}", archive.display())).env("KREW_ROOT", &root);
    install.env("KREW_NO_UPGRADE_CHECK", "1").stdin(Stdio::null());
    let output = install.output().await?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut plugin = Command::new(root.join("bin/kubectl-zstart"));
    let ended = finish(plugin.arg("--version").stdin(Stdio::null())).await?;
    assert_eq!(ended.stdout, format!("zstart {}\n", env!("CARGO_PKG_VERSION")), "{ended:#?}");
    Ok(())
}
