//! `trust init` and the reports of `verify`.

use super::program::{Home, hello};

const EMPTY_ROOT: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

#[test]
fn the_policy_for_a_key_admits_what_the_key_signed() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    home.keygen("registry.example/**");
    let images = format!("{address}/**");
    let init = ["trust", "init", "--key", "cosign.pub", "--images", &images];
    let policy = home.write("policy.yaml", home.run(&init).success().stdout);
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let verdict = home
        .run(&["verify", &image, "--policy", &policy])
        .success()
        .stdout;
    for text in [
        "verified ",
        "policy   release: satisfied",
        "release signed: key ",
    ] {
        assert!(verdict.contains(text), "no {text:?} in {verdict}");
    }
}

#[test]
fn the_policy_for_an_organisation_is_good_and_names_its_workflows_only() {
    let home = Home::new();
    let printed = home
        .run(&["trust", "init", "--github", "Acme-Corp"])
        .success();
    let policy = home.write("policy.yaml", &printed.stdout);
    home.run(&["check", &policy]).success();
    for text in [
        "ghcr.io/acme-corp/**",
        "name: acme-corp",
        "github[.]com/Acme-Corp/",
    ] {
        assert!(printed.stdout.contains(text), "no {text:?} in {printed:?}");
    }
    home.run(&["trust", "init", "--github", "acme/orders"])
        .fails(2, &["no name of an organisation"]);
}

#[test]
fn the_policy_for_a_sigstore_of_ones_own_brings_its_root() {
    let home = Home::new();
    let root = home.write("root.json", EMPTY_ROOT);
    let init = [
        "trust",
        "init",
        "--trusted-root",
        &root,
        "--issuer",
        "https://login.acme.example",
        "--identity",
        "release@acme.example",
    ];
    let policy = home.write("policy.yaml", home.run(&init).success().stdout);
    home.run(&["check", &policy]).success();

    let (_registry, address) = home.registry(&[]);
    let text = std::fs::read_to_string(&policy).unwrap();
    let text = text.replace("registry.example/**", &format!("{address}/**"));
    let policy = home.write("here.yaml", &text);
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello()]).success();
    home.run(&["verify", &image, "--policy", &policy])
        .fails(1, &["Unsigned", "release@acme.example"]);

    // Without the ConfigMap nothing is found out, which is no verdict.
    let alone = text.split_once("---\n").unwrap().1;
    let alone = home.write("alone.yaml", alone);
    let ended = home
        .run(&["verify", &image, "--policy", &alone])
        .fails(3, &["RootUnavailable", "ConfigMap sigstore-root"]);
    assert!(ended.stdout.starts_with("unknown "), "{ended:?}");
}

#[test]
fn a_root_that_is_none_and_half_an_identity_are_told() {
    let home = Home::new();
    let root = home.write("root.json", "{}");
    let init = ["trust", "init", "--trusted-root", &root];
    home.run(&init).fails(2, &["--issuer"]);
    let identity = ["--issuer", "https://login.acme.example", "--identity", "a"];
    home.run(&[&init[..], &identity].concat())
        .fails(2, &["no usable trusted_root.json"]);
    home.run(&["trust", "init"]).fails(2, &["--github"]);
}

#[test]
fn a_refusal_says_what_each_policy_and_each_authority_found() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let first = home.keygen(&format!("{address}/**"));
    home.run(&["keygen", "--prefix", "other"]).success();
    let images = format!("{address}/**");
    let second = home
        .run(&[
            "trust",
            "init",
            "--key",
            "other.pub",
            "--name",
            "second",
            "--images",
            &images,
        ])
        .success()
        .stdout;
    let second = home.write("second.yaml", second);
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let verify = ["verify", &image, "--policy", &first, "--policy", &second];
    let ended = home.run(&verify).fails(1, &["SignatureInvalid"]);
    for text in [
        "refused ",
        "policy   cosign: satisfied",
        "policy   second: refuses, SignatureInvalid",
        "second did not sign: found a signature by another key",
    ] {
        assert!(
            ended.stdout.contains(text),
            "no {text:?} in {}",
            ended.stdout
        );
    }
    let json = home.run(&[&verify[..], &["-o", "json"]].concat()).json();
    assert_eq!(json["verdict"], "refused");
    assert_eq!(json["policies"][0]["verdict"], "admitted");
    assert_eq!(json["policies"][1]["reason"], "SignatureInvalid");
}

#[test]
fn policies_that_select_namespaces_are_given_their_labels() {
    let home = Home::new();
    let (_registry, address) = home.registry(&[]);
    let policy = home.keygen(&format!("{address}/**"));
    let text = std::fs::read_to_string(&policy).unwrap();
    let text = text.replace(
        "spec:\n",
        "spec:\n  namespaceSelector: {matchLabels: {team: shop}}\n",
    );
    let policy = home.write("selecting.yaml", text);
    let image = format!("{address}/hello:1");
    home.run(&["push", &image, &hello(), "--sign", "cosign.key"])
        .success();
    let verify = ["verify", &image, "--policy", &policy];
    home.run(&verify).fails(1, &["NoPolicyMatches"]);
    home.run(&[&verify[..], &["--namespace-label", "team=shop"]].concat())
        .success();
}
