//! Styles of the output on a terminal.

use anyhow::Result;
use zstart_tests::images::Fixture;

use crate::command::{Zstart, finish};

#[tokio::test]
async fn styles_reach_a_terminal_and_no_pipe() -> Result<()> {
    const ESCAPE: char = '\u{1b}';
    let zstart = Zstart::find()?;
    Fixture::new().layer(&[("etc/app", b"app")]).prepare()?.write(&zstart.folder().join("app"), "v1").await?;
    let (source, variant) = (zstart.oci("app") + ":v1", zstart.oci("variant") + ":v1");
    zstart.print(&["convert", &source, &variant]).await?;
    let verify = ["verify", &source, &variant];
    // The variable means: as on a terminal.
    let forced = async |more: &[(&str, &str)], arguments: &[&str]| {
        let mut command = zstart.command(arguments);
        finish(command.env("CLICOLOR_FORCE", "1").envs(more.iter().copied())).await
    };
    let styled = forced(&[], &verify).await?.stdout;
    assert!(styled.contains("\u{1b}[32mequal: "), "{styled}");
    let failed = forced(&[], &["verify", &source, "oci:absent:v1"]).await?.stderr;
    assert!(failed.starts_with("\u{1b}[31merror:\u{1b}[0m "), "{failed}");

    assert!(!zstart.print(&verify).await?.contains(ESCAPE), "a pipe");
    let plain = forced(&[("NO_COLOR", "1")], &verify).await?.stdout;
    assert!(plain.contains("equal: ") && !plain.contains(ESCAPE), "{plain}");
    let json = forced(&[], &["verify", &source, &variant, "--json"]).await?.stdout;
    assert!(json.starts_with('{') && !json.contains(ESCAPE), "{json}");
    Ok(())
}
