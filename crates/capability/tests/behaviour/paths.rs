//! Guest paths and globs over them.

use capability::{GuestPath, InvalidPath, PathGlob};

use crate::given::{glob, path};

#[test]
fn a_path_has_one_spelling() {
    for (text, normal) in [
        ("/", "/"),
        ("//", "/"),
        ("/data", "/data"),
        ("/data/", "/data"),
        ("//data///in/", "/data/in"),
        ("/./data/./in/.", "/data/in"),
        ("/data/../etc/passwd", "/etc/passwd"),
        ("/data/in/..", "/data"),
        ("/data/..", "/"),
        ("/...", "/..."),
        ("/a b/ü*", "/a b/ü*"),
    ] {
        assert_eq!(path(text).as_str(), normal, "{text}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    let long = "x".repeat(256);
    for text in ["", "data", "../x", "/a\0b", "/..", "/a/../../b"] {
        assert!(text.parse::<GuestPath>().is_err(), "{text:?}");
    }
    assert!(matches!(
        format!("/{long}").parse::<GuestPath>(),
        Err(InvalidPath::Segment(_))
    ));
    assert_eq!(
        "/x".repeat(2_048).parse::<GuestPath>(),
        Err(InvalidPath::Length)
    );
}

#[test]
fn joining_leads_anywhere_below_the_root_and_never_above() {
    let base = path("/data/in");
    assert_eq!(base.join("a/b").unwrap(), path("/data/in/a/b"));
    assert_eq!(base.join("").unwrap(), base);
    assert_eq!(base.join("../out").unwrap(), path("/data/out"));
    assert_eq!(base.join("../..").unwrap(), GuestPath::root());
    assert!(base.join("../../..").is_err());
    assert!(
        base.join("/etc").is_err(),
        "an absolute path is no relative one"
    );
    assert!(base.join("a\0").is_err());
}

#[test]
fn a_path_knows_where_it_is() {
    let file = path("/data/in/a.csv");
    assert_eq!(file.relative_to(&path("/data")), Some("in/a.csv"));
    assert_eq!(file.relative_to(&file), Some(""));
    assert_eq!(file.relative_to(&GuestPath::root()), Some("data/in/a.csv"));
    assert_eq!(path("/database").relative_to(&path("/data")), None);
    assert_eq!(file.parent(), Some(path("/data/in")));
    assert_eq!(path("/data").parent(), Some(GuestPath::root()));
    assert_eq!(GuestPath::root().parent(), None);
    assert_eq!(
        (file.name(), GuestPath::root().name()),
        (Some("a.csv"), None)
    );
}

#[test]
fn a_glob_matches_segment_by_segment() {
    for (pattern, matched, passed) in [
        ("/data/**", "/data /data/a /data/a/b", "/ /database /dat"),
        ("/**", "/ /a /a/b", ""),
        ("/", "/", "/a"),
        ("/data/*", "/data/a /data/.a", "/data /data/a/b"),
        (
            "/data/*.csv",
            "/data/a.csv /data/.csv",
            "/data/a.csvx /data/b/a.csv",
        ),
        (
            "/data/log-*.txt",
            "/data/log-.txt /data/log-1.txt",
            "/data/log-txt /data/log.txt",
        ),
        ("/*/in/**", "/a/in /a/in/x", "/a /a/out/in"),
        (
            "/data/ab*ba",
            "/data/abba /data/ab-ba",
            "/data/aba /data/ab",
        ),
    ] {
        let pattern = glob(pattern);
        for text in matched.split_whitespace() {
            assert!(pattern.matches(&path(text)), "{pattern} {text}");
        }
        for text in passed.split_whitespace() {
            assert!(!pattern.matches(&path(text)), "{pattern} {text}");
        }
    }
}

#[test]
fn only_directories_on_the_way_are_walked_through() {
    for (pattern, on_the_way, not) in [
        ("/data/in/**", "/ /data", "/data/in /data/in/a /data/out /x"),
        ("/data/*/x", "/ /data /data/a", "/data/a/x /data/a/y"),
        ("/**", "", "/ /a"),
        ("/a", "/", "/a /b"),
    ] {
        let pattern = glob(pattern);
        for text in on_the_way.split_whitespace() {
            assert!(pattern.has_ancestor(&path(text)), "{pattern} {text}");
        }
        for text in not.split_whitespace() {
            assert!(!pattern.has_ancestor(&path(text)), "{pattern} {text}");
        }
    }
}

#[test]
fn a_glob_has_a_deepest_directory_for_all_it_matches() {
    for (pattern, directory) in [
        ("/data/in/**", "/data/in"),
        ("/data/in/*.csv", "/data/in"),
        ("/data/x", "/data"),
        ("/data/*/in/**", "/data"),
        ("/x", "/"),
        ("/**", "/"),
    ] {
        assert_eq!(glob(pattern).literal_prefix(), path(directory), "{pattern}");
    }
}

#[test]
fn a_glob_is_written_as_it_was_read_and_nothing_else_is_one() {
    for text in ["/", "/**", "/a", "/a/**", "/*", "/a*b/c*/*d"] {
        assert_eq!(glob(text).to_string(), text);
    }
    for text in [
        "", "data/**", "**", "/a/", "/a//b", "/a/./b", "/a/../b", "/a/**/b", "/a/**b", "/**/**",
        "/a*b*c", "/a\0", "//**",
    ] {
        assert!(text.parse::<PathGlob>().is_err(), "{text:?}");
    }
}
