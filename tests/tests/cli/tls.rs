//! A registry that speaks TLS, reached through a proxy, as most registries are from inside a company.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use zstart_tests::images::Fixture;
use zstart_tests::registry::Registry;

use crate::command::{Ended, Zstart, finish};

/// A proxy that knows one name, whose connections end at `to`.
struct Proxy {
    address: String,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn start(name: &'static str, to: String) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let to = to.clone();
                // A connection that breaks is for the client to tell.
                tokio::spawn(async move { drop(tunnel(client, name, &to).await) });
            }
        });
        Ok(Self { address, _task: AbortOnDropHandle::new(task) })
    }
}

async fn tunnel(client: TcpStream, name: &str, to: &str) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(client.read_until(b'\n', &mut head).await? > 0, "it hung up");
    }
    let line = String::from_utf8(head)?;
    if !line.starts_with(&format!("CONNECT {name}:443 ")) {
        return Ok(client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?);
    }
    let mut server = TcpStream::connect(to).await.context("the registry is away")?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

async fn run(zstart: &Zstart, proxy: &Proxy, authority: Option<&Path>, arguments: &[&str]) -> Result<Ended> {
    let mut command = zstart.command(arguments);
    command.env("HTTPS_PROXY", &proxy.address);
    if let Some(authority) = authority {
        command.env("SSL_CERT_FILE", authority);
    }
    finish(&mut command).await
}

#[tokio::test]
async fn an_image_goes_to_and_comes_from_a_registry_over_tls_and_through_a_proxy() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start_tls("registry.example").await?;
    let proxy = Proxy::start("registry.example", registry.host()).await?;
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
    assert!(ended.stderr.contains("variant made by zstart already"), "{ended:#?}");

    // Whoever isn't vouched for gets nothing, and it is said why.
    let ended = run(&zstart, &proxy, None, &pushed).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    assert!(ended.stderr.contains("certificate"), "{}", ended.stderr);
    Ok(())
}
