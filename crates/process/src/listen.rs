//! Listening sockets.

use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;

/// The port can't be bound.
#[derive(Debug, Error)]
#[error("failed to listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Binds a TCP port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, source })
}
