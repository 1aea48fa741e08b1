//! Registries with TLS: behind a proxy, as for most registries from inside a company, and on this machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use http::Method;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use zstart_core::sync::lock;
use zstart_tests::images::Fixture;
use zstart_tests::ports::free_ports;
use zstart_tests::proxy::Proxy;
use zstart_tests::registry::raw_fault_server::{RawFaultServer, RawResponse, http_response};
use zstart_tests::registry::{Certificate, Login, Registry};

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

/// Runs `zstart inspect`, which trusts the certificates in a file.
async fn inspect(zstart: &Zstart, image: &str, trusted: &Path, more: &[&str]) -> Result<Finished> {
    let mut command = zstart.command(&[&["inspect", image], more].concat());
    finish(command.env("SSL_CERT_FILE", trusted)).await
}

/// The chart names the image's public authorities as a file, and mounts the given ones as a folder.
#[tokio::test]
async fn authorities_of_file_and_folder_are_both_trusted() -> Result<()> {
    let zstart = Zstart::find()?;
    let public = Registry::start_tls("127.0.0.1").await?;
    let own = Registry::start_tls("127.0.0.1").await?;
    // As the kubelet lays out a ConfigMap.
    let folder = zstart.folder().join("authorities");
    fs::create_dir_all(folder.join("..2026_01_01"))?;
    fs::copy(own.authority(), folder.join("..2026_01_01/ca.crt"))?;
    symlink("..2026_01_01", folder.join("..data"))?;
    symlink("..data/ca.crt", folder.join("ca.crt"))?;
    for registry in [&public, &own] {
        let image = format!("127.0.0.1:{}/app:v1", registry.port());
        let mut command = zstart.command(&["inspect", &image]);
        command.env("SSL_CERT_FILE", public.authority()).env("SSL_CERT_DIR", &folder);
        let ended = finish(&mut command).await?;
        // The registry is trusted, and holds no image.
        assert_eq!(ended.code, Some(3), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn tls_registry_on_loopback_is_used_with_tls() -> Result<()> {
    let zstart = Zstart::find()?;
    let login = Login::Basic { username: "user".into(), password: "password".into() };
    for name in ["127.0.0.1", "localhost", "registry.localhost"] {
        let registry = Registry::start_tls_with(name, Certificate::Issued, login.clone()).await?;
        let host = format!("{name}:{}", registry.port());
        zstart.docker_config(&json!({"auths": {(&*host): {"username": "user", "password": "password"}}}))?;
        let image = format!("{host}/app:v1");
        // The registry accepts the login and holds no image.
        let ended = inspect(&zstart, &image, &registry.authority(), &[]).await?;
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        // An authority that isn't trusted is no reason for plain HTTP.
        let other = Registry::start_tls(name).await?;
        let ended = inspect(&zstart, &image, &other.authority(), &[]).await?;
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        let said = format!("the certificate of {host} has an unknown issuer");
        assert!(ended.stderr.contains(&said) && ended.stderr.contains("SSL_CERT_FILE"), "{ended:#?}");
        assert!(!ended.stderr.contains("--plain-http"), "{ended:#?}");
        // Plain HTTP to the TLS port.
        let ended = inspect(&zstart, &image, &registry.authority(), &["--plain-http", &host]).await?;
        assert!(ended.stderr.contains("expects TLS and got plain HTTP"), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn loopback_registry_is_probed_once_without_credentials() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    let server = RawFaultServer::start(&registry.host()).await?;
    Fixture::new().layer(&[("etc/app", b"configuration")]).push(&registry.host(), "app:v1").await?;
    zstart
        .docker_config(&json!({"auths": {(server.host()): {"username": "user", "password": "password"}}}))?;
    let image = format!("{}/app:v1", server.host());
    // Source and target are in one registry.
    zstart.print(&["convert", &image, &format!("{}/copy:v1", server.host())]).await?;
    assert_eq!(server.other_connections(), 1);
    zstart.print(&["inspect", &image, "--plain-http", &server.host()]).await?;
    assert_eq!(server.other_connections(), 1);
    Ok(())
}

#[tokio::test]
async fn loopback_server_without_an_answer_gets_no_password() -> Result<()> {
    let zstart = Zstart::find()?;
    // As a tunnel whose far end is broken.
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let host = format!("localhost:{}", listener.local_addr()?.port());
    let received = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&received);
    let server = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut front = Vec::with_capacity(4096);
            let _ = connection.read_buf(&mut front).await;
            lock(&all).push(front);
        }
    });
    zstart.docker_config(&json!({"auths": {(&*host): {"username": "user", "password": "password"}}}))?;
    let ended = zstart.run(&["inspect", &format!("{host}/app:v1")]).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    for said in ["ended the TLS handshake or didn't answer it", &format!("add --plain-http {host}\n")] {
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    let received = lock(&received);
    // The probe, and at least one request; each begins with a TLS handshake.
    assert!(received.len() > 1 && received.iter().all(|front| front.first() == Some(&22)), "{received:?}");
    server.abort();
    Ok(())
}

#[tokio::test]
async fn trusted_self_signed_authority_is_accepted_as_a_server() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start_tls_with("localhost", Certificate::SelfSigned, Login::Anonymous).await?;
    let image = |host: &str| format!("{host}:{}/app:v1", registry.port());
    let ended = inspect(&zstart, &image("localhost"), &registry.certificate(), &[]).await?;
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    let ended = inspect(&zstart, &image("localhost"), &registry.authority(), &[]).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    assert!(ended.stderr.contains("is an authority's own and not trusted"), "{ended:#?}");
    assert!(ended.stderr.contains("SSL_CERT_FILE"), "{ended:#?}");
    let ended = inspect(&zstart, &image("127.0.0.1"), &registry.certificate(), &[]).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    assert!(ended.stderr.contains("is for other names: localhost"), "{ended:#?}");
    Ok(())
}

#[tokio::test]
async fn certificate_that_fails_is_explained() -> Result<()> {
    let zstart = Zstart::find()?;
    let expired = Registry::start_tls_with("localhost", Certificate::Expired, Login::Anonymous).await?;
    let other = Registry::start_tls("registry.example").await?;
    for (registry, said) in
        [(&expired, "has expired: renew it"), (&other, "is for other names: registry.example")]
    {
        let host = format!("localhost:{}", registry.port());
        let ended = inspect(&zstart, &format!("{host}/app:v1"), &registry.authority(), &[]).await?;
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        assert!(ended.stderr.contains(&format!("the certificate of {host} {said}")), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn registry_without_tls_is_named_with_the_flag() -> Result<()> {
    let zstart = Zstart::find()?;
    let registry = Registry::start().await?;
    // Only the proxy leads to the registry, so the name is none of this machine.
    let proxy = Proxy::start(&["registry.example"], registry.host()).await?;
    let ended = run(&zstart, &proxy, None, &["inspect", "registry.example/app:v1"]).await?;
    assert_eq!(ended.code, Some(5), "{ended:#?}");
    for said in ["registry.example speaks plain HTTP, not TLS", "add --plain-http registry.example\n"] {
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn plain_http_to_a_tls_port_is_explained() -> Result<()> {
    let zstart = Zstart::find()?;
    // nginx, a server that answers with an alert, and one that closes the connection.
    let text = b"<center>The plain HTTP request was sent to HTTPS port</center>";
    let length = format!("Content-Length: {}", text.len());
    let nginx = http_response(&["400 Bad Request", &length], text);
    for (response, said) in [
        (nginx, "HTTP 400 the server expects TLS and got plain HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a".to_vec(), "as servers that expect TLS do"),
        (Vec::new(), "as servers that expect TLS do"),
    ] {
        let server = RawFaultServer::start("127.0.0.1:1").await?;
        server.respond(Method::GET, "/v2/", RawResponse::Send(response));
        let image = format!("{}/app:v1", server.host());
        let ended = zstart.run(&["inspect", &image, "--plain-http", &server.host()]).await?;
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    Ok(())
}

#[tokio::test]
async fn server_that_does_not_exist_is_named() -> Result<()> {
    let zstart = Zstart::find()?;
    let [port] = free_ports()?;
    for (host, said) in [
        (format!("localhost:{port}"), format!("no server listens at localhost:{port}")),
        ("registry.invalid:5000".to_owned(), "the name of registry.invalid:5000 has no address".to_owned()),
    ] {
        let ended = zstart.run(&["inspect", &format!("{host}/app:v1")]).await?;
        assert_eq!(ended.code, Some(5), "{ended:#?}");
        assert!(ended.stderr.contains(&said), "{ended:#?}");
    }
    Ok(())
}
