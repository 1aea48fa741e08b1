//! Shutdown: a drain, in which each response ends its connection, then the stop.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::future::join_all;

use super::*;

fn closes(answer: &str) -> bool {
    answer.lines().any(|line| line.eq_ignore_ascii_case("connection: close"))
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
    server.stages.drain.cancel();
    server.stages.stop.cancel();
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.task.is_finished());
    stream.write_all(second.as_bytes()).await.unwrap();
    assert!(read(stream).await.starts_with("HTTP/1.1 200"));
    server.task.await.unwrap();
}

#[tokio::test]
async fn every_answer_of_a_drain_ends_its_connection() {
    let server = start().await;
    let (mut kept, mut reserve) = (server.kept().await, server.connect().await);
    assert!(!closes(&review_on(&mut reserve).await.unwrap()));
    server.stages.drain.cancel();
    for stream in [&mut kept, &mut reserve, &mut server.connect().await] {
        assert!(closes(&review_on(stream).await.unwrap()));
        assert!(!matches!(stream.read(&mut [0]).await, Ok(1)));
    }
    assert!(server.ask("GET /elsewhere", "").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn stop_closes_idle_connections_and_serves_new_ones() {
    let server = start().await;
    let (idle, mut new) = (server.kept().await, server.connect().await);
    server.stages.drain.cancel();
    server.stages.stop.cancel();
    assert_eq!(read(idle).await, "");
    // Its client opened the connection for a request.
    assert!(closes(&review_on(&mut new).await.unwrap()));
    server.task.await.unwrap();
}

#[tokio::test]
async fn request_on_a_closed_idle_connection_is_counted_as_lost() {
    let server = start().await;
    let mut idle = server.kept().await;
    server.stages.stop.cancel();
    assert!(!matches!(idle.read(&mut [0]).await, Ok(1)), "the server closed its side");
    idle.write_all(head("POST /mutate", 0).as_bytes()).await.unwrap();
    idle.shutdown().await.unwrap();
    server.task.await.unwrap();
    assert_eq!(server.metrics.text().unwrap().matches(r#"reviews_total{outcome="lost"} 1"#).count(), 1);
}

/// Client like Go's: it keeps a connection until a response or the server ends the connection, and notices an
/// end before it sends a request.
struct Client {
    stream: Option<TlsStream<TcpStream>>,
}

impl Client {
    /// Sends a review, on a new connection to `server` if there is none. Returns whether it was answered.
    async fn review(&mut self, server: &Server) -> bool {
        let has_ended = |kept: &mut TlsStream<TcpStream>| kept.read(&mut [0]).now_or_never().is_some();
        let kept = self.stream.take().and_then(|mut kept| (!has_ended(&mut kept)).then_some(kept));
        let mut stream = match kept {
            Some(kept) => kept,
            None => server.connect().await,
        };
        match review_on(&mut stream).await {
            Some(answer) => {
                self.stream = (!closes(&answer)).then_some(stream);
                true
            }
            None => false,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reused_connections_lose_no_request_in_a_drain() {
    let (old, new) = (start().await, start().await);
    // Endpoint that gets new connections: kube-proxy removes the old one during the drain.
    let (is_moved, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    let (asked, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clients = join_all((0..20).map(async |index| {
        let mut client = Client { stream: None };
        while !is_over.load(Ordering::Relaxed) {
            let server = if is_moved.load(Ordering::Relaxed) { &new } else { &old };
            if !client.review(server).await {
                lost.fetch_add(1, Ordering::Relaxed);
            }
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(1 + index % 7)).await;
        }
    }));
    let reach = async |count: usize| {
        let count = asked.load(Ordering::Relaxed) + count;
        while asked.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let drain = async {
        reach(200).await;
        old.stages.drain.cancel();
        reach(200).await;
        is_moved.store(true, Ordering::Relaxed);
        reach(200).await;
        old.stages.stop.cancel();
        while !old.task.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        reach(200).await;
        is_over.store(true, Ordering::Relaxed);
    };
    tokio::time::timeout(SOON, async { tokio::join!(clients, drain) }).await.expect("the old server ends");
    assert_eq!(lost.into_inner(), 0, "of {} requests", asked.into_inner());
}
