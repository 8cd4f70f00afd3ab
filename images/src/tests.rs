//! Images as a whole: the same ones each time, in a layout and in a registry.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use registry::development::{DevelopmentRegistry, Options};
use serde_json::Value;

use super::*;
use crate::args::Programs;

fn built() -> Vec<Built> {
    let args = BuildArgs {
        programs: Programs::Shipping,
        output: PathBuf::new(),
        version: "1.2.3".to_owned(),
    };
    Recipe::all()
        .iter()
        .map(|recipe| build(recipe, Bytes::from_static(b"program"), &args).unwrap())
        .collect()
}

fn digests(built: &[Built]) -> Vec<artifact::Digest> {
    built
        .iter()
        .flat_map(|built| [built.image.digest(), built.materials.digest()])
        .collect()
}

#[test]
fn the_same_programs_give_the_same_images() {
    assert_eq!(digests(&built()), digests(&built()));
}

#[test]
fn an_image_starts_its_program_as_a_user_that_is_not_root() {
    for built in built() {
        let [config, _layer] = built.image.blobs.as_slice() else {
            panic!("{} has other blobs than config and layer", built.name)
        };
        let config: Value = serde_json::from_slice(config).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        let entrypoint = config["config"]["Entrypoint"][0].as_str().unwrap();
        assert!(entrypoint.starts_with("/lighterman"), "{entrypoint}");
    }
}

#[test]
fn a_layout_gives_back_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let built = built();
    write(&built, folder.path(), "1.2.3").unwrap();
    let read = layout::read_images(folder.path()).unwrap();
    let names: Vec<Option<&str>> = read.iter().map(|(name, _)| name.as_deref()).collect();
    assert_eq!(
        names,
        [
            Some("operator:1.2.3"),
            None,
            Some("agent:1.2.3"),
            None,
            Some("lighterman:1.2.3"),
            None
        ]
    );
    let read: Vec<_> = read.iter().map(|(_, image)| image.digest()).collect();
    assert_eq!(read, digests(&built));
}

#[tokio::test]
async fn a_pushed_image_is_found_by_its_tag_and_its_materials_beside_it() {
    for referrers in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let built = built();
        write(&built, folder.path(), "1.2.3").unwrap();
        let registry = DevelopmentRegistry::start(
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            Options {
                referrers,
                ..Options::default()
            },
        )
        .await
        .unwrap();
        let prefix = format!("{}/lighterman", registry.addr());
        push_all(&PushArgs {
            prefix: prefix.clone(),
            layout: folder.path().to_owned(),
            plain_http: Vec::new(),
            user: None,
            password: None,
        })
        .await
        .unwrap();

        let client = Client::new(Config::default()).unwrap();
        for built in &built {
            let image = reference(&prefix, &format!("{}:1.2.3", built.name)).unwrap();
            let found = client
                .resolve(&image, &Credentials::anonymous())
                .await
                .unwrap();
            assert_eq!(found, built.image.digest());
            // Without the referrers API, an index under a tag made of the digest.
            let materials = if referrers {
                built.materials.digest().to_string()
            } else {
                found.to_string().replace(':', "-")
            };
            let by_tag = reference(&prefix, &format!("{}:{materials}", built.name));
            let by_digest = reference(&prefix, &format!("{}@{materials}", built.name));
            let attached = if referrers { by_digest } else { by_tag };
            assert!(
                client
                    .resolve(&attached.unwrap(), &Credentials::anonymous())
                    .await
                    .is_ok()
            );
        }
        registry.stop().await;
    }
}
