//! An OCI layout directory is a registry that can be carried.

use super::program::{Home, hello};

#[test]
fn a_directory_holds_what_a_registry_would_with_its_signature() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    home.keygen("registry.example/**");
    let pushed = home
        .run(&["push", "oci:out", &hello(), "-o", "json"])
        .success()
        .json();
    let elsewhere = home
        .run(&[
            "push",
            &format!("{address}/hello:1"),
            &hello(),
            "-o",
            "json",
        ])
        .success()
        .json();
    assert_eq!(pushed["digest"], elsewhere["digest"]);

    home.run(&["verify", "oci:out", "--key", "cosign.pub"])
        .fails(1, &["Unsigned"]);
    home.run(&["sign", "oci:out", "--key", "cosign.key"])
        .success();
    let verdict = home
        .run(&["verify", "oci:out", "--key", "cosign.pub", "-o", "json"])
        .success()
        .json();
    assert_eq!(verdict["digest"], pushed["digest"]);
}

#[test]
fn a_damaged_directory_is_not_taken_for_the_component() {
    let home = Home::new();
    let pushed = home
        .run(&["push", "oci:out", &hello(), "-o", "json"])
        .success()
        .json();
    let hex = pushed["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    std::fs::write(home.path("out/blobs/sha256").join(hex), "{}").unwrap();
    home.run(&["inspect", "oci:out"]).fails(3, &["digest"]);
}
