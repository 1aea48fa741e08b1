//! The program under the name by which kubectl finds plugins.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use anyhow::Result;
use tokio::process::Command;
use zstart_tests::images::Fixture;

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
