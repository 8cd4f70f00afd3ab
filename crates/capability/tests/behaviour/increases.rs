//! What a version asks for beyond the approved one.

use capability::{Increase, approval_hash, increases};

use crate::given::{manifest, sample};

fn shown(old: &[capability::Request], new: &[capability::Request]) -> Vec<String> {
    increases(old, new)
        .iter()
        .map(Increase::to_string)
        .collect()
}

#[test]
fn asking_for_the_same_or_less_is_no_increase() {
    assert_eq!(increases(&[sample()], &[sample()]), []);
    let wide = manifest(
        "[permissions.filesystem]\nreadable_paths = [\"/data/**\"]\nwritable_paths = [\"/data/**\"]\n[permissions.network]\nallowed_hosts = [\"*.example.com\"]",
    );
    assert_eq!(
        shown(std::slice::from_ref(&wide), &[sample()]),
        Vec::<String>::new()
    );
    assert_eq!(
        shown(&[sample()], &[wide]),
        [
            "read /data/**",
            "write /data/**",
            "connect *.example.com",
            "max_memory_bytes from 2097152 to none",
        ]
    );
}

#[test]
fn a_manifest_of_nothing_asks_for_less_than_none() {
    assert_eq!(increases(&[], &[sample()]), []);
    assert_eq!(increases(&[], &[]), []);
    assert_eq!(increases(&[manifest("")], &[]), [Increase::NoManifest]);
}

#[test]
fn an_attestation_that_narrows_is_no_increase_and_its_end_is_one() {
    let narrow = manifest(
        "[permissions.network]\nallowed_hosts = [\"https://api.example.com\"]\n[resources.memory]\nmax_memory_bytes = 2097152",
    );
    let both = [sample(), narrow.clone()];
    assert_eq!(increases(&[narrow], &both), []);
    let lost = shown(&both, &[sample()]);
    assert_eq!(
        lost,
        [
            "read /data/input/**",
            "write /data/output/**",
            "connect api.example.com"
        ]
    );
}

#[test]
fn raised_limits_are_an_increase() {
    let of = |bytes: u64| manifest(&format!("[resources.memory]\nmax_memory_bytes = {bytes}"));
    assert_eq!(increases(&[of(131_072)], &[of(65_536)]), []);
    assert_eq!(
        shown(&[of(65_536)], &[of(131_072)]),
        ["max_memory_bytes from 65536 to 131072"]
    );
    let fuel = |fuel: u64| {
        manifest(&format!(
            "[resources.cpu]\nmax_fuel = {fuel}\nmax_time_ms = {fuel}"
        ))
    };
    assert_eq!(shown(&[fuel(10_000)], &[fuel(20_000)]).len(), 2);
}

#[test]
fn an_approval_is_for_one_artifact_and_one_set_of_requests() {
    let hash = approval_hash("sha256:aa", &[sample()]);
    assert_eq!(hash.len(), 32);
    assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(hash, approval_hash("sha256:ab", &[sample()]));
    assert_ne!(hash, approval_hash("sha256:aa", &[]));
    assert_ne!(hash, approval_hash("sha256:aa", &[sample(), manifest("")]));
    let mut other = sample();
    other.limits.memory = None;
    assert_ne!(hash, approval_hash("sha256:aa", &[other]));

    let mut shuffled = sample();
    shuffled.filesystem.read.push("/a".parse().unwrap());
    let mut sorted = shuffled.clone();
    sorted.filesystem.read.reverse();
    let hash = |requests: &[capability::Request]| approval_hash("sha256:aa", requests);
    assert_eq!(hash(&[shuffled.clone()]), hash(&[sorted.clone()]));
    assert_eq!(
        hash(&[shuffled.clone(), manifest("")]),
        hash(&[manifest(""), sorted])
    );
}
