//! Connections: both HTTP versions on one port, and callers that waste it.

use crate::support::{PROBE, Server, load, probe, runtime};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::serve::Settings;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn exchange(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut seen)).await;
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn http1_serves_one_request_after_the_other_on_a_connection() {
    let server = Server::start(&probe(|_| {}), Settings::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let seen = exchange(
        &mut stream,
        "GET / HTTP/1.1\r\nhost: a\r\n\r\nGET /env HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(seen.matches("HTTP/1.1 200 OK").count(), 2, "{seen}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_serves_many_streams() {
    let server = Server::start(&probe(|_| {}), Settings::default()).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let calls = (0..20).map(|number| {
        let mut sender = sender.clone();
        async move {
            let request = Request::get(format!("http://probe.example/slow?chunks=2&ms={number}"))
                .body(Empty::<Bytes>::new())
                .unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            response.into_body().collect().await.unwrap().to_bytes()
        }
    });
    for body in futures::future::join_all(calls).await {
        assert_eq!(body, "chunk 0\nchunk 1\n");
    }
}

#[tokio::test]
async fn a_caller_that_says_nothing_is_hung_up_on() {
    let settings = Settings {
        first_byte: Duration::from_millis(200),
        ..Settings::default()
    };
    let server = Server::start(&probe(|_| {}), settings).await;
    let asked = Instant::now();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(exchange(&mut stream, "").await, "");
    assert!((Duration::from_millis(150)..Duration::from_secs(3)).contains(&asked.elapsed()));
}

#[tokio::test]
async fn a_head_that_trickles_in_and_an_idle_connection_are_ended() {
    let settings = Settings {
        head: Duration::from_millis(300),
        keep_alive: Duration::from_millis(300),
        ..Settings::default()
    };
    let server = Server::start(&load(&runtime(), PROBE, |_| {}), settings).await;
    for (text, answers) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nx-slow", 0),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1),
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HT", 1),
    ] {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let seen = exchange(&mut stream, text).await;
        assert_eq!(
            seen.matches("HTTP/1.1 200").count(),
            answers,
            "{text:?}: {seen}"
        );
        assert!(
            asked.elapsed() < Duration::from_secs(3),
            "{text:?} took {:?}",
            asked.elapsed()
        );
    }
    // A call that takes longer than both is no idle connection.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let seen = exchange(&mut stream, "GET /sleep?ms=900 HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(seen.contains("slept"), "{seen}");
}

#[tokio::test]
async fn heads_that_are_too_large_or_no_http_are_answered_and_closed() {
    let server = Server::start(&probe(|_| {}), Settings::default()).await;
    let many: String = (0..200)
        .map(|number| format!("x-{number}: 1\r\n"))
        .collect();
    let large = format!("x-large: {}\r\n", "x".repeat(40_000));
    for (headers, status) in [(many, "431"), (large, "431")] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let seen = exchange(
            &mut stream,
            &format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\n"),
        )
        .await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")), "{seen}");
    }
    for text in [
        "PRI * HTTP/3.0\r\n\r\n",
        "\u{16}\u{3}\u{1}hello, TLS\r\n\r\n",
        "GET / HTTP/1.1\r\n folded: 1\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let seen = exchange(&mut stream, text).await;
        assert!(
            seen.is_empty() || seen.starts_with("HTTP/1.1 400"),
            "{text:?}: {seen}"
        );
    }
}
