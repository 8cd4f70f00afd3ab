//! What was not granted is refused with an ordinary error: the guest goes on.

use crate::support::{get, probe};
use http::StatusCode;
use std::net::TcpListener;

#[tokio::test]
async fn sockets_names_and_requests_are_ordinary_errors() {
    let component = probe(|_| {});
    // Somebody listens, so that only a rule can be in the way.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    for (path, error) in [
        (format!("/connect?address={address}"), "access-denied\n"),
        ("/resolve?name=localhost".to_owned(), "access-denied\n"),
        (
            format!("/fetch?authority={address}"),
            "ErrorCode::HttpRequestDenied\n",
        ),
    ] {
        let answer = get(&component, &path).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (StatusCode::OK, error),
            "{path}"
        );
    }
    assert!(listener.accept().is_err(), "a guest got through");
}
