//! TLS handshakes whose client trusts a bundle, like the API server: in memory with a server that has the
//! serving Secret, and over TCP with the webhook.

use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use crate::installation::{State, value};

fn client(bundle: &[u8]) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(bundle) {
        roots.add(authority?)?;
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Connects to a server at a loopback port. Fails if the bundle doesn't verify its certificate.
pub(crate) fn connect_to(port: u16, bundle: &[u8]) -> Result<()> {
    let address = Ipv4Addr::LOCALHOST;
    let mut socket = TcpStream::connect((address, port))?;
    let name = ServerName::from(std::net::IpAddr::from(address));
    let mut client = ClientConnection::new(Arc::new(client(bundle)?), name)?;
    while client.is_handshaking() {
        client.complete_io(&mut socket)?;
    }
    Ok(())
}

/// Connects to the webhook by a name. Fails if the client rejects the certificate.
pub(crate) fn connect(state: &State, name: &str) -> Result<()> {
    let bundle = state.bundle.as_deref().context("the configuration has no bundle")?;
    let client = client(bundle)?;
    let chain = CertificateDer::pem_slice_iter(value(&state.serving, "tls.crt")?);
    let key = PrivateKeyDer::from_pem_slice(value(&state.serving, "tls.key")?)?;
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain.collect::<Result<Vec<_>, _>>()?, key)?;

    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(name.to_owned())?)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    // A TLS 1.3 handshake takes two round trips; four are more than enough.
    for _ in 0..4 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire)?;
        }
        server.read_tls(&mut wire.as_slice())?;
        server.process_new_packets()?;
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire)?;
        }
        client.read_tls(&mut wire.as_slice())?;
        client.process_new_packets()?;
    }
    ensure!(!client.is_handshaking() && !server.is_handshaking(), "the handshake didn't end");
    Ok(())
}
