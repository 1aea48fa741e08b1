//! A TLS registry behind a proxy, as for most registries from inside a company.

use std::path::Path;

use anyhow::Result;
use zstart_tests::images::Fixture;
use zstart_tests::proxy::Proxy;
use zstart_tests::registry::Registry;

use crate::command::{Finished, Zstart, finish};

async fn run(
    zstart: &Zstart,
    proxy: &Proxy,
    authority: Option<&Path>,
    arguments: &[&str],
) -> Result<Finished> {
    let mut command = zstart.command(arguments);
    command.env("HTTPS_PROXY", proxy.address());
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", authority);
    }
    finish(&mut command).await
}

#[tokio::test]
async fn registry_is_reached_over_tls_through_a_proxy() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start_tls("registry.example").await?;
    let proxy = Proxy::start(&["registry.example"], registry.host()).await?;
    let authority = registry.authority();
    let image = Fixture::new().large_layer("usr/bin/app", 3 << 20).layer(&[("etc/app", b"configuration")]);
    image.prepare()?.write(&zstart.folder().join("app"), "v1").await?;
    let source = zstart.oci("app:v1");

    let pushed = ["convert", &source, "registry.example/app:v1-zstd"];
    let ended = run(&zstart, &proxy, Some(&authority), &pushed).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let ended = run(&zstart, &proxy, Some(&authority), &["inspect", "registry.example/app:v1-zstd"]).await?;
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("2 layers") && ended.stdout.contains("zstd"), "{}", ended.stdout);
    let copied = ["convert", "registry.example/app:v1-zstd", &zstart.oci("copy:v1")];
    let ended = run(&zstart, &proxy, Some(&authority), &copied).await?;
    assert!(ended.stderr.contains("already a variant made by zstart"), "{ended:#?}");

    // An untrusted registry gets nothing, and the error names the certificate.
    let ended = run(&zstart, &proxy, None, &pushed).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
    Ok(())
}
