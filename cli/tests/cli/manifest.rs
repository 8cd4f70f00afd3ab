//! A manifest is put in by `push`, shown by `inspect` and read strictly everywhere.

use super::program::{Home, hello, repository};

fn data_processor(file: &str) -> String {
    let folder = repository("examples/data-processor");
    folder.join(file).display().to_string()
}

#[test]
fn push_puts_the_manifest_in_and_inspect_shows_it_with_the_grant_it_takes() {
    let home = Home::new();
    let pushed = home
        .run(&[
            "push",
            "oci:out",
            &data_processor("data-processor.wasm"),
            "--manifest",
            &data_processor("Component.toml"),
            "-o",
            "json",
        ])
        .success()
        .json();
    let asks = [
        "read /data/input/**",
        "write /data/output/**",
        "connect api.example.com",
    ];
    assert_eq!(pushed["manifest"]["name"], "data-processor");
    assert_eq!(pushed["manifest"]["requires"], serde_json::json!(asks));

    let found = home.run(&["inspect", "oci:out", "-o", "json"]).success();
    let found = found.json();
    assert_eq!(found["manifest"], pushed["manifest"]);
    assert_eq!(found["request"]["limits"]["memory"], "2Mi");

    let shown = home.run(&["inspect", "oci:out"]).success().stdout;
    for text in asks {
        assert!(shown.contains(text), "{shown}");
    }
    assert!(shown.contains("host: api.example.com"), "{shown}");
}

#[test]
fn the_yaml_that_inspect_proposes_is_good_yaml() {
    let home = Home::new();
    let (wasm, manifest) = (
        data_processor("data-processor.wasm"),
        data_processor("Component.toml"),
    );
    home.run(&["push", "oci:out", &wasm, "--manifest", &manifest])
        .success();
    let found = home.run(&["inspect", "oci:out", "-o", "json"]).success();
    let grant = found.json()["grant"].as_str().unwrap().to_owned();
    let file = home.write(
        "granted.yaml",
        super::program::component("registry.example/data:1") + &grant,
    );
    home.run(&["check", &file]).success();
}

#[test]
fn a_component_without_a_manifest_is_said_to_have_none_and_one_at_hand_is_pointed_at() {
    let home = Home::new();
    let pushed = home.run(&["push", "oci:a", &hello()]).success().stdout;
    assert!(pushed.contains("no manifest"), "{pushed}");
    assert!(!pushed.contains("--manifest"), "{pushed}");

    home.write("Component.toml", "[component]\nname = \"hello\"\n");
    let pushed = home.run(&["push", "oci:b", &hello()]).success().stdout;
    assert!(pushed.contains("--manifest Component.toml"), "{pushed}");
}

#[test]
fn a_manifest_that_cannot_be_read_is_refused_before_anything_is_pushed() {
    let home = Home::new();
    let manifest = home.write(
        "Component.toml",
        "[component]\nname = \"hello\"\nversion = \"1.0.0\"\n[permissions.network]\nallowed_host = [\"a.example\"]\n",
    );
    home.run(&["push", "oci:out", &hello(), "--manifest", &manifest])
        .fails(
            1,
            &[
                "line 5",
                "permissions.network.allowed_host",
                "`allowed_hosts`",
            ],
        );
    assert!(!home.path("out").exists());
    let checked = home.run(&["check", &manifest]).fails(1, &[]);
    assert!(checked.stdout.contains("allowed_hosts"), "{checked:?}");
}

#[test]
fn a_manifest_for_another_component_is_refused() {
    let home = Home::new();
    let manifest = home.write(
        "Component.toml",
        "[component]\nname = \"goodbye\"\nversion = \"1.0.0\"\n",
    );
    home.run(&["push", "oci:out", &hello(), "--manifest", &manifest])
        .fails(1, &["goodbye", "hello"]);
}

#[test]
fn the_manifests_of_the_examples_are_good() {
    let home = Home::new();
    for name in ["data-processor", "releases"] {
        let file = repository("examples").join(name).join("Component.toml");
        let checked = home.run(&["check", &file.display().to_string()]).success();
        assert!(checked.stdout.contains("1 manifest"), "{checked:?}");
    }
}
