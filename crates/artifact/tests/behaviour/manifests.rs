//! A component's manifest: in its section, in an attestation, and in both.

use artifact::component::{Facts, inspect};
use artifact::manifest_section::{NAME, PREDICATE_TYPE, embed};
use artifact::{Refusal, RefusalCode};
use capability::{Effective, Request};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sigstore::statement;
use crate::support::{
    Artifact, IN_TOTO, Key, assert_code, bytes, component, http_component, policy, policy_with,
    with_name, with_section,
};

const TOML: &str = "[component]\nname = \"orders\"\nversion = \"1.4.0\"\n\n[permissions.network]\nallowed_hosts = [\"api.example.com\"]\n";

fn request(toml: &str) -> Request {
    Request::from_toml(toml).unwrap()
}

fn facts(wasm: &[u8]) -> Facts {
    inspect(wasm).unwrap_or_else(|refusal| panic!("{refusal}"))
}

#[track_caller]
fn refused(wasm: &[u8], words: &str) {
    let refusal = inspect(wasm).expect_err("this manifest must be refused");
    assert_code(&refusal, RefusalCode::ManifestInvalid, words);
}

/// A manifest that asks for one host.
fn asking(host: &str) -> String {
    format!(
        "[component]\nname = \"orders\"\nversion = \"1.4.0\"\n[permissions.network]\nallowed_hosts = [\"{host}\"]\n"
    )
}

#[test]
fn an_embedded_manifest_is_read_back() {
    let wasm = embed(&http_component(), TOML).unwrap();
    let facts = facts(&wasm);
    assert_eq!(facts.request, Some(request(TOML)));
    assert_eq!(facts.identity(), (Some("orders"), Some("1.4.0")));
    assert_eq!(self::facts(&http_component()).request, None);
}

#[test]
fn embedding_again_replaces_the_manifest_and_nothing_else() {
    let wasm = with_name(http_component(), "orders");
    let once = embed(&wasm, TOML).unwrap();
    let other = asking("other.example.com");
    let twice = embed(&once, &other).unwrap();
    assert_eq!(facts(&twice).request, Some(request(&other)));
    assert_eq!(twice, embed(&wasm, &other).unwrap());
    assert_eq!(embed(&once, TOML).unwrap(), once);
    assert!(once.starts_with(&wasm));
}

#[test]
fn nothing_is_embedded_that_would_be_refused() {
    let refusal = embed(&http_component(), "[component]").unwrap_err();
    assert_code(&refusal, RefusalCode::ManifestInvalid, "component.name");
    let core = wat::parse_str("(module)").unwrap();
    assert_eq!(embed(&core, TOML), Err(Refusal::CoreModule));
    let mut cut = http_component();
    cut.truncate(cut.len() - 3);
    assert!(embed(&cut, TOML).is_err());
    assert!(embed(b"", TOML).is_err());
}

#[test]
fn two_manifests_are_refused_even_when_they_are_the_same() {
    let wasm = with_section(http_component(), NAME, TOML.as_bytes());
    refused(&with_section(wasm, NAME, TOML.as_bytes()), "more than one");
}

#[test]
fn a_manifest_in_a_part_does_not_ask_for_the_whole() {
    let inner = embed(&component(""), TOML).unwrap();
    let outer = |part: &[u8]| {
        let mut section = wasm_encoder::Component::new();
        section.section(&wasm_encoder::RawSection { id: 4, data: part });
        section.finish()
    };
    assert_eq!(facts(&outer(&inner)).request, None);
    let whole = embed(&outer(&inner), &asking("whole.example.com")).unwrap();
    assert_eq!(
        facts(&whole).request,
        Some(request(&asking("whole.example.com")))
    );
    // A core module can hold a section of that name as well.
    let mut module = wasm_encoder::Module::new();
    module.section(&wasm_encoder::CustomSection {
        name: NAME.into(),
        data: TOML.as_bytes().into(),
    });
    let mut whole = wasm_encoder::Component::new();
    whole.section(&wasm_encoder::ModuleSection(&module));
    assert_eq!(facts(&whole.finish()).request, None);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    for (content, words) in [
        (&b"[component\n"[..], "line 1"),
        (
            b"[component]\nname = \"x\"\nversion = \"1\"\nnmae = 1",
            "line 4: unknown key `component.nmae`; valid here are `name`, `version`",
        ),
        (b"\xff\xfe", "not UTF-8"),
        (b"", "component.name"),
    ] {
        refused(&with_section(http_component(), NAME, content), words);
    }
    let large = [TOML.as_bytes(), &b"#".repeat(Request::SIZE_MAX)].concat();
    refused(
        &with_section(http_component(), NAME, &large),
        "write at most 65536",
    );
}

#[test]
fn a_manifest_and_the_binary_say_one_name_and_version() {
    let wasm = embed(&http_component(), TOML).unwrap();
    let same = with_section(with_name(wasm.clone(), "orders"), "version", b"1.4.0\n");
    assert_eq!(facts(&same).identity(), (Some("orders"), Some("1.4.0")));
    refused(
        &with_name(wasm.clone(), "billing"),
        "`component.name` is \"orders\"",
    );
    refused(
        &with_section(wasm, "version", b"9.0.0"),
        "version section says \"9.0.0\"",
    );
}

#[test]
fn a_manifest_leaves_the_component_the_memory_it_begins_with() {
    let limited = |pages: u64| {
        let bytes = pages * 64 * 1024;
        format!("{TOML}[resources.memory]\nmax_memory_bytes = {bytes}\n")
    };
    // Three pages of its own.
    facts(&embed(&http_component(), &limited(3)).unwrap());
    let wasm = embed(&http_component(), &limited(2)).unwrap();
    refused(&wasm, "is 131072, and the component has 196608 bytes");
}

#[test]
fn least_versions_are_judged_by_the_manifest() {
    let key = Key::new();
    let signed =
        |toml: &str| Artifact::new(embed(&http_component(), toml).unwrap()).signed_by(&key);
    let least = |version: &str| {
        [policy_with(&key, |spec| {
            spec["minVersions"] = json!([{"name": "orders", "version": version}]);
        })]
    };
    signed(TOML).judged_by(&least("1.4.0")).unwrap();
    let refusal = signed(TOML).refused_by(&least("1.4.1"));
    assert_code(&refusal, RefusalCode::VersionTooOld, "version 1.4.0");
}

/// What `cosign attest --type https://lighterman.dev/manifest/v1` signs.
fn attestation(key: &Key, artifact: &Artifact, predicate: Value) -> bytes::Bytes {
    let statement = statement(&artifact.digest, PREDICATE_TYPE, predicate);
    bytes(&key.envelope(IN_TOTO, statement.to_string().as_bytes()))
}

/// An artifact that `release` signed, with a manifest that `key` attested.
fn attested(wasm: Vec<u8>, release: &Key, key: &Key, toml: &str) -> Artifact {
    let artifact = Artifact::new(wasm).signed_by(release);
    let bundle = attestation(key, &artifact, json!({"manifest": toml}));
    artifact.with_bundle(bundle)
}

/// Images signed by `release`; manifests by whom `may_grant` says.
fn granting(release: &Key, security: &Key, mode: &str) -> artifact::trust::Policy {
    policy_with(release, |spec| {
        spec["mode"] = json!(mode);
        spec["authorities"].as_array_mut().unwrap().push(json!({
            "name": "security",
            "key": {"data": security.pem()},
            "ctlog": "Ignore",
            "mayGrant": "Manifest",
        }));
    })
}

#[test]
fn an_attested_manifest_stands_for_one_in_the_component() {
    let (release, security) = (Key::new(), Key::new());
    let artifact = attested(http_component(), &release, &security, TOML);
    let judged = artifact
        .judged_by(&[granting(&release, &security, "Enforce")])
        .unwrap();
    assert_eq!(judged.requests(), [request(TOML)]);
    assert_eq!(judged.facts().request, None);
}

#[test]
fn a_manifest_counts_only_from_who_may_grant_it() {
    let (release, security) = (Key::new(), Key::new());
    // Signed by one who may sign, but not grant.
    let artifact = attested(http_component(), &release, &release, TOML);
    let policies = [granting(&release, &security, "Enforce")];
    assert_eq!(artifact.judged_by(&policies).unwrap().requests(), []);
    // By a stranger.
    let artifact = attested(http_component(), &release, &Key::new(), TOML);
    assert_eq!(artifact.judged_by(&policies).unwrap().requests(), []);
    // By one whom only a policy names that never decides.
    let artifact = attested(http_component(), &release, &security, TOML);
    let policies = [
        policy("shop", &[("release", &release)]),
        granting(&release, &security, "Audit"),
    ];
    assert_eq!(artifact.judged_by(&policies).unwrap().requests(), []);
    // About another artifact.
    let other = Artifact::new(component("")).signed_by(&release);
    let bundle = attestation(&security, &other, json!({"manifest": TOML}));
    let artifact = Artifact::new(http_component())
        .signed_by(&release)
        .with_bundle(bundle);
    let policies = [granting(&release, &security, "Enforce")];
    assert_eq!(artifact.judged_by(&policies).unwrap().requests(), []);
}

#[test]
fn an_attested_manifest_is_no_signature() {
    let (release, security) = (Key::new(), Key::new());
    let artifact = Artifact::new(http_component());
    let bundle = attestation(&security, &artifact, json!({"manifest": TOML}));
    let artifact = artifact.with_bundle(bundle);
    let refusal = artifact.refused_by(&[granting(&release, &security, "Enforce")]);
    assert_code(&refusal, RefusalCode::AttestationOnly, PREDICATE_TYPE);
}

#[test]
fn both_manifests_hold_together() {
    let (release, security) = (Key::new(), Key::new());
    let own = embed(&http_component(), &asking("*.example.com")).unwrap();
    let narrower = asking("api.example.com");
    let artifact = attested(own, &release, &security, &narrower);
    let policies = [granting(&release, &security, "Enforce")];
    let judged = artifact.judged_by(&policies).unwrap();
    assert_eq!(
        judged.requests(),
        [request(&asking("*.example.com")), request(&narrower)]
    );
    let effective = Effective {
        requests: judged.requests().to_vec(),
        ..Effective::default()
    };
    let rule = |host: &str| effective.host_may_resolve(&host.parse().unwrap());
    assert_eq!(rule("b.example.com"), Err(capability::Rule::NotRequested));
    assert_eq!(rule("api.example.com"), Err(capability::Rule::NotGranted));
}

#[test]
fn an_attested_manifest_that_cannot_be_read_is_refused_and_not_passed_over() {
    let (release, security) = (Key::new(), Key::new());
    let policies = [granting(&release, &security, "Enforce")];
    for (predicate, words) in [
        (json!({"manifest": "[component"}), "line 1"),
        (json!({"manifest": 7}), "no field `manifest`"),
        (json!([]), "no field `manifest`"),
        (json!(null), "no field `manifest`"),
    ] {
        let artifact = Artifact::new(http_component()).signed_by(&release);
        let bundle = attestation(&security, &artifact, predicate);
        let refusal = artifact.with_bundle(bundle).refused_by(&policies);
        assert_code(&refusal, RefusalCode::ManifestInvalid, words);
    }
}

#[test]
fn a_right_that_is_not_known_closes_the_policy() {
    let key = Key::new();
    let spec = |right: Value| {
        let mut spec = crate::support::spec(&[("release", &key)]);
        spec["authorities"][0]["mayGrant"] = right;
        artifact::trust::Policy::parse("shop", &spec)
    };
    assert!(spec(json!("Manifest")).is_ok());
    assert!(spec(json!("Everything")).is_err());
    assert!(spec(json!(true)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_section_makes_the_reader_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = inspect(&with_section(component(""), NAME, &content));
    }

    #[test]
    fn no_damage_makes_the_writer_panic(
        at in any::<prop::sample::Index>(), byte in any::<u8>(), length in any::<prop::sample::Index>(),
    ) {
        let mut wasm = embed(&http_component(), TOML).unwrap();
        let at = at.index(wasm.len());
        wasm[at] = byte;
        wasm.truncate(length.index(wasm.len() + 1).max(at));
        if let Ok(written) = embed(&wasm, TOML) {
            // What was written has the manifest, or is refused for what was wrong before.
            if let Ok(facts) = inspect(&written) {
                prop_assert_eq!(facts.request, Some(request(TOML)));
            }
        }
        let _ = inspect(&wasm);
    }

    #[test]
    fn no_bytes_make_the_writer_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = embed(&bytes, TOML);
        let _ = embed(&[b"\0asm\x0d\0\x01\0", bytes.as_slice()].concat(), TOML);
    }
}
