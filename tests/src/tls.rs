//! A listener for TLS servers of the lab, and the certificate that a TLS server serves.

use std::fs;
use std::net::{self, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A TLS listener on a loopback port.
pub(crate) struct Listener {
    inner: TcpListener,
    acceptor: TlsAcceptor,
    address: SocketAddr,
}

impl Listener {
    /// Listens with a certificate and its key, as PEM. Offers HTTP/2.
    pub(crate) async fn bind(certificate: &Path, key: &Path) -> Result<Self> {
        crate::control_plane::install_crypto();
        let chain = CertificateDer::pem_slice_iter(&fs::read(certificate)?).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&fs::read(key)?)?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { inner: listener, acceptor: TlsAcceptor::from(Arc::new(config)), address })
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl axum::serve::Listener for Listener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// Returns the next connection with a successful handshake. Handshakes run one after the other, which is
    /// enough for a lab.
    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, from)) = self.inner.accept().await else { continue };
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// Certificate that a new connection gets, as DER. Fails if `authorities`, as PEM, don't verify the certificate
/// for `name`.
pub async fn served_certificate(
    address: SocketAddr,
    name: ServerName<'static>,
    authorities: &[u8],
) -> Result<Vec<u8>> {
    crate::control_plane::install_crypto();
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        roots.add(authority?)?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let shake_hands = move || -> Result<Vec<u8>> {
        let mut socket = net::TcpStream::connect(address)?;
        let mut client = ClientConnection::new(Arc::new(config), name)?;
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        let chain = client.peer_certificates().context("no certificate was served")?;
        Ok(chain.first().context("an empty chain was served")?.to_vec())
    };
    tokio::task::spawn_blocking(shake_hands).await?
}
