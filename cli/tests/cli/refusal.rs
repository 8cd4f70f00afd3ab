//! `run` refuses what a cluster refuses, with its reason and its mend, before anything starts.

use super::program::{Home, component, hello};

#[test]
fn an_unsigned_image_is_refused_as_unsigned() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello()]).success();
    let file = home.write("hello.yaml", component(&image));
    home.run(&["run", &file, &trust])
        .fails(1, &["default/hello", "Unsigned", "lighterman sign"]);
}

#[test]
fn an_image_that_no_policy_covers_is_refused_without_asking_its_registry() {
    let home = Home::new();
    let file = home.write("hello.yaml", component("registry.invalid/hello:1"));
    home.run(&["run", &file])
        .fails(1, &["NoPolicyMatches", "mend: add a TrustPolicy"]);
}

#[test]
fn a_registry_that_does_not_answer_is_no_verdict() {
    let home = Home::new();
    let trust = home.keygen("127.0.0.1:9/**");
    let file = home.write("hello.yaml", component("127.0.0.1:9/hello:1"));
    home.run(&["run", &file, &trust])
        .fails(3, &["RegistryUnreachable"]);
}

#[test]
fn a_tampered_layer_is_refused_as_another_digest() {
    let home = Home::new();
    // The digest of the component, from a layout that holds it.
    let pushed = home
        .run(&["push", "oci:out", &hello(), "-o", "json"])
        .success()
        .json();
    let manifest = pushed["digest"]
        .as_str()
        .unwrap()
        .trim_start_matches("sha256:")
        .to_owned();
    let manifest = std::fs::read(home.path("out/blobs/sha256").join(manifest)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().to_owned();

    let (_registry, address) = home.registry(&[&format!("/v2/hello/blobs/{layer}=corrupt")]);
    let trust = home.keygen(&format!("{address}/**"));
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let file = home.write("hello.yaml", component(&image));
    let ended = home.run(&["run", &file, &trust]);
    assert_ne!(ended.code, Some(0));
    assert!(ended.stderr.contains("DigestMismatch"), "{ended:?}");
}

#[test]
fn a_secret_that_is_not_in_the_files_is_named() {
    let home = Home::new();
    let file = home.write(
        "hello.yaml",
        format!(
            "{}  env:\n  - name: TOKEN\n    valueFrom: {{secretKeyRef: {{name: hidden, key: token}}}}\n",
            component("registry.example/hello:1")
        ),
    );
    let build = format!("hello={}", hello());
    home.run(&["run", &file, "--set-image", &build])
        .fails(1, &["SecretMissing", "hidden"]);
}
