//! Parts that run for as long as the process does: whichever ends by itself takes the process with it.

use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinError;

/// Why a server ended other than by being told to.
#[derive(Debug, Error)]
pub enum TaskError {
    /// A port can't be had.
    #[error("failed to listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A part that runs for ever has ended.
    #[error("the task {task} ended by itself")]
    Ended {
        /// Which.
        task: &'static str,
    },
    /// A part panicked.
    #[error("a task panicked")]
    Panicked {
        /// Which, and with what.
        source: JoinError,
    },
}

/// Takes a port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, TaskError> {
    TcpListener::bind(address).await.map_err(|source| TaskError::Listen { address, source })
}

/// What it means that a set of such tasks gave this as its next result.
pub fn ended(next: Option<Result<&'static str, JoinError>>) -> TaskError {
    match next {
        Some(Ok(task)) => TaskError::Ended { task },
        Some(Err(source)) => TaskError::Panicked { source },
        None => TaskError::Ended { task: "all" },
    }
}
