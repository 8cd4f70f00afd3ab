//! Connections are kept for the component that opened them, and for nobody else.

use super::stage::{BOTH, Stage, effective, grant, tell};
use super::upstream::Upstream;
use crate::support::eventually;
use capability::{Protocol, Values};
use std::sync::Arc;

#[tokio::test]
async fn a_connection_serves_the_next_request_of_its_own_component_only() {
    for class in BOTH {
        let stage = Stage::new().await;
        let plain = Upstream::http("127.0.1.1").await;
        let secure = Upstream::https("127.0.1.1", "api.example").await;
        stage.dns.name("api.example", &["127.0.1.1"]);
        let grants = [
            grant(Protocol::Http, "api.example"),
            grant(Protocol::Https, "api.example"),
        ];
        let (one, other) = (stage.load(class, &grants), stage.load(class, &grants));
        for (scheme, upstream) in [("http", &plain), ("https", &secure)] {
            let order = format!(
                "do=fetch&scheme={scheme}&authority=api.example:{}",
                upstream.port()
            );
            for _ in 0..3 {
                assert_eq!(tell(&one, &order).await, "200 this is /\\n");
            }
            assert_eq!(upstream.connections(), 1, "{class:?} {scheme}");
            tell(&other, &order).await;
            assert_eq!(upstream.connections(), 2, "{class:?} {scheme}");
        }
    }
}

#[tokio::test]
async fn other_rights_mean_other_connections() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let grants = [grant(Protocol::Http, "127.0.1.1")];
    let caller = stage.load(BOTH[0], &grants);
    let order = format!(
        "do=fetch&scheme=http&authority=127.0.1.1:{}",
        upstream.port()
    );
    let refresh = |grants: &[_]| {
        let effective = Arc::new(effective(grants, grants));
        caller
            .refresh(effective, Values::default(), Vec::new(), Vec::new())
            .unwrap();
    };
    tell(&caller, &order).await;
    refresh(&grants);
    tell(&caller, &order).await;
    assert_eq!(upstream.connections(), 1, "the same rights keep it");
    refresh(&[]);
    assert_eq!(tell(&caller, &order).await, "http-request-denied");
    refresh(&[grants[0].clone(), grant(Protocol::Http, "more.example")]);
    assert_eq!(tell(&caller, &order).await, "200 this is /\\n");
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn requests_over_http_2_share_a_connection() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "api.example").await;
    stage.dns.name("api.example", &["127.0.1.1"]);
    let caller = stage.load(BOTH[0], &[grant(Protocol::Https, "api.example")]);
    let authority = format!("api.example:{}", upstream.port());
    tell(&caller, &format!("do=fetch&authority={authority}")).await;
    let said = tell(
        &caller,
        &format!("do=fetch&authority={authority}&times=8&path=/soon"),
    )
    .await;
    assert_eq!(said.matches("200 this is /soon").count(), 8, "{said}");
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn nothing_is_left_of_a_component_that_is_dropped() {
    let stage = Stage::new().await;
    let echo = super::upstream::Echo::start("127.0.1.1").await;
    let caller = stage.load(BOTH[0], &[grant(Protocol::Tcp, "127.0.1.1")]);
    let order = format!(
        "do=connect&address=127.0.1.1&port={}&send=hello",
        echo.address.port()
    );
    assert_eq!(tell(&caller, &order).await, "hello");
    let network = Arc::downgrade(&caller);
    drop(caller);
    eventually("the component is gone", || network.strong_count() == 0).await;
}
