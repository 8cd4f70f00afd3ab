//! Requests go where they were granted to go, whatever they are made to look like.

use super::stage::{BOTH, Stage, grant, object, tell};
use super::upstream::Upstream;
use capability::{Protocol, Rule};
use http::Version;

#[tokio::test]
async fn a_granted_host_answers_over_http_1_1_and_2() {
    let stage = Stage::new().await;
    let plain = Upstream::http("127.0.1.1").await;
    let old = Upstream::https_1_1("127.0.1.1", "old.example").await;
    let new = Upstream::https("127.0.1.1", "new.example").await;
    for name in ["plain.example", "old.example", "new.example"] {
        stage.dns.name(name, &["127.0.1.1"]);
    }
    let grants = [
        grant(Protocol::Http, "plain.example"),
        grant(Protocol::Https, "old.example"),
        grant(Protocol::Https, "new.example"),
    ];
    for class in BOTH {
        let caller = stage.load(class, &grants);
        for (scheme, name, upstream, version) in [
            ("http", "plain.example", &plain, Version::HTTP_11),
            ("https", "old.example", &old, Version::HTTP_11),
            ("https", "new.example", &new, Version::HTTP_2),
        ] {
            let port = upstream.port();
            let order = format!(
                "do=fetch&scheme={scheme}&authority={name}:{port}&path=/x?y&method=POST&header=x-mine:1&body=hello"
            );
            assert_eq!(
                tell(&caller, &order).await,
                "200 this is /x\\n",
                "{class:?} {name}"
            );
            let seen = upstream.seen().pop().unwrap();
            assert_eq!(seen.version, version, "{class:?} {name}");
            assert_eq!(seen.authority, format!("{name}:{port}"));
            assert_eq!(seen.headers["x-mine"], "1");
            assert_eq!(seen.body, "hello");
        }
    }
    assert_eq!(stage.denied(), []);
}

#[tokio::test]
async fn what_is_not_granted_is_denied_recorded_and_nobody_asked() {
    let stage = Stage::new().await;
    let other = Upstream::http("127.0.1.1").await;
    stage.dns.name("other.example", &["127.0.1.1"]);
    let port = other.port();
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Https, "api.example")]);
        for (scheme, authority, protocol, host) in [
            (
                "http",
                format!("other.example:{port}"),
                Protocol::Http,
                "other.example",
            ),
            (
                "https",
                format!("other.example:{port}"),
                Protocol::Https,
                "other.example",
            ),
            // Granted for TLS only.
            (
                "http",
                format!("api.example:{port}"),
                Protocol::Http,
                "api.example",
            ),
            (
                "http",
                format!("127.0.1.1:{port}"),
                Protocol::Http,
                "127.0.1.1",
            ),
            (
                "https",
                format!("api.example.evil.example:{port}"),
                Protocol::Https,
                "api.example.evil.example",
            ),
            (
                "https",
                format!("evil-api.example:{port}"),
                Protocol::Https,
                "evil-api.example",
            ),
        ] {
            let order = format!("do=fetch&scheme={scheme}&authority={authority}");
            assert_eq!(
                tell(&caller, &order).await,
                "http-request-denied",
                "{class:?} {authority}"
            );
            let expected = (object(protocol, host, port), Rule::NotGranted);
            assert_eq!(stage.denied(), [expected], "{class:?} {authority}");
        }
    }
    assert_eq!(other.connections(), 0);
    assert_eq!(
        stage.dns.asked(),
        Vec::<String>::new(),
        "a question carries data out"
    );
}

#[tokio::test]
async fn a_wildcard_stands_for_labels_below_it_and_not_for_itself() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    for name in [
        "a.cdn.example",
        "b.a.cdn.example",
        "cdn.example",
        "evilcdn.example",
    ] {
        stage.dns.name(name, &["127.0.1.1"]);
    }
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Http, "*.cdn.example")]);
        for (name, expected) in [
            ("a.cdn.example", "200 this is /\\n"),
            ("b.a.cdn.example", "200 this is /\\n"),
            ("A.CDN.Example.", "200 this is /\\n"),
            ("cdn.example", "http-request-denied"),
            ("evilcdn.example", "http-request-denied"),
            ("a.cdn.example.evil.example", "http-request-denied"),
        ] {
            let order = format!("do=fetch&scheme=http&authority={name}:{port}");
            assert_eq!(tell(&caller, &order).await, expected, "{class:?} {name}");
        }
    }
}

#[tokio::test]
async fn another_spelling_of_a_host_is_no_host() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    stage.dns.name("good.example", &["127.0.1.1"]);
    for class in BOTH {
        let caller = stage.load(
            class,
            &[
                grant(Protocol::Http, "good.example"),
                grant(Protocol::Http, "127.0.1.1"),
            ],
        );
        for authority in [
            format!("good.example@evil.example:{port}"),
            format!("user:password@good.example:{port}"),
            format!("127.1.1:{port}"),
            format!("2130706689:{port}"),
            format!("0x7f.0.1.1:{port}"),
            format!("0177.0.1.1:{port}"),
            format!("[::ffff:127.0.1.1]:{port}"),
            "good.example:0".to_owned(),
        ] {
            let escaped = authority.replace('@', "%40");
            let order = format!("do=fetch&scheme=http&authority={escaped}");
            let said = tell(&caller, &order).await;
            // wasi:http itself takes some of them for no URI.
            assert!(
                ["http-request-denied", "http-request-uri-invalid"].contains(&said.as_str()),
                "{class:?} {authority}: {said}"
            );
            for (denied, rule) in stage.denied() {
                assert_eq!(
                    (denied.as_str(), rule),
                    (authority.as_str(), Rule::Malformed)
                );
            }
        }
        let order = format!("do=fetch&scheme=http&authority=127.0.1.1:{port}");
        assert_eq!(tell(&caller, &order).await, "200 this is /\\n", "{class:?}");
    }
}

#[tokio::test]
async fn tunnels_and_echoes_of_the_request_are_refused_for_everybody() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Http, "127.0.1.1")]);
        for method in ["CONNECT", "TRACE", "trace"] {
            let order = format!("do=fetch&method={method}&scheme=http&authority=127.0.1.1:{port}");
            assert_eq!(
                tell(&caller, &order).await,
                "http-request-denied",
                "{class:?} {method}"
            );
            let denied = stage.denied();
            assert_eq!(denied.len(), 1);
            assert_eq!(denied[0].1, Rule::MethodRefused);
        }
        for header in [
            "upgrade:websocket",
            "connection:upgrade",
            "host:evil.example",
        ] {
            let order = format!("do=fetch&header={header}&scheme=http&authority=127.0.1.1:{port}");
            assert_eq!(
                tell(&caller, &order).await,
                "internal-error",
                "{class:?} {header}"
            );
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_what_it_names_is_judged_anew() {
    let stage = Stage::new().await;
    let upstream = Upstream::http("127.0.1.1").await;
    let port = upstream.port();
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Http, "127.0.1.1")]);
        let order =
            format!("do=fetch&show=location&scheme=http&authority=127.0.1.1:{port}&path=/redirect");
        let said = tell(&caller, &order).await;
        assert!(
            said.starts_with("302 location=http://169.254.169.254/"),
            "{said}"
        );
        let order = "do=fetch&scheme=http&authority=169.254.169.254&path=/latest/meta-data";
        assert_eq!(tell(&caller, order).await, "http-request-denied");
        let expected = (
            object(Protocol::Http, "169.254.169.254", 80),
            Rule::NotGranted,
        );
        assert_eq!(stage.denied(), [expected]);
    }
}

#[tokio::test]
async fn a_server_that_is_not_who_it_says_is_not_spoken_to() {
    let stage = Stage::new().await;
    let upstream = Upstream::https("127.0.1.1", "somebody.example").await;
    let plain = Upstream::http("127.0.1.1").await;
    stage.dns.name("api.example", &["127.0.1.1"]);
    for class in BOTH {
        let caller = stage.load(class, &[grant(Protocol::Https, "api.example")]);
        let order = format!("do=fetch&authority=api.example:{}", upstream.port());
        assert_eq!(
            tell(&caller, &order).await,
            "tls-certificate-error",
            "{class:?}"
        );
        let order = format!("do=fetch&authority=api.example:{}", plain.port());
        assert_eq!(
            tell(&caller, &order).await,
            "tls-protocol-error",
            "{class:?}"
        );
    }
    assert!(upstream.seen().is_empty() && plain.seen().is_empty());
    // Without the bundle nobody here is trusted.
    let stage = Stage::with(|config| config.network.roots.clear()).await;
    stage.dns.name("somebody.example", &["127.0.1.1"]);
    let caller = stage.load(BOTH[0], &[grant(Protocol::Https, "somebody.example")]);
    let order = format!("do=fetch&authority=somebody.example:{}", upstream.port());
    assert_eq!(tell(&caller, &order).await, "tls-certificate-error");
}

#[tokio::test]
async fn failures_have_names_of_their_own() {
    let stage = Stage::new().await;
    let nobody = Upstream::http("127.0.1.1").await.address;
    let listener = tokio::net::TcpListener::bind("127.0.1.3:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    stage.dns.silence("silent.example");
    stage.dns.name("empty.example", &[]);
    let grants = [
        grant(Protocol::Http, "*.example.com"),
        grant(Protocol::Http, "silent.example"),
        grant(Protocol::Http, "empty.example"),
        grant(Protocol::Http, "127.0.1.3"),
        grant(Protocol::Https, "127.0.1.1"),
    ];
    for class in BOTH {
        let caller = stage.load(class, &grants);
        for (scheme, authority, expected) in [
            ("http", "no.example.com".to_owned(), "dns-error"),
            ("http", "empty.example".to_owned(), "dns-error"),
            ("http", "silent.example".to_owned(), "dns-timeout"),
            ("http", closed.to_string(), "connection-refused"),
            ("https", nobody.to_string(), "tls-protocol-error"),
        ] {
            let order = format!("do=fetch&scheme={scheme}&authority={authority}");
            assert_eq!(
                tell(&caller, &order).await,
                expected,
                "{class:?} {authority}"
            );
        }
    }
}
