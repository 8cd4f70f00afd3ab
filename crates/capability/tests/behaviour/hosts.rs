//! Host names and patterns over them.

use capability::{HostName, HostPattern};

fn host(text: &str) -> HostName {
    text.parse().unwrap()
}

#[test]
fn a_host_has_one_spelling() {
    for (text, normal) in [
        ("api.example.com", "api.example.com"),
        ("API.Example.COM", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("localhost", "localhost"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("10.0.0.7", "10.0.0.7"),
        ("[2001:DB8:0:0::7]", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("[::ffff:a00:7]", "10.0.0.7"),
    ] {
        assert_eq!(host(text).to_string(), normal, "{text}");
    }
}

#[test]
fn what_could_be_read_as_another_host_is_refused() {
    let long = "x".repeat(64);
    for text in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-a.b",
        "a-.b",
        "a b",
        "a/b",
        "good@evil",
        "a:80",
        "bücher.de",
        "a_b.c",
        "127.1",
        "0x7f.1",
        "2130706433",
        "010.0.0.7",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "0x7f000001",
        "fe80::1%eth0",
        "[::1",
        "[10.0.0.7]",
        "*.example.com",
        "a\0b",
        "example.com..",
        long.as_str(),
    ] {
        assert!(text.parse::<HostName>().is_err(), "{text:?}");
    }
}

#[test]
fn a_wildcard_stands_for_one_or_more_whole_labels() {
    let pattern: HostPattern = "*.Example.com".parse().unwrap();
    assert_eq!(pattern.to_string(), "*.example.com");
    for text in ["a.example.com", "a.b.example.com"] {
        assert!(pattern.matches(&host(text)), "{text}");
    }
    for text in [
        "example.com",
        "aexample.com",
        "example.com.evil.org",
        "10.0.0.7",
    ] {
        assert!(!pattern.matches(&host(text)), "{text}");
    }
}

#[test]
fn a_wildcard_over_a_top_level_domain_or_elsewhere_is_refused() {
    for text in [
        "**",
        "*.com",
        "*.",
        "a.*.com",
        "a*.example.com",
        "*a.example.com",
        "*.*.example.com",
        "*.0.0.7",
        "example.com.",
        "*.example.com.",
    ] {
        let refusal = text.parse::<HostPattern>().unwrap_err().to_string();
        assert!(
            refusal.contains("write") || refusal.contains("leave"),
            "{text}: {refusal}"
        );
    }
}

#[test]
fn a_star_alone_is_any_host_and_only_for_policies() {
    let any: HostPattern = "*".parse().unwrap();
    assert!(any.is_any() && any.matches(&host("a.b")) && any.matches(&host("10.0.0.7")));
    assert!(any.covers(&"*.example.com".parse().unwrap()) && any.covers(&any));
    assert!(!"*.example.com".parse::<HostPattern>().unwrap().covers(&any));
    assert!("*".parse::<capability::HostRequest>().is_err());
    assert!("https://*:443".parse::<capability::HostRequest>().is_err());
}

#[test]
fn a_pattern_covers_what_it_matches_and_narrower_patterns() {
    let covers = |mine: &str, theirs: &str| {
        let mine: HostPattern = mine.parse().unwrap();
        mine.covers(&theirs.parse().unwrap())
    };
    assert!(covers("*.example.com", "a.example.com"));
    assert!(covers("*.example.com", "*.example.com"));
    assert!(covers("*.example.com", "*.a.example.com"));
    assert!(covers("::1", "[0:0::1]"));
    assert!(!covers("*.example.com", "example.com"));
    assert!(!covers("*.a.example.com", "*.example.com"));
    assert!(!covers("a.example.com", "*.example.com"));
    assert!(!covers("*.ample.com", "*.example.com"));
}
