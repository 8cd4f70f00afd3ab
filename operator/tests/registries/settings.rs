//! Flags and files of the platform: what they open, and what is wrong with them.

use std::path::{Path, PathBuf};

use clap::Parser;
use operator::args::RegistryArgs;
use operator::registries;
use registry::development::Access;
use registry::{Credentials, Error};

use crate::fixture::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    registries: RegistryArgs,
}

fn flags(arguments: &[&str]) -> Result<RegistryArgs, String> {
    Flags::try_parse_from([&["operator"], arguments].concat())
        .map(|flags| flags.registries)
        .map_err(|error| error.to_string())
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("registries.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

async fn wrong(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), text);
    let arguments = flags(&["--registry-config", path.to_str().unwrap()]).unwrap();
    match registries::open(arguments).await {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} is accepted"),
    }
}

fn configuration(registries: &str) -> String {
    format!(
        "apiVersion: lighterman.dev/v1alpha1\nkind: RegistryConfiguration\nregistries: {registries}\n"
    )
}

#[tokio::test]
async fn nothing_is_pulled_from_a_private_network_without_leave() {
    let world = World::start(Access::Open).await;
    let (image, digest) = world.publish("shop/orders:1").await;
    let anonymous = Credentials::anonymous();
    let (client, _) = registries::open(flags(&[]).unwrap()).await.unwrap();
    let error = client.resolve(&image, &anonymous).await.unwrap_err();
    assert!(matches!(error, Error::PrivateRefused { .. }), "{error:?}");

    // What the message says to type works.
    let message = error.to_string();
    let flag = message
        .split(' ')
        .find(|word| word.starts_with("--"))
        .unwrap();
    let (client, _) = registries::open(flags(&[flag]).unwrap()).await.unwrap();
    assert_eq!(client.resolve(&image, &anonymous).await.unwrap(), digest);
}

#[tokio::test]
async fn a_mirror_of_the_file_stands_in_for_its_registry() {
    let world = World::start(Access::Open).await;
    let (_, digest) = world.publish("hub/shop/orders:1").await;
    let folder = tempfile::tempdir().unwrap();
    let mirror = format!("http://{}/hub", world.registry.addr());
    let entry = format!("[{{host: Upstream.example, mirrors: ['{mirror}'], upstream: Never}}]");
    let path = file(folder.path(), &configuration(&entry));
    let arguments = flags(&["--registry-config", path.to_str().unwrap()]).unwrap();
    let (client, _) = registries::open(arguments).await.unwrap();
    let upstream = "upstream.example/shop/orders:1".parse().unwrap();
    let anonymous = Credentials::anonymous();
    let found = client.resolve(&upstream, &anonymous).await.unwrap();
    assert_eq!(found, digest);
}

#[tokio::test]
async fn a_file_that_makes_no_sense_says_which_entry_and_why() {
    for (text, expected) in [
        (
            "kind: Pod".to_owned(),
            "cannot be read as RegistryConfiguration",
        ),
        (configuration("[{host: a.example, mirror: []}]"), "mirror"),
        (configuration("[{host: a.example/x}]"), "HOST or HOST:PORT"),
        (
            configuration("[{host: 'https://a.example'}]"),
            "HOST or HOST:PORT",
        ),
        (
            configuration("[{host: a.example, mirrors: [\"ftp://b.example\"]}]"),
            "is no mirror",
        ),
        (
            configuration("[{host: a.example, upstream: Never}]"),
            "leaves nobody to ask",
        ),
        (
            configuration("[{host: a.example}, {host: A.example}]"),
            "second time",
        ),
        (
            configuration("[{host: docker.io}, {host: index.docker.io}]"),
            "second time",
        ),
    ] {
        let message = wrong(&text).await;
        assert!(message.contains(expected), "{text}: {message}");
        assert!(message.contains("--registry-config"), "{message}");
    }
    let text = configuration("[{host: a.example, certificateAuthorities: nonsense}]");
    let message = wrong(&text).await;
    assert!(message.contains("registry client"), "{message}");
}

#[tokio::test]
async fn credentials_of_mirrors_go_over_tls_only() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("config.json");
    let text = r#"{"auths": {"mirror.example/hub": {"username": "u", "password": "p"}}}"#;
    std::fs::write(&secret, text).unwrap();
    let open = async |mirror: &str| {
        let entry = format!("[{{host: a.example, mirrors: ['{mirror}']}}]");
        let path = file(folder.path(), &configuration(&entry));
        let arguments = [
            "--registry-config",
            path.to_str().unwrap(),
            "--registry-mirror-credentials",
            secret.to_str().unwrap(),
        ];
        let opened = registries::open(flags(&arguments).unwrap()).await;
        opened.map(drop).map_err(|error| error.to_string())
    };
    open("https://mirror.example/hub").await.unwrap();
    open("http://mirror.example/other").await.unwrap();
    let message = open("http://mirror.example/hub").await.unwrap_err();
    assert!(
        message.contains("in the clear; write https://"),
        "{message}"
    );
    std::fs::write(&secret, "no secret").unwrap();
    let message = open("https://mirror.example/hub").await.unwrap_err();
    assert!(
        message.contains("--registry-mirror-credentials"),
        "{message}"
    );
}

#[tokio::test]
async fn credential_providers_need_both_flags_and_programs_that_are_there() {
    let message = flags(&["--image-credential-provider-config", "x"]).unwrap_err();
    assert!(
        message.contains("--image-credential-provider-bin-dir"),
        "{message}"
    );
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: ecr-credential-provider\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: ['*.dkr.ecr.*.amazonaws.com']\n  defaultCacheDuration: 12h\n";
    let path = file(folder.path(), text);
    let config = ["--image-credential-provider-config", path.to_str().unwrap()];
    let missing = ["--image-credential-provider-bin-dir", "/nowhere"];
    let arguments = flags(&[config, missing].concat()).unwrap();
    let Err(error) = registries::open(arguments).await else {
        panic!("a program that is not there is accepted");
    };
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.contains("/nowhere/ecr-credential-provider"),
        "{source}"
    );
    std::fs::write(folder.path().join("ecr-credential-provider"), "").unwrap();
    let here = [
        "--image-credential-provider-bin-dir",
        folder.path().to_str().unwrap(),
    ];
    let arguments = flags(&[config, here].concat()).unwrap();
    assert!(registries::open(arguments).await.unwrap().1.is_some());
}

#[test]
fn a_leave_that_says_nothing_is_refused_on_the_command_line() {
    for text in ["*.example", "https://registry.lan", "10.0.0.0/99"] {
        let message = flags(&["--registry-private", text]).unwrap_err();
        assert!(message.contains(text), "{message}");
    }
}
