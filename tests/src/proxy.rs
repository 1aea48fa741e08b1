//! An HTTP proxy that tunnels some host names to an address of the lab, like a company's proxy.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use zstart_core::sync::lock;

/// A running proxy.
pub struct Proxy {
    address: String,
    tunnels: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts a proxy for these names. Their connections to port 443 go to `target` (`host:port`); all others
    /// are refused.
    pub async fn start(names: &[&str], target: impl Into<String>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let known: Vec<String> = names.iter().map(|name| format!("CONNECT {name}:443 ")).collect();
        let (known, target) = (Arc::new(known), target.into());
        let tunnels = Arc::<Mutex<Vec<String>>>::default();
        let opened = Arc::clone(&tunnels);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (known, target, opened) = (Arc::clone(&known), target.clone(), Arc::clone(&opened));
                // The client reports broken connections.
                tokio::spawn(async move { drop(tunnel(client, &known, &target, &opened).await) });
            }
        });
        Ok(Self { address, tunnels, _task: AbortOnDropHandle::new(task) })
    }

    /// Connections opened to this name.
    pub fn connections(&self, name: &str) -> usize {
        let tunnels = lock(&self.tunnels);
        tunnels.iter().filter(|line| line.contains(&format!(" {name}:443 "))).count()
    }

    /// `http://127.0.0.1:PORT`, the value for `HTTPS_PROXY`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

async fn tunnel(
    client: TcpStream,
    known: &[String],
    target: &str,
    opened: &Mutex<Vec<String>>,
) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            client.read_until(b'\n', &mut head).await? > 0,
            "the client closed the connection before its request ended"
        );
    }
    let line = String::from_utf8(head)?;
    if !known.iter().any(|known| line.starts_with(known)) {
        return Ok(client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await?);
    }
    lock(opened).push(line);
    let mut server = TcpStream::connect(target).await.context("failed to connect to the target")?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
