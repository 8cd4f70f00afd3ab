//! Local builds, as `--set-image` names them, turned into images that can be verified.
//!
//! A build is pushed to a registry in this process and signed with a development key,
//! which is made on first use and stays on this machine. Only the policy made here
//! trusts that key, and only for this registry: no cluster ever sees either.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use artifact::signature::{self, SigningKey};
use artifact::trust::Policy;
use artifact::{Digest, ImageReference};
use bytes::Bytes;
use registry::development::{DevelopmentRegistry, Options};
use registry::{Client, Credentials};
use serde_json::json;

use crate::access;
use crate::args::Local;
use crate::command::push::{self, Ready};
use crate::failure::Failure;
use crate::key;

/// The local builds and the registry they are in.
#[derive(Debug)]
pub(super) struct Workshop {
    registry: DevelopmentRegistry,
    key: SigningKey,
    builds: BTreeMap<String, LocalBuild>,
}

/// One build: its files, and what was last pushed of it.
#[derive(Debug)]
struct LocalBuild {
    file: PathBuf,
    manifest: Option<PathBuf>,
    image: ImageReference,
    pushed: Option<Digest>,
}

impl Workshop {
    /// Starts the registry; pushes nothing yet.
    pub(super) async fn open(images: &[Local], manifests: &[Local]) -> Result<Workshop, Failure> {
        let own = |error: &dyn std::fmt::Display| {
            Failure::unavailable(
                format!("cannot serve local builds: {error}"),
                "free a port on 127.0.0.1",
            )
        };
        let registry =
            DevelopmentRegistry::start((Ipv4Addr::LOCALHOST, 0).into(), Options::default())
                .await
                .map_err(|error| own(&error))?;
        let mut builds = BTreeMap::new();
        for Local { name, file } in images {
            let image = format!("{}/local/{name}:build", registry.addr());
            let image = image
                .parse()
                .map_err(|error| Failure::usage(format!("--set-image {name}: {error}"), ""))?;
            builds.insert(
                name.clone(),
                LocalBuild {
                    file: file.clone(),
                    manifest: None,
                    image,
                    pushed: None,
                },
            );
        }
        for Local { name, file } in manifests {
            let build = builds.get_mut(name).ok_or_else(|| {
                Failure::usage(
                    format!("--manifest names {name}, which has no local build"),
                    format!("name its build, too: --set-image {name}=FILE.wasm"),
                )
            })?;
            build.manifest = Some(file.clone());
        }
        Ok(Workshop {
            registry,
            key: development_key()?,
            builds,
        })
    }

    /// The image that stands for the build of a component, if it has one.
    pub(super) fn image(&self, component: &str) -> Option<&ImageReference> {
        self.builds.get(component).map(|build| &build.image)
    }

    /// The names of the components that have a build.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.builds.keys().map(String::as_str)
    }

    /// The one policy for local builds.
    pub(super) fn policy(&self) -> Result<Policy, Failure> {
        let spec = json!({
            "images": [{"glob": format!("{}/local/**", self.registry.addr())}],
            "authorities": [{
                "name": "development",
                "key": {"data": self.key.public_key().to_pem()},
                "ctlog": "Ignore",
            }],
        });
        Policy::parse("local-builds", &spec).map_err(|error| Failure::unavailable(error, ""))
    }

    /// Pushes and signs every build that is not what was pushed last.
    pub(super) async fn refresh(&mut self, client: &Client) -> Result<(), Failure> {
        for build in self.builds.values_mut() {
            let Ready { wasm, .. } = push::read(&build.file, build.manifest.as_deref())?;
            let content = Digest::of(&wasm);
            if build.pushed.as_ref() == Some(&content) {
                continue;
            }
            // Signed before it has a tag, so that nobody ever sees the build unsigned.
            let anonymous = Credentials::anonymous();
            let digest = client
                .push(
                    &staging(&build.image)?,
                    wasm.clone(),
                    &BTreeMap::new(),
                    &anonymous,
                )
                .await
                .map_err(access::failure)?;
            let bundle = signature::sign(&self.key, &digest)
                .map_err(|error| Failure::unavailable(error, ""))?;
            client
                .attach_bundle(&build.image, &digest, Bytes::from(bundle), &anonymous)
                .await
                .map_err(access::failure)?;
            client
                .push(&build.image, wasm, &BTreeMap::new(), &anonymous)
                .await
                .map_err(access::failure)?;
            build.pushed = Some(content);
        }
        Ok(())
    }
}

/// The same repository under a tag that nothing runs.
fn staging(image: &ImageReference) -> Result<ImageReference, Failure> {
    format!("{}:staging", image.without_tag())
        .parse()
        .map_err(|error| Failure::unavailable(error, ""))
}

/// The key of this machine, made on first use.
fn development_key() -> Result<SigningKey, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".config")))
        .ok_or_else(|| {
            Failure::unavailable(
                "there is no home directory for the development key",
                "set HOME",
            )
        })?
        .join("lighterman");
    let (private, public) = (
        folder.join("development.key"),
        folder.join("development.pub"),
    );
    if private.exists() {
        return key::read_private(&private);
    }
    std::fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, "make", &error))?;
    let key = SigningKey::generate().map_err(|error| Failure::unavailable(error, ""))?;
    key::write(&key, "", &private, &public)?;
    Ok(key)
}
