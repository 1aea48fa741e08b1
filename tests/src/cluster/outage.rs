//! An outage of the registry.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpStream;

use super::{Cluster, LOCAL_REGISTRY, REGISTRY_PORT};
use crate::registry::{Login, start_registry};
use crate::wait;

const STARTED_WITHIN: Duration = Duration::from_secs(30);

impl Cluster {
    /// Ends the registry. Its content remains.
    pub fn stop_registry(&mut self) {
        self.components.retain(|component| component.name() != "registry");
    }

    /// Starts the registry again, and waits until it listens.
    pub async fn start_registry(&mut self) -> Result<()> {
        let program = self.binaries.join("registry");
        let registry =
            start_registry(&self.folder, &program, Ipv4Addr::UNSPECIFIED, REGISTRY_PORT, &Login::Anonymous)?;
        self.components.push(registry);
        wait::until("the registry to listen", STARTED_WITHIN, || async {
            Ok(TcpStream::connect(LOCAL_REGISTRY).await.ok().map(drop))
        })
        .await
    }
}
