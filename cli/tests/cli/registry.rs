//! The development registry as a command.

use super::program::{Home, hello};

#[test]
fn it_serves_on_loopback_only() {
    Home::new()
        .run(&["registry", "--listen", "0.0.0.0:0"])
        .fails(2, &["loopback"]);
}

#[test]
fn it_misbehaves_as_it_is_told_and_that_is_no_verdict() {
    let home = Home::new();
    let (_registry, address) = home.registry(&["/v2/hello/manifests/*=status:503"]);
    home.run(&["inspect", &format!("{address}/hello:1")])
        .fails(3, &["503"]);
}

#[test]
fn without_the_referrers_api_signatures_are_found_by_their_tag() {
    let home = Home::new();
    let (_registry, address) = home.registry(&["no-referrers"]);
    home.keygen("registry.example/**");
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    home.run(&["verify", &image, "--key", "cosign.pub"])
        .success();
}

#[test]
fn a_wrong_fault_is_told_with_those_there_are() {
    Home::new()
        .run(&["registry", "--fault", "nonsense"])
        .fails(2, &["nonsense", "rate-limited"]);
}

#[test]
fn ctrl_c_ends_it_well() {
    let home = Home::new();
    let (registry, _) = home.registry(&[]);
    assert_eq!(registry.interrupt(), Some(0));
}
