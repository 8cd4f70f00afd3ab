//! Image references: Docker Hub's short names, ports, tags and digests.

use artifact::{Digest, ImageReference, ReferenceError};
use proptest::prelude::*;

fn read(text: &str) -> ImageReference {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn names_are_written_out_in_full() {
    for (text, full) in [
        ("nginx", "docker.io/library/nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("shop/orders", "docker.io/shop/orders"),
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/shop/orders:1", "docker.io/shop/orders:1"),
        ("registry-1.docker.io/shop/orders", "docker.io/shop/orders"),
        (
            "registry.example/shop/orders:1.4",
            "registry.example/shop/orders:1.4",
        ),
        (
            "Registry.Example/shop/orders",
            "registry.example/shop/orders",
        ),
        ("localhost/orders", "localhost/orders"),
        ("localhost:5000/orders:v1", "localhost:5000/orders:v1"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/orders", "[::1]:5000/orders"),
        (
            "ghcr.io/a__b/c---d.e:V_1.0-x",
            "ghcr.io/a__b/c---d.e:V_1.0-x",
        ),
    ] {
        assert_eq!(read(text).to_string(), full, "{text}");
    }
}

#[test]
fn a_colon_before_the_last_slash_is_a_port_and_after_it_a_tag() {
    let with_port = read("registry.example:5000/orders");
    assert_eq!(
        (with_port.registry(), with_port.tag()),
        ("registry.example:5000", None)
    );
    let with_both = read("registry.example:5000/orders:1.4");
    assert_eq!(with_both.repository(), "orders");
    assert_eq!(with_both.tag(), Some("1.4"));
}

#[test]
fn resolving_keeps_the_repository_and_drops_the_tag() {
    let digest = Digest::of(b"manifest");
    let resolved = read("registry.example/shop/orders:1.4").with_digest(digest);
    assert_eq!(
        resolved.to_string(),
        format!("registry.example/shop/orders@{digest}")
    );
    assert_eq!(resolved.digest(), Some(&digest));
    let both = read(&format!("registry.example/shop/orders:1.4@{digest}"));
    assert_eq!((both.tag(), both.digest()), (Some("1.4"), Some(&digest)));
    assert_eq!(
        both.without_tag().to_string(),
        "registry.example/shop/orders"
    );
}

#[test]
fn what_is_no_image_is_refused_by_its_part() {
    use ReferenceError::{Digest, Empty, Host, Repository, Scheme, Tag, TooLong};
    let sha512 = format!("registry.example/orders@sha512:{}", "0".repeat(128));
    let long = format!("registry.example/{}", "a/".repeat(400));
    let long_tag = format!("registry.example/orders:{}", "a".repeat(129));
    type Expected = fn(&ReferenceError) -> bool;
    let table: &[(&str, Expected)] = &[
        ("", |e| matches!(e, Empty)),
        (&long, |e| matches!(e, TooLong)),
        ("https://registry.example/orders", |e| {
            matches!(e, Scheme(_))
        }),
        ("oci://registry.example/orders", |e| matches!(e, Scheme(_))),
        ("user@registry.example/orders", |e| {
            matches!(e, Digest { .. })
        }),
        ("registry.example:0/orders", |e| matches!(e, Host { .. })),
        ("registry.example:99999/orders", |e| {
            matches!(e, Host { .. })
        }),
        ("registry.example:05000/orders", |e| {
            matches!(e, Host { .. })
        }),
        ("registry..example/orders", |e| matches!(e, Host { .. })),
        ("-registry.example/orders", |e| matches!(e, Host { .. })),
        ("[::g]/orders", |e| matches!(e, Host { .. })),
        ("registry.example/", |e| matches!(e, Repository { .. })),
        ("registry.example/Orders", |e| {
            matches!(e, Repository { .. })
        }),
        ("registry.example/../secrets", |e| {
            matches!(e, Repository { .. })
        }),
        ("registry.example//orders", |e| {
            matches!(e, Repository { .. })
        }),
        ("registry.example/a___b", |e| matches!(e, Repository { .. })),
        ("registry.example/orders?x=y", |e| {
            matches!(e, Repository { .. })
        }),
        ("registry.example/or ders", |e| {
            matches!(e, Repository { .. })
        }),
        ("registry.example/orders:", |e| matches!(e, Tag { .. })),
        ("registry.example/orders:.hidden", |e| {
            matches!(e, Tag { .. })
        }),
        ("registry.example/orders:1.0+build", |e| {
            matches!(e, Tag { .. })
        }),
        (&long_tag, |e| matches!(e, Tag { .. })),
        ("registry.example/orders@", |e| matches!(e, Digest { .. })),
        (&sha512, |e| matches!(e, Digest { .. })),
    ];
    for (text, expected) in table {
        let error = text.parse::<ImageReference>().expect_err(text);
        assert!(expected(&error), "{text}: {error:?}");
    }
}

proptest! {
    #[test]
    fn reading_never_panics(text in "\\PC{0,80}") {
        let _ = text.parse::<ImageReference>();
    }

    #[test]
    fn what_was_read_is_read_again_as_the_same(
        host in "([a-z][a-z0-9]{0,5}\\.[a-z]{2,4}(:[1-9][0-9]{0,3})?/)?",
        path in "[a-z0-9]{1,6}(/[a-z0-9]{1,6}([._-][a-z0-9]{1,4}){0,2}){0,3}",
        tag in "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,10})?",
        pinned: bool,
    ) {
        let digest = if pinned { format!("@{}", Digest::of(path.as_bytes())) } else { String::new() };
        let once = read(&format!("{host}{path}{tag}{digest}"));
        let twice = read(&once.to_string());
        prop_assert_eq!(&once, &twice);
        prop_assert!(!once.registry().is_empty());
        if once.registry() == "docker.io" {
            prop_assert!(once.repository().contains('/'));
        }
    }
}
