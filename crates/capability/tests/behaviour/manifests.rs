//! `Component.toml`: what is read from it, and what is refused.

use capability::{Bytes, ManifestError, Request, Span};
use proptest::prelude::*;

use crate::given::{SAMPLE, globs, manifest, sample};

const HEAD: &str = "[component]\nname = \"x\"\nversion = \"1\"\n";

#[track_caller]
fn refused(sections: &str) -> String {
    let text = format!("{HEAD}{sections}");
    Request::from_toml(&text).unwrap_err().to_string()
}

#[test]
fn the_sample_is_read_letter_for_letter() {
    let request = sample();
    assert_eq!(request.component.name, "data-processor");
    assert_eq!(request.component.version, "1.0.0");
    assert_eq!(request.limits.memory, Some(Bytes::mib(2)));
    assert_eq!(request.filesystem.read, globs(&["/data/input/**"]));
    assert_eq!(request.filesystem.write, globs(&["/data/output/**"]));
    assert!(!request.filesystem.optional);
    let asks: Vec<String> = request.asks().map(|(ask, _)| ask.to_string()).collect();
    assert_eq!(
        asks,
        [
            "read /data/input/**",
            "write /data/output/**",
            "connect api.example.com"
        ]
    );
}

#[test]
fn every_key_is_read() {
    let request = manifest(
        r#"
        [resources.cpu]
        max_time_ms = 50
        max_fuel = 0xff_ff
        [permissions.filesystem]
        executable_paths = ["/bin/tool"]
        optional = true
        [permissions.network]
        allowed_hosts = ["tcp://db.example.com:5432"]
        inbound = [5000, "6000-6010"]
        [permissions.environment]
        variables = ["LOG_LEVEL", "APP_*"]
        [permissions.storage]
        readable_buckets = ["orders"]
        writable_buckets = ["audit"]
        optional = true
        [permissions.messaging]
        publish = ["jobs.*"]
        subscribe = ["done"]
        [permissions.components]
        imports = ["acme:math/tools@1"]
        [permissions.process]
        spawn = ["/usr/bin/git"]
        signal = true
        "#,
    );
    assert_eq!(request.limits.cpu_time, Some(Span::milliseconds(50)));
    assert_eq!(request.limits.fuel, Some(65_535));
    let asks: Vec<(String, bool)> = request
        .asks()
        .map(|(ask, optional)| (ask.to_string(), optional))
        .collect();
    let wanted = [
        ("execute /bin/tool", true),
        ("connect tcp://db.example.com:5432", false),
        ("listen 5000", false),
        ("listen 6000-6010", false),
        ("environment LOG_LEVEL", false),
        ("environment APP_*", false),
        ("read bucket orders", true),
        ("write bucket audit", true),
        ("publish jobs.*", false),
        ("subscribe done", false),
        ("import acme:math/tools@1", false),
        ("spawn /usr/bin/git", false),
        ("signal", false),
    ];
    assert_eq!(
        asks,
        wanted.map(|(ask, optional)| (ask.to_owned(), optional))
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_valid_ones() {
    assert_eq!(
        refused("[permissions.filesystem]\nreadable_path = [\"/x\"]"),
        "Component.toml, line 5: unknown key `permissions.filesystem.readable_path`; valid here are `readable_paths`, `writable_paths`, `executable_paths`, `optional`"
    );
    for (sections, words) in [
        (
            "author = 1",
            "`component.author`; valid here are `name`, `version`",
        ),
        (
            "[resources.disk]",
            "`resources.disk`; valid here are `memory`, `cpu`",
        ),
        (
            "[resources.memory]\nmax = 1",
            "valid here are `max_memory_bytes`",
        ),
        (
            "[permissions.gpu]",
            "`permissions.gpu`; valid here are `filesystem`",
        ),
        (
            "[permission.network]",
            "`permission`; valid here are `component`, `resources`, `permissions`",
        ),
        (
            "[permissions.network]\n\"allowed\\nhosts\" = []",
            "`permissions.network.allowed hosts`",
        ),
    ] {
        let message = refused(sections);
        assert!(message.contains(words), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_refused_with_its_line() {
    for (sections, words) in [
        (
            "[permissions.filesystem]\nreadable_paths = \"/x\"",
            "line 5: `permissions.filesystem.readable_paths`: write a list",
        ),
        (
            "[permissions.filesystem]\nreadable_paths = [\n  \"/x\",\n  \"x\"]",
            "line 7: `permissions.filesystem.readable_paths`: `x` is not absolute; write `/x`",
        ),
        (
            "[permissions.filesystem]\nreadable_paths = [\"/a/**/b\"]",
            "`**` only as the last one",
        ),
        (
            "[permissions.filesystem]\noptional = \"yes\"",
            "write `true` or `false`",
        ),
        (
            "[permissions.network]\nallowed_hosts = [\"*\"]",
            "wildcard that is too wide",
        ),
        (
            "[permissions.network]\nallowed_hosts = [7]",
            "write a text in quotes",
        ),
        (
            "[permissions.network]\ninbound = [0]",
            "whole number from 1 on",
        ),
        ("[permissions.network]\ninbound = [70000]", "at most 65535"),
        (
            "[permissions.environment]\nvariables = [\"A=B\"]",
            "no name of an environment variable",
        ),
        (
            "[permissions.storage]\nreadable_buckets = [\"\"]",
            "write 1 to 256 bytes",
        ),
        (
            "[permissions.messaging]\npublish = [\"a\\u0007b\"]",
            "without control characters",
        ),
        (
            "[permissions.process]\nspawn = [\"git\"]",
            "`git` is not absolute",
        ),
        (
            "[resources.memory]\nmax_memory_bytes = 1024",
            "whole number from 65536 on",
        ),
        ("[resources.memory]\nmax_memory_bytes = -1", "whole number"),
        (
            "[resources.memory]\nmax_memory_bytes = 2.5",
            "write a whole number",
        ),
        (
            "[resources.memory]\nmax_memory_bytes = \"2Mi\"",
            "write a whole number",
        ),
        (
            "[resources.cpu]\nmax_time_ms = 99999999999999999999999",
            "whole number",
        ),
        (
            "[permissions]\nnetwork = 1",
            "write it as a section, `[permissions.network]`",
        ),
    ] {
        let message = refused(sections);
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn name_and_version_are_needed() {
    for (text, key) in [
        ("", "component.name"),
        ("[component]\nversion = \"1\"", "component.name"),
        ("[component]\nname = \"x\"", "component.version"),
    ] {
        match Request::from_toml(text) {
            Err(ManifestError::Missing { key: found, .. }) => assert_eq!(found, key),
            other => panic!("{other:?}"),
        }
    }
    assert!(Request::from_toml("[component]\nname = \" x\"\nversion = \"1\"").is_err());
}

#[test]
fn what_is_no_toml_is_refused_with_its_line() {
    for text in [
        "{}",
        "[component\n",
        "[component]\nname = \"x\"\nname = \"y\"",
        "[component]\n[component]",
        "name",
        "\u{feff}\u{feff}",
    ] {
        let error = Request::from_toml(text).unwrap_err();
        assert!(
            matches!(error, ManifestError::Syntax { .. }),
            "{text:?}: {error}"
        );
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn size_entries_and_depth_are_bounded() {
    let comment = format!("{SAMPLE}#{}", "x".repeat(Request::SIZE_MAX));
    assert!(matches!(
        Request::from_toml(&comment),
        Err(ManifestError::TooLarge { .. })
    ));
    let list = |count: usize| {
        let entries = "\"/x\",".repeat(count);
        format!("[permissions.filesystem]\nreadable_paths = [{entries}]")
    };
    manifest(&list(Request::ENTRIES_MAX));
    assert!(refused(&list(Request::ENTRIES_MAX + 1)).contains("write at most 128"));
    // As deep as its size allows: neither a stack overflow nor a minute of work.
    for (open, close) in [("[", "]"), ("{a=", "}"), ("a.", "")] {
        let depth = Request::SIZE_MAX / 8;
        let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let text = match open {
            "a." => format!("{}b = 1", open.repeat(depth)),
            _ => format!("a = {value}"),
        };
        assert!(Request::from_toml(&text).is_err());
    }
}

/// Bits of manifests, so that chance gets past the first character.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop_oneof![
        Just("[component]\nname = \"x\"\nversion = \"1\"\n".to_owned()),
        Just("[permissions.network]\n".to_owned()),
        Just("[permissions.filesystem]\n".to_owned()),
        Just("[resources.memory]\n".to_owned()),
        Just("allowed_hosts = [".to_owned()),
        Just("readable_paths = [".to_owned()),
        Just("max_memory_bytes = ".to_owned()),
        Just("permissions.process = {".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("inbound = [1, \"2-3\", ".to_owned()),
        "[\\[\\]{}=\",.#'\\\\\\n*/-]{1,4}",
        "\"[^\"]{0,12}\"",
        "[0-9xob_eE+.:TZ-]{1,24}",
        "\\PC{0,8}",
    ];
    prop::collection::vec(scrap, 0..24).prop_map(|scraps| scraps.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = Request::from_toml(&text);
    }

    #[test]
    fn no_scraps_of_manifests_make_the_reader_panic(text in scraps()) {
        if let Err(error) = Request::from_toml(&text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn no_damage_to_a_manifest_makes_the_reader_panic(at in 0..SAMPLE.len(), byte in any::<u8>()) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = Request::from_toml(&text);
        }
    }
}
