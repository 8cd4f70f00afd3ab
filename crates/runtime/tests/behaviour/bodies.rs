//! Bodies stream in both directions, up to their limit.

use crate::support::{PROBE, Server, count, eventually, get, load, post, probe, request, runtime};
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use runtime::Outcome;
use runtime::serve::Settings;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_response_arrives_while_the_guest_still_writes_it() {
    let component = probe(|_| {});
    let mut body = component
        .handle(request("/slow?chunks=3&ms=300"))
        .await
        .into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, "chunk 0\n");
    assert_eq!(component.stats().live, 1, "the guest is still at work");
    let rest = body.collect().await.unwrap().to_bytes();
    assert_eq!(rest, "chunk 1\nchunk 2\n");
}

#[tokio::test]
async fn a_response_larger_than_any_buffer_arrives_whole() {
    let component = probe(|_| {});
    let answer = get(&component, "/big?bytes=5000000").await;
    assert_eq!(answer.text.len(), 5_000_000);
    eventually("it is counted", || {
        count(&component, Outcome::Completed) == 1
    })
    .await;
}

#[tokio::test]
async fn an_echo_answers_each_chunk_before_the_next_is_sent() {
    let component = probe(|_| {});
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Bytes>();
    let body = StreamBody::new(receiver.map(|bytes| Ok::<_, Infallible>(Frame::data(bytes))));
    let request = Request::post("/echo")
        .header("host", "a")
        .body(body)
        .unwrap();
    let mut body = component.handle(request).await.into_body();
    for word in ["one", "two", "three"] {
        sender.unbounded_send(Bytes::from(word)).unwrap();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), word);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn a_large_body_goes_in_and_out() {
    let component = probe(|_| {});
    let sent: String = ('a'..='z').cycle().take(900_000).collect();
    let answer = post(&component, "/echo", sent.clone()).await;
    assert!(
        answer.text == sent,
        "{} of {} bytes",
        answer.text.len(),
        sent.len()
    );
}

#[tokio::test]
async fn a_body_above_the_triggers_limit_is_a_413() {
    let component = probe(|workload| workload.max_request_body = 1000);
    let declared = post(&component, "/echo", vec![b'x'; 1001]).await;
    assert_eq!(
        (declared.status, declared.reason().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLarge")
    );
    assert_eq!(
        post(&component, "/echo", vec![b'x'; 1000]).await.text.len(),
        1000
    );

    // Not declared, and refused when it comes: while the guest waits for it, or later.
    let chunks = stream::iter(
        (0..11).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 100])))),
    );
    let request = Request::post("/echo")
        .header("host", "a")
        .body(StreamBody::new(chunks))
        .unwrap();
    let response = component.handle(request).await;
    if response.status() == StatusCode::OK {
        assert!(
            response.into_body().collect().await.is_err(),
            "it was cut, and the reader knows"
        );
    } else {
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    eventually("both are counted", || {
        count(&component, Outcome::RequestTooLarge) == 2
    })
    .await;
}

#[tokio::test]
async fn a_cut_response_has_no_last_chunk_on_the_wire() {
    let component = load(&runtime(), PROBE, |workload| workload.max_request_body = 10);
    let server = Server::start(&component, Settings::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("hello") {
        assert!(
            stream.read_buf(&mut seen).await.unwrap() > 0,
            "closed after {seen:?}"
        );
    }
    stream.write_all(b"a\r\n0123456789\r\n").await.unwrap();
    let _ = stream.read_to_end(&mut seen).await;
    let text = String::from_utf8_lossy(&seen).into_owned();
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    assert!(
        !text.ends_with("0\r\n\r\n"),
        "a cut response looks whole: {text}"
    );
}
