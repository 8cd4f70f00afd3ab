//! Raw sockets: out to what is granted for TCP, and never in.

use super::stage::{BOTH, Stage, grant, object, private, tell};
use super::upstream::{Echo, Upstream};
use crate::support::eventually;
use capability::{Protocol, Rule};
use runtime::{Capability, Config};
use tokio::net::UdpSocket;

#[tokio::test]
async fn a_socket_connects_to_a_granted_name_or_address() {
    let stage = Stage::new().await;
    let echo = Echo::start("127.0.1.1").await;
    let port = echo.address.port();
    stage.dns.name("db.example", &["127.0.1.1"]);
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Tcp, "db.example")]);
        assert_eq!(
            tell(&caller, "do=resolve&name=db.example").await,
            "127.0.1.1",
            "{class:?}"
        );
        let order = format!("do=connect&name=db.example&port={port}&send=hello");
        assert_eq!(tell(&caller, &order).await, "hello", "{class:?}");
        let caller = stage.load(class, &[grant(Protocol::Tcp, "127.0.1.1")]);
        let order = format!("do=connect&address=127.0.1.1&port={port}&send=again");
        assert_eq!(tell(&caller, &order).await, "again", "{class:?}");
    }
    assert_eq!(stage.denied(), []);
}

#[tokio::test]
async fn an_address_that_no_granted_name_leads_to_is_denied() {
    let stage = Stage::new().await;
    let echo = Echo::start("127.0.1.1").await;
    let port = echo.address.port();
    stage.dns.name("db.example", &["127.0.1.1"]);
    stage.dns.name("inner.example", &["127.0.2.1", "127.0.0.1"]);
    for class in BOTH {
        // Never resolved, so nothing leads there.
        let caller = stage.load(class, &[grant(Protocol::Tcp, "db.example")]);
        let order = format!("do=connect&address=127.0.1.1&port={port}");
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        let expected = (object(Protocol::Tcp, "127.0.1.1", port), Rule::NotGranted);
        assert_eq!(stage.denied(), [expected], "{class:?}");
        // A grant for HTTPS is none for a socket, to the same address.
        let caller = stage.load(
            class,
            &[
                grant(Protocol::Https, "db.example"),
                grant(Protocol::Tcp, "elsewhere.example"),
            ],
        );
        let order = format!("do=connect&name=db.example&port={port}");
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        // What a name may not lead to is not even answered.
        let caller = stage.load(class, &[grant(Protocol::Tcp, "inner.example")]);
        assert_eq!(
            tell(&caller, "do=resolve&name=inner.example").await,
            "127.0.2.1"
        );
        let order = format!("do=connect&name=inner.example&port={port}");
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        let rules: Vec<Rule> = stage.denied().into_iter().map(|(_, rule)| rule).collect();
        assert!(rules.contains(&Rule::PrivateAddress), "{rules:?}");
        assert!(rules.contains(&Rule::SpecialAddress), "{rules:?}");
        // Loopback is not to be had by its address either.
        let caller = stage.load(class, &[private(grant(Protocol::Tcp, "127.0.0.1"))]);
        let order = format!("do=connect&address=127.0.0.1&port={port}");
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        let expected = (
            object(Protocol::Tcp, "127.0.0.1", port),
            Rule::SpecialAddress,
        );
        assert_eq!(stage.denied(), [expected], "{class:?}");
    }
    assert_eq!(echo.connections(), 0);
}

#[tokio::test]
async fn without_a_grant_there_is_no_socket_and_no_name() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    stage.dns.name("api.example", &["127.0.1.1"]);
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Http, "web.example")]);
        let order = format!("do=connect&address=127.0.1.1&port={}", upstream.port());
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        assert_eq!(
            tell(&caller, "do=sockets&count=1").await,
            "0 access-denied",
            "{class:?}"
        );
        assert_eq!(
            stage.denied().pop(),
            Some(("TCP".to_owned(), Rule::NotGranted))
        );
        for (name, rule) in [
            ("api.example", Rule::NotGranted),
            ("data-to-tell.evil.example", Rule::NotGranted),
            ("2130706433", Rule::Malformed),
            ("no_name", Rule::Malformed),
        ] {
            let order = format!("do=resolve&name={name}");
            assert_eq!(
                tell(&caller, &order).await,
                "access-denied",
                "{class:?} {name}"
            );
            let record = stage.records().pop().unwrap();
            assert_eq!(record.capability, Capability::NameLookup);
            assert_eq!((record.object.as_str(), record.rule), (name, rule));
        }
    }
    assert_eq!(stage.dns.asked(), Vec::<String>::new());
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn nobody_binds_listens_or_takes_a_neighbours_port() {
    let stage = Stage::new().await;
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Tcp, "db.example")]);
        for (address, port) in [("0.0.0.0", 20017), ("127.0.0.1", 0), ("127.0.1.1", 20017)] {
            let order = format!("do=bind&address={address}&port={port}");
            assert_eq!(
                tell(&caller, &order).await,
                "access-denied",
                "{class:?} {address}"
            );
            let expected = (format!("bind {address}:{port}"), Rule::NotGranted);
            assert_eq!(stage.denied(), [expected], "{class:?}");
        }
        // What a connection does by itself is no listener.
        let order = "do=bind&address=0.0.0.0&port=0";
        assert_eq!(tell(&caller, order).await, "bound", "{class:?}");
        let order = "do=bind&address=0.0.0.0&port=0&listen=1";
        assert_eq!(tell(&caller, order).await, "access-denied", "{class:?}");
        let denied = stage.denied();
        assert!(denied[0].0.starts_with("listen 0.0.0.0:"), "{denied:?}");
    }
}

#[tokio::test]
async fn sockets_of_a_component_are_counted_over_all_its_calls_and_given_back() {
    let stage = Stage::new().await;
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Tcp, "db.example")]);
        for _ in 0..2 {
            let said = tell(&caller, "do=sockets&count=100").await;
            assert!(said.starts_with("64 "), "{class:?}: {said}");
            assert_eq!(stage.denied(), [("TCP".to_owned(), Rule::LimitExceeded)]);
            // A store of WASI 0.3 ends a little after its answer.
            eventually("the call is over", || caller.stats().live == 0).await;
        }
        caller.set_replicas(2);
        assert_eq!(
            tell(&caller, "do=sockets&count=100").await,
            "100",
            "{class:?}"
        );
    }
}

#[tokio::test]
async fn datagrams_need_the_nodes_consent_and_a_grant() {
    let server = UdpSocket::bind("127.0.1.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    let mut buffer = [0; 64];
    for class in BOTH {
        let stage = Stage::new().await;
        let order = format!("do=udp&address=127.0.1.1&port={port}&send=hello");
        let caller = stage.load(class, &[grant(Protocol::Udp, "127.0.1.1")]);
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        assert_eq!(stage.denied(), [("UDP".to_owned(), Rule::NotGranted)]);

        let stage = Stage::with(|config: &mut Config| config.network.udp = true).await;
        let caller = stage.load(class, &[grant(Protocol::Udp, "127.0.1.1")]);
        assert_eq!(tell(&caller, &order).await, "sent", "{class:?}");
        let (length, _) = server.recv_from(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..length], b"hello");
        let order = format!("do=udp&address=127.0.1.2&port={port}&send=hello");
        assert_eq!(tell(&caller, &order).await, "access-denied", "{class:?}");
        let expected = (object(Protocol::Udp, "127.0.1.2", port), Rule::NotGranted);
        assert_eq!(stage.denied(), [expected], "{class:?}");
    }
}
