//! A drain lets what has begun end, tells callers to go elsewhere, and cuts what is left.

use crate::support::{PROBE, Server, count, eventually, load, probe, runtime};
use runtime::Outcome;
use runtime::serve::Settings;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

async fn ask(server: &Server, path: &str) -> JoinHandle<String> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let text = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    tokio::spawn(async move {
        let mut seen = Vec::new();
        let _ = stream.read_to_end(&mut seen).await;
        String::from_utf8_lossy(&seen).into_owned()
    })
}

#[tokio::test]
async fn a_call_in_progress_ends_and_its_connection_with_it() {
    let component = probe(|_| {});
    let server = Server::start(&component, Settings::default()).await;
    let idle = ask(&server, "/").await;
    let slow = ask(&server, "/sleep?ms=400").await;
    eventually("one call is in progress, one over", || {
        component.stats().live == 1 && count(&component, Outcome::Completed) == 1
    })
    .await;
    server.drain.start();
    assert!(
        idle.await.unwrap().contains("200 OK"),
        "the idle connection was closed, after its answer"
    );
    let answer = slow.await.unwrap();
    assert!(
        answer.contains("slept") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
    tokio::time::timeout(Duration::from_secs(5), server.drain.finished())
        .await
        .unwrap();
    assert_eq!(server.drain.open(), 0);
}

#[tokio::test]
async fn a_connection_that_comes_during_the_drain_is_served_once() {
    let server = Server::start(&probe(|_| {}), Settings::default()).await;
    server.drain.start();
    let answer = ask(&server, "/").await.await.unwrap();
    assert!(
        answer.contains("200 OK") && answer.to_lowercase().contains("connection: close"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_is_left_at_the_end_is_cut_and_counted() {
    let component = load(&runtime(), PROBE, |_| {});
    let server = Server::start(&component, Settings::default()).await;
    let endless = ask(&server, "/slow?chunks=100000&ms=10").await;
    eventually("it is in progress", || component.stats().live == 1).await;
    server.drain.start();
    let asked = Instant::now();
    let early = tokio::time::timeout(Duration::from_millis(300), server.drain.finished()).await;
    assert!(early.is_err(), "the call was not let go on");
    server.drain.cut();
    tokio::time::timeout(Duration::from_secs(5), server.drain.finished())
        .await
        .unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert!(
        !endless.await.unwrap().ends_with("0\r\n\r\n"),
        "a cut response looks whole"
    );
    eventually("it is counted", || {
        count(&component, Outcome::Cancelled) == 1
    })
    .await;
}
