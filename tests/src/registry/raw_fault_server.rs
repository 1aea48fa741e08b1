//! A server in front of a real registry that injects faults at the level of bytes; requests without a fault
//! are passed on unchanged.
//!
//! The server writes raw bytes, so a test can send what no HTTP library would send.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use zstart_core::sync::lock;

/// Bytes sent instead of the registry's response.
#[derive(Clone, Debug)]
pub enum RawResponse {
    /// Sends these bytes and closes the connection.
    Send(Vec<u8>),
    /// Sends these bytes and then nothing; the connection stays open.
    ThenStall(Vec<u8>),
    /// Sends the first bytes, then repeats the second ones as fast as the client reads.
    ThenFlood(Vec<u8>, &'static [u8]),
    /// Sends the first bytes, then repeats the second ones with a pause before each repetition.
    ThenTrickle(Vec<u8>, &'static [u8], Duration),
}

struct ResponseRule {
    method: Method,
    path_part: String,
    response: RawResponse,
}

struct ServerState {
    upstream: String,
    rules: Mutex<Vec<ResponseRule>>,
    request_heads: Mutex<Vec<String>>,
    other_connections: AtomicUsize,
}

/// A running server.
pub struct RawFaultServer {
    port: u16,
    state: Arc<ServerState>,
    server: JoinHandle<()>,
}

/// Bytes of an HTTP response. `head` is the status line and the headers without line ends.
pub fn http_response(head: &[&str], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n\r\n", head.join("\r\n")).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

impl RawFaultServer {
    /// Starts a server in front of the registry at `upstream` (`host:port`).
    pub async fn start(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(ServerState {
            upstream: upstream.to_owned(),
            rules: Mutex::default(),
            request_heads: Mutex::default(),
            other_connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    // Clients close faulty connections early; that is no failure of the server.
                    let _ = serve(&state, connection).await;
                });
            }
        });
        Ok(Self { port, state, server })
    }

    /// Port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends this response to all requests with this method and with `path_part` in their path.
    pub fn respond(&self, method: Method, path_part: &str, response: RawResponse) {
        let rule = ResponseRule { method, path_part: path_part.to_owned(), response };
        lock(&self.state.rules).push(rule);
    }

    /// Connections so far whose first bytes were no HTTP, e.g. a TLS handshake.
    pub fn other_connections(&self) -> usize {
        self.state.other_connections.load(Ordering::Relaxed)
    }

    /// Heads of all requests so far: request line and headers, in lower case.
    pub fn request_heads(&self) -> Vec<String> {
        lock(&self.state.request_heads).clone()
    }
}

impl Drop for RawFaultServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl ServerState {
    fn response_for(&self, request_line: &str) -> Option<RawResponse> {
        let (method, path) = request_line.split_once(' ')?;
        let rules = lock(&self.rules);
        let rule =
            rules.iter().find(|rule| rule.method.as_str() == method && path.contains(&rule.path_part))?;
        Some(rule.response.clone())
    }
}

async fn serve(state: &ServerState, mut client: TcpStream) -> Result<()> {
    // A whole TLS handshake fits: closing with unread bytes would reset the connection before the answer.
    let mut received = Vec::with_capacity(16 << 10);
    let end = loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        anyhow::ensure!(client.read_buf(&mut received).await? > 0, "the connection ended before a request");
        // HTTP servers answer so if the first bytes are no method, e.g. a TLS handshake.
        if !received[0].is_ascii_uppercase() {
            state.other_connections.fetch_add(1, Ordering::Relaxed);
            client.write_all(&http_response(&["400 Bad Request", "Connection: close"], b"")).await?;
            anyhow::bail!("the client speaks no HTTP");
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    lock(&state.request_heads).push(head.to_lowercase());
    let (request_line, headers) = head.split_once("\r\n").context("the request has no headers")?;
    if let Some(response) = state.response_for(request_line) {
        return write_response(client, response).await;
    }
    // One request per connection: the next request may have a fault.
    let mut upstream = TcpStream::connect(&state.upstream).await?;
    upstream
        .write_all(format!("{request_line}\r\nConnection: close\r\n{headers}\r\n\r\n").as_bytes())
        .await?;
    upstream.write_all(&received[end + 4..]).await?;
    tokio::io::copy_bidirectional(&mut client, &mut upstream).await?;
    Ok(())
}

async fn write_response(mut client: TcpStream, response: RawResponse) -> Result<()> {
    match response {
        RawResponse::Send(bytes) => {
            client.write_all(&bytes).await?;
            client.shutdown().await?;
        }
        RawResponse::ThenStall(bytes) => {
            client.write_all(&bytes).await?;
            std::future::pending::<()>().await;
        }
        RawResponse::ThenFlood(bytes, repeated) => {
            client.write_all(&bytes).await?;
            let repeated = repeated.repeat(1 + 65_536 / repeated.len());
            loop {
                client.write_all(&repeated).await?;
            }
        }
        RawResponse::ThenTrickle(bytes, repeated, pause) => {
            client.write_all(&bytes).await?;
            loop {
                tokio::time::sleep(pause).await;
                client.write_all(repeated).await?;
            }
        }
    }
    Ok(())
}
