use std::net::SocketAddr;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use zstart_admission::fixture::{Cluster, ages, pod_of};

use crate::fixture::{key_pair, secret};
use crate::metrics::Metrics;
use crate::tls::{Certificate, server_config};

struct Server {
    address: SocketAddr,
    roots: RootCertStore,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Starts a server with a record of `r.example/app:v1`.
async fn start() -> Server {
    start_with(Timeouts::default()).await
}

async fn start_with(timeouts: Timeouts) -> Server {
    let Cluster { snapshot, policy, now: _ } = Cluster::with_records(&["r.example/app:v1"]);
    let snapshot = Arc::new(snapshot);
    let metrics = Arc::new(Metrics::new(Arc::clone(&snapshot), ages()));
    let (text, key) = key_pair();
    let certificate = Arc::new(Certificate::default());
    certificate.update(&secret(&text, &key), "tls", &metrics);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(text.as_bytes()).unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server_config(certificate).unwrap()));
    let handler = Arc::new(Handler::new(snapshot, ages(), policy, metrics));
    let stop = CancellationToken::new();
    let serving = serve(listener, acceptor, handler, timeouts, stop.clone(), Duration::from_mins(1));
    let task = tokio::spawn(serving);
    Server { address, roots, stop, task }
}

impl Server {
    async fn connect(&self) -> TlsStream<TcpStream> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("zstart-webhook.zstart.svc").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends a request that closes the connection, and returns the whole response.
    async fn ask(&self, line: &str, body: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(head(line, body.len()).as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        read(stream).await
    }
}

fn head(line: &str, length: usize) -> String {
    format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
}

async fn read(mut stream: TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    // The connection may end without a TLS close_notify.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn review() -> String {
    let request = json!({"uid": "7", "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "on", "operation": "CREATE", "object": pod_of("r.example/app:v1")});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

#[tokio::test]
async fn review_is_answered_over_tls() {
    let answer = start().await.ask("POST /mutate", &review()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""uid":"7","allowed":true"#), "{answer}");
}

#[tokio::test]
async fn other_requests_get_http_errors() {
    let server = start().await;
    let answer = server.ask("POST /mutate", "nonsense").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("AdmissionReview"), "{answer}");
    assert!(server.ask("GET /mutate", "").await.starts_with("HTTP/1.1 405"));
    assert!(server.ask("POST /elsewhere", "").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn oversized_body_is_refused_unread() {
    let server = start().await;
    let mut stream = server.connect().await;
    stream.write_all(head("POST /mutate", body::MAX_BODY_BYTES + 1).as_bytes()).await.unwrap();
    let answer = read(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn in_flight_request_is_answered_on_shutdown() {
    let server = start().await;
    let body = review();
    let mut stream = server.connect().await;
    stream.write_all(head("POST /mutate", body.len()).as_bytes()).await.unwrap();
    let (first, second) = body.split_at(20);
    stream.write_all(first.as_bytes()).await.unwrap();
    // A complete exchange on another connection proves that the server has seen the incomplete request.
    assert!(server.ask("POST /mutate", &body).await.starts_with("HTTP/1.1 200"));
    server.stop.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    stream.write_all(second.as_bytes()).await.unwrap();
    assert!(read(stream).await.starts_with("HTTP/1.1 200"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let timeouts = Timeouts { read: Duration::from_millis(200), idle: Duration::from_millis(200) };
    let server = start_with(timeouts).await;
    // No request, over HTTP/1.1 and HTTP/2.
    assert_eq!(read(server.connect().await).await, "");
    let mut preface = server.connect().await;
    preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let frames = read(preface).await;
    assert!(!frames.is_empty(), "SETTINGS and GOAWAY frames");
    // One request on a connection that stays open, then none.
    let mut kept = server.connect().await;
    let body = review();
    let head = head("POST /mutate", body.len()).replace("connection: close\r\n", "");
    kept.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    assert!(read(kept).await.starts_with("HTTP/1.1 200"));
}
