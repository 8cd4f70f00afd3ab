//! push, sign, verify: the cluster's verdict at the developer's desk.

use super::program::{Home, hello};

#[test]
fn what_was_pushed_unsigned_is_refused_until_it_is_signed() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/hello:1");
    let pushed = home.run(&["push", &image, &hello()]).success();
    assert!(pushed.stdout.contains("lighterman sign"), "{pushed:?}");
    home.run(&["verify", &image, "--policy", &trust])
        .fails(1, &["Unsigned", "lighterman sign"]);

    home.run(&["sign", &image, "--key", "cosign.key"]).success();
    let verdict = home
        .run(&["verify", &image, "--policy", &trust, "-o", "json"])
        .success()
        .json();
    assert_eq!(verdict["signers"][0]["policy"], "cosign");
    home.run(&["verify", &image, "--key", "cosign.pub"])
        .success();
}

#[test]
fn a_signature_by_another_key_is_refused_as_invalid() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    home.keygen("registry.example/**");
    home.run(&["keygen", "--prefix", "other"]).success();
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "other.key"])
        .success();
    home.run(&["verify", &image, "--key", "cosign.pub"])
        .fails(1, &["SignatureInvalid"]);
}

#[test]
fn a_policy_for_other_images_does_not_admit_this_one() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen("registry.example/**");
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    home.run(&["verify", &image, "--policy", &trust])
        .fails(1, &["no TrustPolicy covers"]);
}

#[test]
fn signatures_that_cannot_be_looked_up_are_no_verdict() {
    let home = Home::new();
    let (_registry, address) = home.registry(&["/v2/hello/referrers/*=status:500"]);
    home.keygen("registry.example/**");
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello()]).success();
    home.run(&["verify", &image, "--key", "cosign.pub"])
        .fails(3, &["could not be found out"]);
}

#[test]
fn a_private_key_in_the_place_of_a_public_one_is_told_and_not_shown() {
    let home = Home::new();
    home.keygen("registry.example/**");
    let secret = std::fs::read_to_string(home.path("cosign.key")).unwrap();
    let ended = home
        .run(&["verify", "127.0.0.1:9/hello:1", "--key", "cosign.key"])
        .fails(2, &["private key"]);
    let line = secret.lines().nth(1).unwrap();
    assert!(!ended.stderr.contains(line) && !ended.stdout.contains(line));
}

#[test]
fn a_file_in_the_place_of_a_reference_is_told_apart() {
    let home = Home::new();
    home.keygen("registry.example/**");
    home.run(&["verify", &hello(), "--key", "cosign.pub"])
        .fails(2, &["is a file", "oci:"]);
    home.run(&["inspect", "absent.wasm"])
        .fails(2, &["no file absent.wasm"]);
}
