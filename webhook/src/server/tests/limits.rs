//! The limit of connections. Clients that hold all of them don't keep others waiting.

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    timeouts: Timeouts { read: Duration::from_mins(1), idle: Duration::from_mins(3) },
};

async fn require_served(server: &Server) {
    let answer = tokio::time::timeout(SOON, server.ask("POST /mutate", &review())).await;
    assert!(answer.expect("served at once").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn longest_idle_connection_makes_room_at_the_limit() {
    let server = start_with(LIMITS).await;
    let mut strangers = Vec::new();
    for _ in 0..LIMITS.connections {
        strangers.push(server.kept().await);
    }
    require_served(&server).await;
    assert_eq!(read(strangers.remove(0)).await, "", "the longest idle connection was closed");
    for stranger in &mut strangers {
        assert!(review_on(stranger).await.is_some(), "another connection was closed");
    }
}

#[tokio::test]
async fn unfinished_handshakes_make_room_at_the_limit() {
    let server = start_with(LIMITS).await;
    let mut strangers = Vec::new();
    for _ in 0..LIMITS.connections * 2 {
        strangers.push(TcpStream::connect(server.address).await.unwrap());
    }
    require_served(&server).await;
}

#[tokio::test]
async fn unfinished_requests_make_room_at_the_limit() {
    let server = start_with(LIMITS).await;
    let mut strangers = Vec::new();
    for part in ["POST /mutate".to_owned(), head("POST /mutate", 100)].iter().cycle().take(LIMITS.connections)
    {
        let mut stranger = server.connect().await;
        stranger.write_all(part.as_bytes()).await.unwrap();
        strangers.push(stranger);
    }
    require_served(&server).await;
}
