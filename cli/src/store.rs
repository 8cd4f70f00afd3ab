//! Where a component is kept: a registry or an OCI layout directory, behind one set of verbs.
//!
//! `push`, `sign`, `verify` and `inspect` work on it and need not know which it is.
//! Judges nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use artifact::{Digest, ImageReference, Parcel};
use bytes::Bytes;
use registry::development::{DevelopmentRegistry, Options};
use registry::layout::{self, LayoutError};
use registry::{Client, Credentials};

use crate::access;
use crate::args::{Access, Target};
use crate::failure::Failure;

/// What the one image of a layout directory is called in its index.
const LAYOUT_NAME: &str = "component";

/// One place for one component.
#[derive(Debug)]
pub(crate) enum Store {
    /// A repository of a registry.
    Registry {
        /// The client with the user's bounds.
        client: Box<Client>,
        /// The user's name for the component.
        image: ImageReference,
        /// The user's credentials there.
        credentials: Credentials,
    },
    /// An OCI layout directory.
    Layout(PathBuf),
}

impl Store {
    /// The place that the user named. Contacts nobody.
    pub(crate) fn open(target: &Target, access: &Access) -> Result<Store, Failure> {
        match target {
            Target::Layout(directory) => Ok(Store::Layout(directory.clone())),
            Target::Registry(text) => {
                no_file(text)?;
                let image: ImageReference =
                    text.parse().map_err(|error| Failure::usage(error, ""))?;
                Ok(Store::Registry {
                    client: Box::new(access::client(access)?),
                    credentials: access::credentials(&image)?,
                    image,
                })
            }
        }
    }

    /// Puts a component there; the digest of its manifest.
    pub(crate) async fn push(&self, wasm: Bytes) -> Result<Digest, Failure> {
        match self {
            Store::Registry {
                client,
                image,
                credentials,
            } => client
                .push(image, wasm, &BTreeMap::new(), credentials)
                .await
                .map_err(access::failure),
            Store::Layout(directory) => {
                let (digest, parcel) = packed(wasm).await?;
                save(directory, &parcel)?;
                Ok(digest)
            }
        }
    }

    /// The digest that the name stands for now.
    pub(crate) async fn resolve(&self) -> Result<Digest, Failure> {
        match self {
            Store::Registry {
                client,
                image,
                credentials,
            } => client
                .resolve(image, credentials)
                .await
                .map_err(access::failure),
            Store::Layout(directory) => Ok(Digest::of(&load(directory)?.manifest)),
        }
    }

    /// Everything that a check of the digest needs.
    pub(crate) async fn pull(&self, digest: &Digest) -> Result<Parcel, Failure> {
        match self {
            Store::Registry {
                client,
                image,
                credentials,
            } => client
                .pull(image, digest, credentials)
                .await
                .map_err(access::failure),
            Store::Layout(directory) => load(directory),
        }
    }

    /// Puts a signature beside the digest.
    pub(crate) async fn attach(&self, digest: &Digest, bundle: Bytes) -> Result<(), Failure> {
        match self {
            Store::Registry {
                client,
                image,
                credentials,
            } => client
                .attach_bundle(image, digest, bundle, credentials)
                .await
                .map(drop)
                .map_err(access::failure),
            Store::Layout(directory) => {
                let mut parcel = load(directory)?;
                parcel.bundles.push(bundle);
                save(directory, &parcel)
            }
        }
    }

    /// The reference that trust policies judge; a directory has none of its own.
    pub(crate) fn image(&self) -> Option<&ImageReference> {
        match self {
            Store::Registry { image, .. } => Some(image),
            Store::Layout(_) => None,
        }
    }
}

/// A file's name is a legal reference too (into Docker Hub), and never meant as one.
fn no_file(text: &str) -> Result<(), Failure> {
    if Path::new(text).is_file() {
        return Err(Failure::usage(
            format!("{text} is a file, and signatures belong to what a registry holds"),
            "push it with --sign, to a registry or to oci:DIR, and name that",
        ));
    }
    if text.ends_with(".wasm") {
        return Err(Failure::usage(
            format!("there is no file {text}"),
            "check the path",
        ));
    }
    Ok(())
}

/// A component as a registry would hold it: pushed to one in memory and taken from there,
/// so that a component has the same digest in a directory and in a registry.
async fn packed(wasm: Bytes) -> Result<(Digest, Parcel), Failure> {
    let own = |error: &dyn fmt::Display| {
        Failure::unavailable(format!("cannot pack the component: {error}"), "")
    };
    let memory = DevelopmentRegistry::start((Ipv4Addr::LOCALHOST, 0).into(), Options::default())
        .await
        .map_err(|error| own(&error))?;
    let image: ImageReference = format!("{}/{LAYOUT_NAME}", memory.addr())
        .parse()
        .map_err(|error| own(&error))?;
    let (client, anonymous) = (
        access::client(&Access::default())?,
        Credentials::anonymous(),
    );
    let digest = client
        .push(&image, wasm, &BTreeMap::new(), &anonymous)
        .await
        .map_err(access::failure)?;
    let parcel = client
        .pull(&image, &digest, &anonymous)
        .await
        .map_err(access::failure)?;
    memory.stop().await;
    Ok((digest, parcel))
}

fn save(directory: &Path, parcel: &Parcel) -> Result<(), Failure> {
    layout::write(directory, LAYOUT_NAME, parcel).map_err(unusable)
}

fn load(directory: &Path) -> Result<Parcel, Failure> {
    layout::read(directory, None).map_err(unusable)
}

fn unusable(error: LayoutError) -> Failure {
    match error {
        LayoutError::Refused(refusal) => Failure::refused(refusal, ""),
        other => Failure::unavailable(
            other,
            "`lighterman push oci:DIR FILE.wasm` writes such a directory",
        ),
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Registry { image, .. } => image.fmt(f),
            Store::Layout(directory) => write!(f, "oci:{}", directory.display()),
        }
    }
}
