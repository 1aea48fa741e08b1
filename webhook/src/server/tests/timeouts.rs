//! Timeouts of connections. The times are short, and the difference between a connection that is kept and one
//! that is cut is large.

use futures::future::join_all;

use super::*;

fn limits(read: Duration, idle: Duration) -> Limits {
    Limits { timeouts: Timeouts { read, idle }, ..Limits::default() }
}

/// Sends a byte of a head at a time, each well within the timeout, until the server closes the connection.
/// Returns the time that this took.
async fn trickle(mut stream: TlsStream<TcpStream>, timeouts: Timeouts) -> Duration {
    let start = tokio::time::Instant::now();
    let cut = async {
        while stream.write_all(b"P").await.is_ok() && stream.flush().await.is_ok() {
            tokio::time::sleep(timeouts.read / 8).await;
            if stream.read(&mut [0]).now_or_never().is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(timeouts.idle / 2, cut).await.expect("the slow head is cut");
    start.elapsed()
}

#[tokio::test]
async fn idle_connection_serves_requests_around_the_head_timeout() {
    let read = Duration::from_millis(200);
    let server = &start_with(limits(read, Duration::from_mins(3))).await;
    let answers = join_all((160..240).step_by(2).map(async |wait| {
        let mut stream = server.kept().await;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        review_on(&mut stream).await
    }))
    .await;
    let lost = answers.iter().filter(|answer| answer.is_none()).count();
    assert_eq!(lost, 0, "of {} requests", answers.len());
}

#[tokio::test]
async fn unused_connection_serves_a_late_first_request() {
    // Go's client opens connections in reserve, and uses them up to 90 s later.
    let server = start_with(limits(Duration::from_millis(100), Duration::from_mins(3))).await;
    let mut reserve = server.connect().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(review_on(&mut reserve).await.is_some());
}

#[tokio::test]
async fn slow_head_is_cut_from_its_first_byte() {
    let limits = limits(Duration::from_millis(400), Duration::from_mins(1));
    let server = start_with(limits).await;
    for stream in [server.connect().await, server.kept().await] {
        let took = trickle(stream, limits.timeouts).await;
        assert!(took >= limits.timeouts.read, "cut after {took:?}");
    }
}

#[tokio::test]
async fn incomplete_tls_record_is_cut() {
    let limits = limits(Duration::from_millis(200), Duration::from_mins(1));
    let server = start_with(limits).await;
    let mut stream = server.kept().await;
    // The header of a record of 256 bytes, and one of them.
    stream.get_mut().0.write_all(&[0x17, 3, 3, 1, 0, 0]).await.unwrap();
    let closed = tokio::time::timeout(limits.timeouts.idle / 2, stream.read(&mut [0])).await;
    assert!(!matches!(closed.expect("the incomplete record is cut"), Ok(1)));
}

#[tokio::test]
async fn silent_handshake_is_cut() {
    let server = start_with(limits(Duration::from_millis(200), Duration::from_mins(1))).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    let read = tokio::time::timeout(SOON, socket.read(&mut [0])).await.expect("the connection ends");
    assert!(!matches!(read, Ok(1)));
}

#[tokio::test]
async fn idle_connection_is_closed() {
    let server = start_with(limits(Duration::from_millis(200), Duration::from_millis(200))).await;
    assert_eq!(read(server.connect().await).await, "");
    assert_eq!(read(server.kept().await).await, "");
}
