//! Whose credentials the program uses on the machine of who types: those of
//! `docker login`, also when a credential helper keeps them.

use std::os::unix::fs::symlink;

use registry::Credentials;
use registry::development::{Access, Account, DevelopmentRegistry, Options};
use serde_json::json;

use crate::program::Home;

/// A registry that lets nobody in but `ann`, with `shop/orders:1`; its address.
async fn private() -> (DevelopmentRegistry, String) {
    let options = Options {
        access: Access::Basic(vec![Account::new("ann", "right")]),
        ..Options::default()
    };
    let registry = DevelopmentRegistry::start("127.0.0.1:0".parse().unwrap(), options)
        .await
        .unwrap();
    let address = registry.addr().to_string();
    let wasm = wat::parse_str("(component (core module (memory 1)))").unwrap();
    let image = format!("{address}/shop/orders:1").parse().unwrap();
    registry::Client::new(registry::Config::default())
        .unwrap()
        .push(
            &image,
            wasm.into(),
            &Default::default(),
            &Credentials::basic("ann", "right"),
        )
        .await
        .unwrap();
    (registry, address)
}

/// Runs `lighterman inspect` with a helper called `test` that does what `script`
/// says. The helper is the shell itself, which runs a file `get` for `get`: a
/// program that was only just written may still be busy elsewhere.
fn inspect(home: &Home, address: &str, config: serde_json::Value, script: &str) -> (i32, String) {
    std::fs::create_dir_all(home.path(".docker")).unwrap();
    home.write(".docker/config.json", config.to_string());
    home.write("get", script);
    let bin = home.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let _there = symlink("/bin/sh", bin.join("docker-credential-test"));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = home
        .command(&["inspect", &format!("{address}/shop/orders:1")])
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_helper_of_the_developer_is_asked() {
    let (_registry, address) = private().await;
    let home = Home::new();
    let answer = r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"ann\",\"Secret\":\"right\"}"; echo $server > asked"#;
    for config in [
        json!({"credsStore": "test", "auths": {&address: {}}}),
        json!({"credHelpers": {&address: "test"}}),
    ] {
        let (code, said) = inspect(&home, &address, config, answer);
        assert_eq!(code, 0, "{said}");
        let asked = std::fs::read_to_string(home.path("asked")).unwrap();
        assert_eq!(asked.trim(), address);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_has_nothing_leaves_the_word_to_the_file() {
    let (_registry, address) = private().await;
    let home = Home::new();
    let config = json!({
        "credsStore": "test",
        "auths": {&address: {"username": "ann", "password": "right"}},
    });
    let nothing = "echo credentials not found in native keychain; exit 1";
    let (code, said) = inspect(&home, &address, config, nothing);
    assert_eq!(code, 0, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_fails_is_named_and_its_words_are_kept() {
    let (_registry, address) = private().await;
    let home = Home::new();
    let config = json!({"credsStore": "test"});
    for (script, expected) in [
        ("echo hunter2; exit 3", "exit status: 3"),
        ("echo hunter2", "did not answer with a user name"),
        (
            r#"echo '{"ServerURL":"x","Username":"<token>","Secret":"hunter2"}'"#,
            "identity token",
        ),
    ] {
        let (code, said) = inspect(&home, &address, config.clone(), script);
        assert_eq!(code, 3, "{said}");
        assert!(said.contains("docker-credential-test"), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let config = json!({"credsStore": "not-installed"});
    let (code, said) = inspect(&home, &address, config, "");
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("docker-credential-not-installed"), "{said}");
}
