//! Keys: made once, kept from others, never shown.

use std::os::unix::fs::PermissionsExt;

use super::program::Home;

#[test]
fn the_private_key_is_its_owners_and_the_policy_is_good() {
    let home = Home::new();
    let policy = home.keygen("registry.example/shop/**");
    let mode = std::fs::metadata(home.path("cosign.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    home.run(&["check", &policy]).success();
    let text = std::fs::read_to_string(policy).unwrap();
    assert!(
        text.contains("registry.example/shop/**") && !text.contains("PRIVATE"),
        "{text}"
    );
}

#[test]
fn a_key_is_never_replaced() {
    let home = Home::new();
    home.keygen("registry.example/**");
    let before = std::fs::read(home.path("cosign.key")).unwrap();
    home.run(&["keygen"])
        .fails(3, &["cosign.key exists already", "mend"]);
    assert_eq!(std::fs::read(home.path("cosign.key")).unwrap(), before);
}

#[test]
fn a_password_has_to_be_chosen() {
    let home = Home::new();
    let output = home
        .command(&["keygen"])
        .env_remove("COSIGN_PASSWORD")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("COSIGN_PASSWORD")
    );
    assert!(!home.path("cosign.key").exists());
}

#[test]
fn a_wrong_password_is_told_before_anything_is_pushed() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    assert!(
        home.command(&["keygen"])
            .env("COSIGN_PASSWORD", "right")
            .output()
            .unwrap()
            .status
            .success()
    );
    let image = format!("{address}/hello:1");
    home.run(&[
        "push",
        &image,
        &super::program::hello(),
        "--sign",
        "cosign.key",
    ])
    .fails(2, &["COSIGN_PASSWORD"]);
    home.run(&["inspect", &image]).fails(3, &["does not exist"]);
}
