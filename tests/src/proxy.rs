//! An HTTP proxy that tunnels some host names to an address of the lab, like a company's proxy.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use zstart_core::sync::lock;

/// A running proxy.
pub struct Proxy {
    address: String,
    /// First lines of all requests.
    requests: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Starts a proxy for these names. Their connections to port 443 go to `target` (`host:port`); all others
    /// are refused.
    pub async fn start(names: &[&str], target: impl Into<String>) -> Result<Self> {
        let known = names.iter().map(|name| format!("CONNECT {name}:443 ")).collect();
        Self::serve(Behaviour { known, target: target.into(), login: None, refusal: "502 Bad Gateway" }).await
    }

    /// Starts a proxy like [`start`](Self::start) that requires this login (`USER:PASSWORD`).
    pub async fn start_with_login(name: &str, target: impl Into<String>, login: &str) -> Result<Self> {
        let login = Some(format!("proxy-authorization: basic {}", STANDARD.encode(login)));
        let (known, target) = (vec![format!("CONNECT {name}:443 ")], target.into());
        Self::serve(Behaviour { known, target, login, refusal: "502 Bad Gateway" }).await
    }

    /// Starts a proxy that answers all requests with this status, e.g. `403 Forbidden`.
    pub async fn start_refusing(status: &'static str) -> Result<Self> {
        Self::serve(Behaviour { known: Vec::new(), target: String::new(), login: None, refusal: status })
            .await
    }

    async fn serve(behaviour: Behaviour) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("http://{}", listener.local_addr()?);
        let behaviour = Arc::new(behaviour);
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (behaviour, seen) = (Arc::clone(&behaviour), Arc::clone(&seen));
                // The client reports broken connections.
                tokio::spawn(async move { drop(tunnel(client, &behaviour, &seen).await) });
            }
        });
        Ok(Self { address, requests, _task: AbortOnDropHandle::new(task) })
    }

    /// Connections opened to this name.
    pub fn connections(&self, name: &str) -> usize {
        self.requests().iter().filter(|line| line.contains(&format!(" {name}:443 "))).count()
    }

    /// First lines of all requests.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.requests).clone()
    }

    /// `http://127.0.0.1:PORT`, the value for `HTTPS_PROXY`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Responses of a proxy.
struct Behaviour {
    /// Beginnings of the requests that are tunnelled.
    known: Vec<String>,
    /// Address to which tunnels lead.
    target: String,
    /// Header with the required login, compared without case.
    login: Option<String>,
    /// Status of all other requests.
    refusal: &'static str,
}

async fn tunnel(client: TcpStream, behaviour: &Behaviour, seen: &Mutex<Vec<String>>) -> Result<()> {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        ensure!(
            client.read_until(b'\n', &mut head).await? > 0,
            "the client closed the connection before its request ended"
        );
    }
    let head = String::from_utf8(head)?;
    lock(seen).push(head.lines().next().unwrap_or_default().to_owned());
    let has_login = |login: &String| head.lines().any(|line| line.eq_ignore_ascii_case(login));
    if !behaviour.login.as_ref().is_none_or(has_login) {
        let refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n";
        return Ok(client.write_all(refusal).await?);
    }
    if !behaviour.known.iter().any(|known| head.starts_with(known)) {
        let refusal = format!("HTTP/1.1 {}\r\nContent-Length: 0\r\n\r\n", behaviour.refusal);
        return Ok(client.write_all(refusal.as_bytes()).await?);
    }
    let mut server =
        TcpStream::connect(&behaviour.target).await.context("failed to connect to the target")?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
