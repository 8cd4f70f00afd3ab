//! Heads: what a guest sees of a request, and what a caller sees of a response.

use crate::support::{count, get, probe, read};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Empty;
use runtime::Outcome;

#[tokio::test]
async fn headers_of_the_connection_reach_no_guest() {
    let component = probe(|_| {});
    let request = Request::get("/headers")
        .header("host", "shop.example")
        .header("connection", "keep-alive, x-hop")
        .header("keep-alive", "timeout=5")
        .header("x-hop", "1")
        .header("upgrade", "websocket")
        .header("te", "trailers")
        .header("x-forwarded-for", "192.0.2.1")
        .header("accept", "text/plain")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let answer = read(component.handle(request).await).await;
    assert_eq!(
        answer.text,
        "accept: text/plain\nx-forwarded-for: 192.0.2.1\n"
    );
}

#[tokio::test]
async fn a_guest_can_not_set_headers_of_the_connection() {
    let component = probe(|_| {});
    for (name, allowed) in [
        ("connection", false),
        ("transfer-encoding", false),
        ("upgrade", false),
        ("keep-alive", false),
        ("te", false),
        ("x-anything", true),
        ("retry-after", true),
    ] {
        let answer = get(&component, &format!("/header?name={name}&value=1")).await;
        assert_eq!(answer.text, format!("{allowed}\n"), "{name}");
        assert_eq!(answer.headers.contains_key(name), allowed, "{name}");
    }
    let split = get(&component, "/header?name=x-a&value=1%0d%0ax-b:2").await;
    assert_eq!(split.text, "false\n", "a value with a line end");
}

#[tokio::test]
async fn a_request_that_could_be_read_in_two_ways_is_refused() {
    let component = probe(|_| {});
    for request in [
        Request::get("/").body(Empty::<Bytes>::new()).unwrap(),
        Request::get("/")
            .header("host", "a")
            .header("host", "b")
            .body(Empty::new())
            .unwrap(),
        Request::get("http://a.example/")
            .header("host", "b.example")
            .body(Empty::new())
            .unwrap(),
        Request::connect("a.example:443")
            .header("host", "a")
            .body(Empty::new())
            .unwrap(),
    ] {
        let answer = read(component.handle(request).await).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (StatusCode::BAD_REQUEST, "BadRequest")
        );
    }
    assert_eq!(count(&component, Outcome::BadRequest), 4);
}
