//! The server over TLS: requests, and (in the submodules) timeouts, the connection limit and shutdown.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::str::FromStr;

use futures::FutureExt as _;
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
use crate::tls::{Certificate, server_config};

mod limits;
mod shutdown;
mod timeouts;

/// Time limit for everything that doesn't wait for a timeout of the server.
const SOON: Duration = Duration::from_secs(30);

struct Server {
    address: SocketAddr,
    roots: RootCertStore,
    metrics: Arc<Metrics>,
    stages: Stages,
    task: JoinHandle<()>,
}

/// Starts a server with a record of `r.example/app:v1`.
async fn start() -> Server {
    start_with(Limits::default()).await
}

async fn start_with(limits: Limits) -> Server {
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
    let handler = Arc::new(Handler::new(snapshot, ages(), policy, Arc::clone(&metrics)));
    let stages = Stages::default();
    let (kept, within) = (Arc::clone(&metrics), Duration::from_mins(1));
    let task = tokio::spawn(serve(listener, acceptor, handler, metrics, limits, stages.clone(), within));
    Server { address, roots, metrics: kept, stages, task }
}

impl Server {
    async fn connect(&self) -> TlsStream<TcpStream> {
        self.handshake(TcpStream::connect(self.address).await.unwrap(), b"http/1.1").await.unwrap()
    }

    async fn handshake(&self, socket: TcpStream, protocol: &[u8]) -> io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from("zstart-webhook.zstart.svc").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, socket).await
    }

    /// Sends a request that closes the connection, and returns the whole response.
    async fn ask(&self, line: &str, body: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(head(line, body.len()).as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        read(stream).await
    }

    /// Opens a connection that has had one review and stays open.
    async fn kept(&self) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await;
        review_on(&mut stream).await.unwrap();
        stream
    }

    /// Value of a metric.
    fn metric<T: FromStr<Err: Debug> + Default>(&self, name: &str) -> T {
        let text = self.metrics.text().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("zstart_webhook_{name} ")));
        line.map(|value| value.parse().unwrap()).unwrap_or_default()
    }
}

fn head(line: &str, length: usize) -> String {
    format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")
}

/// Reads to the end of the connection.
async fn read(mut stream: TlsStream<TcpStream>) -> String {
    let mut answer = Vec::new();
    // The connection may end without a TLS close_notify.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

fn review() -> String {
    let request = json!({"uid": "7", "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "on", "operation": "CREATE", "object": pod_of("r.example/app:v1")});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

/// Sends a review on a connection that stays open. Returns the response, or `None` if the connection ends
/// without one.
async fn review_on(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let body = review();
    let head = head("POST /mutate", body.len()).replace("connection: close\r\n", "");
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()?;
    let mut answer = String::new();
    loop {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(read @ 1..) => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
            _ => return None,
        }
        // The response's body is one line of JSON.
        if answer.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with("}}")) {
            assert!(answer.contains(r#""uid":"7","allowed":true"#), "{answer}");
            return Some(answer);
        }
    }
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
async fn http2_is_not_negotiated() {
    let server = start().await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let error = server.handshake(socket, b"h2").await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
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
async fn client_that_sends_an_oversized_body_gets_the_refusal() {
    let server = start().await;
    let mut stream = server.connect().await;
    stream.write_all(head("POST /mutate", body::MAX_BODY_BYTES + 1).as_bytes()).await.unwrap();
    // The server has answered, and the client hasn't read the answer.
    while server.metric::<u64>(r#"reviews_total{outcome="refused"}"#) == 0 {
        tokio::task::yield_now().await;
    }
    stream.write_all(&vec![b' '; 256 << 10]).await.unwrap();
    let answer = read(stream).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn every_outcome_is_counted_with_its_time() {
    let mut limits = Limits::default();
    limits.timeouts.read = Duration::from_millis(300);
    let server = start_with(limits).await;
    let counted = |outcome: &str| server.metric::<u64>(&format!("reviews_total{{outcome=\"{outcome}\"}}"));
    server.ask("POST /mutate", "nonsense").await;
    server.ask("POST /mutate", &review()).await;
    assert_eq!((counted("malformed"), counted("patched") + counted("unchanged")), (1, 1));

    let mut oversized = server.connect().await;
    oversized.write_all(head("POST /mutate", body::MAX_BODY_BYTES + 1).as_bytes()).await.unwrap();
    read(oversized).await;
    assert_eq!(counted("refused"), 1);

    let before: f64 = server.metric("review_seconds_sum");
    let mut silent = server.connect().await;
    silent.write_all(head("POST /mutate", 10).as_bytes()).await.unwrap();
    assert!(read(silent).await.starts_with("HTTP/1.1 408"));
    assert_eq!(counted("timeout"), 1);
    let took = server.metric::<f64>("review_seconds_sum") - before;
    assert!(took >= 0.3, "{took} s don't include the wait for the body");

    let mut gone = server.connect().await;
    gone.write_all(head("POST /mutate", 10).as_bytes()).await.unwrap();
    gone.shutdown().await.unwrap();
    drop(gone);
    let ended = async {
        while counted("aborted") + counted("refused") < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, ended).await.expect("the incomplete request is counted");
    assert_eq!(server.metric::<u64>("review_seconds_count"), 5);
}
