//! An OCI image that is no component, whole: this project's own container images,
//! and what refers to them. Its caller has made it and answers for it; here it is
//! pushed, or written to a layout. Called by the image builder, never by what runs
//! in a cluster.

use artifact::{Digest, ImageReference};
use bytes::Bytes;

use crate::auth::Action;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::document::{Descriptor, Manifest, OCI_MANIFEST};
use crate::error::Error;
use crate::push::{put_blob, put_manifest, put_referrer};
use crate::repository::Repository;

/// A manifest with all that it points to.
#[derive(Clone, Debug)]
pub struct Image {
    /// JSON of an OCI image manifest. With a `subject` it is an attachment: it has
    /// no tag of its own, and is found as a referrer.
    pub manifest: Bytes,
    /// Its config and layers, in any order.
    pub blobs: Vec<Bytes>,
}

impl Image {
    /// The digest of the manifest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// What an index says of it.
    ///
    /// # Errors
    /// The manifest is not one.
    pub(crate) fn descriptor(&self) -> serde_json::Result<(Descriptor, Manifest)> {
        let manifest: Manifest = serde_json::from_slice(&self.manifest)?;
        let mut descriptor = Descriptor::of(OCI_MANIFEST, &self.manifest);
        descriptor.artifact_type.clone_from(&manifest.artifact_type);
        Ok((descriptor, manifest))
    }
}

impl Client {
    /// Pushes an image under the tag of `name` (`latest` without one), or an
    /// attachment beside its subject. Blobs that are there already are not sent again.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn push_image(
        &self,
        name: &ImageReference,
        image: &Image,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let (entry, manifest) = image.descriptor().map_err(|source| Error::Malformed {
            registry: "this client".to_owned(),
            what: "the manifest of an image to be pushed",
            source: Some(source),
        })?;
        self.within(self.config().timeouts.push, name, async {
            let repository = Repository::new(self, name, Action::Push, credentials)?;
            for blob in &image.blobs {
                // A blob has no media type where it is stored; manifests give it one.
                put_blob(&repository, &Descriptor::of("", blob), blob.clone()).await?;
            }
            let body = image.manifest.clone();
            match manifest.subject {
                Some(subject) => put_referrer(&repository, &subject.digest, &entry, body).await?,
                None => {
                    let tag = name.tag().unwrap_or("latest");
                    put_manifest(&repository, tag, OCI_MANIFEST, body).await?;
                }
            }
            Ok(entry.digest)
        })
        .await
    }
}
