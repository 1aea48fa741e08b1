//! A TLS connection that sends reviews by HTTP/1.1 with keep-alive, as API servers do. A general client would
//! take several times the processor time, which this machine's two cores share with the measured server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Time limit for a response. An API server waits two seconds by the chart's configuration.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Server, and the TLS settings for it.
#[derive(Clone)]
pub(super) struct Endpoint {
    address: SocketAddr,
    config: Arc<ClientConfig>,
}

/// An open connection.
pub(super) struct Connection {
    endpoint: Endpoint,
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
}

/// Response that admits the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With a patch.
    Patched,
    /// Without a patch.
    Unchanged,
}

/// Returns the HTTP request with a review.
pub(super) fn request(host: SocketAddr, review: &str) -> Vec<u8> {
    // The API server's headers. It asks for gzip too, and webhooks don't compress.
    let length = review.len();
    let head = format!(
        "POST /mutate?timeout=2s HTTP/1.1\r\nHost: {host}\r\nUser-Agent: kube-apiserver-admission\r\n\
         Content-Length: {length}\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\
         Accept-Encoding: gzip\r\n\r\n"
    );
    [head.as_bytes(), review.as_bytes()].concat()
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, authority: &Path) -> Result<Self> {
        let pem = fs::read(authority).with_context(|| format!("failed to read {}", authority.display()))?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&pem)?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { address, config: Arc::new(config) })
    }
}

impl Connection {
    /// Connects and completes the TLS handshake.
    pub(super) fn open(endpoint: &Endpoint) -> Result<Self> {
        let Endpoint { address, config } = endpoint;
        let mut socket =
            TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
        let mut client = ClientConnection::new(Arc::clone(config), ServerName::from(address.ip()))?;
        while client.is_handshaking() {
            client.complete_io(&mut socket).context("failed the TLS handshake")?;
        }
        let stream = StreamOwned::new(client, socket);
        Ok(Self { endpoint: endpoint.clone(), stream, received: Vec::new() })
    }

    /// Replaces a broken connection.
    pub(super) fn reopen(&mut self) -> Result<()> {
        *self = Self::open(&self.endpoint)?;
        Ok(())
    }

    /// Sends a request and waits for the whole response.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        self.stream.flush()?;
        self.received.clear();
        let mut chunk = [0; 8 * 1024];
        loop {
            let count = self.stream.read(&mut chunk)?;
            ensure!(count > 0, "the server closed the connection before the end of its response");
            self.received.extend_from_slice(&chunk[..count]);
            if let Some(answer) = parse(&self.received)? {
                return Ok(answer);
            }
        }
    }
}

/// Reads the response in `bytes`; `None` until it is complete.
fn parse(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
    let body = &bytes[end + 4..];
    let header = |name: &str| {
        let value = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim)
    };
    let is_complete = match (header("content-length"), header("transfer-encoding")) {
        (Some(length), _) => body.len() >= length.parse()?,
        (None, Some("chunked")) => body.ends_with(b"0\r\n\r\n"),
        (None, encoding) => bail!("the response has no length, and the transfer encoding {encoding:?}"),
    };
    if !is_complete {
        return Ok(None);
    }
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.starts_with("http/1.1 200") && find(body, br#""allowed":true"#).is_some(),
        "the server answered {status:?} with {:?}",
        String::from_utf8_lossy(body)
    );
    Ok(Some(if find(body, br#""patch":""#).is_some() { Answer::Patched } else { Answer::Unchanged }))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCHED: &str = r#"{"response":{"uid":"7","allowed":true,"patch":"W10="}}"#;

    fn response(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn response_is_read_once_it_is_complete() {
        let whole = response("200 OK", PATCHED);
        for length in 0..whole.len() {
            assert_eq!(parse(&whole.as_bytes()[..length]).unwrap(), None, "{length} bytes");
        }
        assert_eq!(parse(whole.as_bytes()).unwrap(), Some(Answer::Patched));
        let unchanged = response("200 OK", r#"{"response":{"uid":"7","allowed":true}}"#);
        assert_eq!(parse(unchanged.as_bytes()).unwrap(), Some(Answer::Unchanged));
    }

    #[test]
    fn chunked_response_ends_with_the_last_chunk() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let part = format!("{head}{:x}\r\n{PATCHED}\r\n", PATCHED.len());
        assert_eq!(parse(part.as_bytes()).unwrap(), None);
        assert_eq!(parse(format!("{part}0\r\n\r\n").as_bytes()).unwrap(), Some(Answer::Patched));
    }

    #[test]
    fn refusals_and_error_statuses_are_errors() {
        for (status, body) in [
            ("500 Internal Server Error", PATCHED),
            ("200 OK", r#"{"response":{"uid":"7","allowed":false}}"#),
        ] {
            let error = parse(response(status, body).as_bytes()).unwrap_err().to_string();
            assert!(error.contains("allowed"), "{error}");
        }
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
