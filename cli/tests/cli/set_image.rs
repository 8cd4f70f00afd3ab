//! `--set-image` runs a local build under the development key, and nothing else under it.

use super::program::{Home, component, get, hello, hello_v2};

#[test]
fn a_local_build_serves_and_a_new_build_takes_over() {
    let home = Home::new();
    let file = home.write("hello.yaml", component("registry.example/hello:1"));
    let build = home.write("build.wasm", std::fs::read(hello()).unwrap());
    let set = format!("hello={build}");
    let running = home.start(&[
        "run",
        &file,
        "--set-image",
        &set,
        "--port",
        &Home::port(),
        "--poll",
        "200ms",
        "-o",
        "json",
    ]);
    assert_eq!(running.event("preparing")["signers"][0], "development");
    let url = running.event("serving")["urls"][0]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(get(&url).contains("version: 1"));

    home.write("build.wasm", std::fs::read(hello_v2()).unwrap());
    running.event("serving");
    assert!(get(&url).contains("version: 2"));
    assert_eq!(running.interrupt(), Some(0));
    assert!(home.path(".config/lighterman/development.key").exists());
}

#[test]
fn a_build_for_no_component_is_told_with_those_there_are() {
    let home = Home::new();
    let file = home.write("hello.yaml", component("registry.example/hello:1"));
    let set = format!("other={}", hello());
    home.run(&["run", &file, "--set-image", &set])
        .fails(2, &["other", "name one of hello"]);
}

#[test]
fn the_development_key_admits_nothing_but_local_builds() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let file = home.write("hello.yaml", component(&format!("{address}/hello:1")));
    let set = format!("hello={}", hello());
    // Makes the key.
    home.start(&[
        "run",
        &file,
        "--set-image",
        &set,
        "--port",
        &Home::port(),
        "-o",
        "json",
    ])
    .event("serving");
    let key = home
        .path(".config/lighterman/development.key")
        .display()
        .to_string();
    home.run(&[
        "push",
        &format!("{address}/hello:1"),
        &hello(),
        "--sign",
        &key,
    ])
    .success();
    home.run(&["run", &file]).fails(1, &["NoPolicyMatches"]);
}
