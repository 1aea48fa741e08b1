//! TCP balancer that follows readiness, like a Service: new connections go to ready backends in turns, and
//! existing connections stay with their backend.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use zstart_tests::wait;

use crate::installation::WITHIN;
use crate::program::{Program, get};

/// Delay with which the balancer learns readiness. kube-proxies learn of an ending pod within about a second.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);

/// A running balancer.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    backends: Arc<[Arc<Backend>]>,
    _tasks: Vec<AbortOnDropHandle<()>>,
}

struct Backend {
    https: SocketAddr,
    health: SocketAddr,
    is_ready: AtomicBool,
}

impl Balancer {
    /// Starts a balancer for ready programs.
    pub(crate) async fn start<'a>(programs: impl IntoIterator<Item = &'a Program>) -> Result<Self> {
        let backends = programs.into_iter().map(|program| {
            let (https, health) = (program.https, program.health);
            Arc::new(Backend { https, health, is_ready: AtomicBool::new(true) })
        });
        let backends: Arc<[_]> = backends.collect();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let mut tasks: Vec<_> =
            backends.iter().map(|backend| tokio::spawn(probe(Arc::clone(backend)))).collect();
        tasks.push(tokio::spawn(accept(listener, Arc::clone(&backends))));
        Ok(Self { address, backends, _tasks: tasks.into_iter().map(AbortOnDropHandle::new).collect() })
    }

    /// Waits until all backends get new connections.
    pub(crate) async fn wait_until_all_ready(&self) -> Result<()> {
        wait::until("the balancer to use all backends", WITHIN, || async {
            Ok(self.backends.iter().all(|backend| backend.is_ready.load(Ordering::Relaxed)).then_some(()))
        })
        .await
    }
}

async fn probe(backend: Arc<Backend>) {
    loop {
        let is_ready = get(backend.health, "/readyz").await.is_ok_and(|(status, _)| status == 200);
        backend.is_ready.store(is_ready, Ordering::Relaxed);
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

async fn accept(listener: TcpListener, backends: Arc<[Arc<Backend>]>) {
    let turn = AtomicUsize::new(0);
    while let Ok((mut client, _)) = listener.accept().await {
        let ready: Vec<SocketAddr> = backends
            .iter()
            .filter(|backend| backend.is_ready.load(Ordering::Relaxed))
            .map(|backend| backend.https)
            .collect();
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let Some(backend) = ready.get(turn % ready.len().max(1)).copied() else { continue };
        tokio::spawn(async move {
            // A refused connection is refused to the client, which counts it.
            if let Ok(mut server) = TcpStream::connect(backend).await {
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
