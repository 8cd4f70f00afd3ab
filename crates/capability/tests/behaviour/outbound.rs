//! Rules for connections, and the entries of `allowed_hosts`.

use capability::outbound::InvalidHostRequest;
use capability::{HostRequest, Ports, Protocol, Reach};

use crate::given::{https, rule, to};

fn asks(text: &str) -> HostRequest {
    text.parse().unwrap()
}

#[test]
fn a_host_without_port_asks_for_https_and_http_at_their_ports_only() {
    let entry = asks("api.example.com");
    for (protocol, port, asked) in [
        (Protocol::Https, 443, true),
        (Protocol::Http, 80, true),
        (Protocol::Https, 8443, false),
        (Protocol::Http, 443, false),
        (Protocol::Tcp, 443, false),
        (Protocol::Udp, 443, false),
    ] {
        let destination = to(protocol, "api.example.com", port);
        assert_eq!(entry.matches(&destination), asked, "{destination}");
    }
}

#[test]
fn a_port_asks_for_anything_but_datagrams_there() {
    let entry = asks("db.example.com:5432");
    assert!(entry.matches(&to(Protocol::Tcp, "db.example.com", 5432)));
    assert!(entry.matches(&to(Protocol::Https, "db.example.com", 5432)));
    assert!(!entry.matches(&to(Protocol::Udp, "db.example.com", 5432)));
    assert!(!entry.matches(&to(Protocol::Tcp, "db.example.com", 5433)));
}

#[test]
fn a_protocol_asks_for_that_one_alone() {
    let entry = asks("udp://ntp.example.com:123");
    assert!(entry.matches(&to(Protocol::Udp, "ntp.example.com", 123)));
    assert!(!entry.matches(&to(Protocol::Tcp, "ntp.example.com", 123)));
    let entry = asks("https://*.example.com");
    assert!(entry.matches(&to(Protocol::Https, "a.example.com", 443)));
    assert!(!entry.matches(&to(Protocol::Http, "a.example.com", 80)));
}

#[test]
fn entries_are_written_as_they_are_read() {
    for text in [
        "api.example.com",
        "*.example.com:8000-8099",
        "tcp://db.example.com:5432",
        "2001:db8::7",
        "[2001:db8::7]:443",
        "https://[2001:db8::7]:443",
    ] {
        assert_eq!(asks(text).to_string(), text);
    }
}

#[test]
fn entries_that_cannot_be_used_are_refused() {
    for text in [
        "",
        "tcp://db.example.com",
        "udp://x.example.com",
        "ftp://example.com",
        "HTTPS://example.com",
        "example.com:0",
        "example.com:65536",
        "example.com:80-",
        "example.com:9-8",
        "example.com:+80",
        "user@example.com",
        "example.com/path",
        "https://",
    ] {
        assert!(text.parse::<HostRequest>().is_err(), "{text:?}");
    }
    assert!(matches!(
        "tcp://db.example.com".parse::<HostRequest>(),
        Err(InvalidHostRequest::NoPort(_))
    ));
}

#[test]
fn a_rule_covers_what_is_narrower_in_everything() {
    let wide = rule(Protocol::Tcp, "*.example.com", "5000-5999", Reach::Private);
    assert!(wide.covers(&rule(
        Protocol::Tcp,
        "db.example.com",
        "5432",
        Reach::Public
    )));
    for other in [
        rule(Protocol::Udp, "db.example.com", "5432", Reach::Public),
        rule(Protocol::Tcp, "db.example.org", "5432", Reach::Public),
        rule(Protocol::Tcp, "db.example.com", "5999-6000", Reach::Public),
    ] {
        assert!(!wide.covers(&other), "{other}");
    }
    let private = rule(Protocol::Https, "a.example.com", "443", Reach::Private);
    assert!(!https("*.example.com").covers(&private));
}

#[test]
fn rules_are_shown_in_one_line() {
    let tcp = rule(Protocol::Tcp, "2001:db8::7", "1-2", Reach::Private);
    assert_eq!(tcp.to_string(), "TCP [2001:db8::7]:1-2 (Private)");
    assert_eq!(
        https("a.example.com").to_string(),
        "HTTPS a.example.com:443"
    );
    assert_eq!(Ports::ANY.to_string(), "1-65535");
}
