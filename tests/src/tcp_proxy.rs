//! A TCP proxy to a server; a stopped proxy refuses connections, a frozen one loses all packets.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::ports::free_ports;

/// A port that leads to a server.
pub struct TcpProxy {
    upstream: String,
    address: SocketAddr,
    frozen: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

impl TcpProxy {
    /// Starts a proxy to `upstream` (`host:port`).
    pub async fn start(upstream: String) -> Result<Self> {
        let [port] = free_ports()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let frozen = watch::Sender::new(false);
        let task = Some(tokio::spawn(relay(listener, upstream.clone(), frozen.subscribe())));
        Ok(Self { upstream, address, frozen, task })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Closes the port and all connections.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // An aborted task returns an error; the port is free afterwards.
            let _ = task.await;
        }
    }

    /// Loses all packets from now on: connections stay open, and nothing arrives on them any more, as behind a
    /// firewall that forgot them. New connections are accepted and get no answer.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Relays new connections again. Frozen ones stay without an answer.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
    }

    /// Listens again on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await.context("failed to listen on the port again")?;
        self.task = Some(tokio::spawn(relay(listener, self.upstream.clone(), self.frozen.subscribe())));
        Ok(())
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn relay(listener: TcpListener, upstream: String, frozen: watch::Receiver<bool>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let (upstream, mut frozen) = (upstream.clone(), frozen.clone());
        connections.spawn(async move {
            let copy = async {
                if let Ok(mut far) = TcpStream::connect(&upstream).await {
                    // Either side may close the connection at any time.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            };
            tokio::select! {
                biased;
                _ = frozen.wait_for(|frozen| *frozen) => {}
                () = copy => return,
            }
            // Holds the connection open.
            std::future::pending::<()>().await;
            drop(near);
        });
    }
}
