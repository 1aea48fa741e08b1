//! A TCP proxy to a server; a stopped proxy refuses connections, and connections can lose all packets.

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
    losses: watch::Sender<u32>,
    task: Option<JoinHandle<()>>,
}

impl TcpProxy {
    /// Starts a proxy to `upstream` (`host:port`).
    pub async fn start(upstream: String) -> Result<Self> {
        let [port] = free_ports()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let losses = watch::Sender::new(0);
        let task = Some(tokio::spawn(relay(listener, upstream.clone(), losses.subscribe())));
        Ok(Self { upstream, address, losses, task })
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

    /// Loses all packets of the present connections, as a firewall that forgot them: they stay open, and nothing
    /// arrives on them any more. New connections work.
    pub fn lose_connections(&self) {
        self.losses.send_modify(|losses| *losses += 1);
    }

    /// Listens again on the same port.
    pub async fn restart(&mut self) -> Result<()> {
        let listener = TcpListener::bind(self.address).await.context("failed to listen on the port again")?;
        self.task = Some(tokio::spawn(relay(listener, self.upstream.clone(), self.losses.subscribe())));
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

async fn relay(listener: TcpListener, upstream: String, losses: watch::Receiver<u32>) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let (upstream, mut losses) = (upstream.clone(), losses.clone());
        losses.mark_unchanged();
        connections.spawn(async move {
            let copy = async {
                if let Ok(mut far) = TcpStream::connect(&upstream).await {
                    // Either side may close the connection at any time.
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            };
            tokio::select! {
                biased;
                _ = losses.changed() => {}
                () = copy => return,
            }
            // Holds the connection open.
            std::future::pending::<()>().await;
            drop(near);
        });
    }
}
