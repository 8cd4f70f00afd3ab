//! The client: what the rest of the product asks of a registry. Each operation
//! has a deadline over all of its exchanges, and brings only bytes whose
//! digests were computed here. It judges no signature.

use std::future::Future;
use std::time::Duration;

use artifact::{Digest, ImageReference, Parcel};
use bytes::Bytes;

use crate::auth::Grants;
use crate::config::Config;
use crate::credentials::Credentials;
use crate::endpoint;
use crate::error::Error;
use crate::slots::Slots;
use crate::sources::Sources;
use crate::transport::Transport;

/// A client of OCI registries. One serves all callers: nothing that one caller
/// was granted is ever used for another.
#[derive(Debug)]
pub struct Client {
    config: Config,
    transport: Transport,
    grants: Grants,
    pulls: Slots,
    questions: Slots,
}

/// What vouches for an image, handed over by its repository together with the
/// manifest: whoever has these may have the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures {
    /// The manifest, checked by the digest that was asked for.
    pub manifest: Bytes,
    /// The signature bundles attached to it; none when there are none.
    pub bundles: Vec<Bytes>,
}

impl Client {
    /// A client with these bounds and authorities.
    ///
    /// # Errors
    /// [`Error::Misconfigured`] when a CA bundle does not parse.
    pub fn new(config: Config) -> Result<Self, Error> {
        let limits = &config.limits;
        Ok(Self {
            transport: Transport::new(&config)?,
            grants: Grants::default(),
            pulls: Slots::new(
                limits.concurrent_pulls,
                limits.concurrent_pulls_per_registry,
            ),
            questions: Slots::new(
                limits.concurrent_questions,
                limits.concurrent_questions_per_registry,
            ),
            config,
        })
    }

    /// The digest that an image reference stands for now. A reference with a
    /// digest stands for it, without asking anybody; one without tag means
    /// `latest`. What a registry claims in answer to HEAD is believed only as a
    /// name: `pull` fetches by it and hashes what comes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resolve(
        &self,
        image: &ImageReference,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        if let Some(digest) = image.digest() {
            return Ok(*digest);
        }
        let tag = image.tag().unwrap_or("latest");
        let _slot = self.questions.take(image.registry()).await;
        self.within(self.config.timeouts.resolve, image, async {
            Sources::new(self, image, credentials)?.digest(tag).await
        })
        .await
    }

    /// Whether an image's registry may be asked now: an error while its host,
    /// which could not be reached lately, is left alone. Asks nobody.
    ///
    /// # Errors
    /// [`Error::Resting`].
    pub fn ready(&self, image: &ImageReference) -> Result<(), Error> {
        let registry = image.registry();
        // Where there are mirrors, one host says little.
        let mirrored = self
            .config
            .hosts
            .get(registry)
            .is_some_and(|host| !host.mirrors.is_empty());
        match endpoint::base(registry, self.transport.plain()) {
            Some(url) if !mirrored => self
                .transport
                .rests()
                .peek(&endpoint::authority(&url), registry),
            _ => Ok(()),
        }
    }

    /// The manifest with this digest and its signature bundles: proof that these
    /// credentials open the image, at the cost of a few small exchanges. Whoever
    /// holds config and layer already needs no more.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub async fn signatures(
        &self,
        image: &ImageReference,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<Signatures, Error> {
        let _slot = self.questions.take(image.registry()).await;
        self.within(self.config.timeouts.resolve, image, async {
            let sources = Sources::new(self, image, credentials)?;
            Ok(Signatures {
                manifest: sources.manifest(digest).await?,
                bundles: sources.bundles(image, digest).await?,
            })
        })
        .await
    }

    /// The component with this digest and everything a check of it needs:
    /// manifest, config, layer and signature bundles.
    ///
    /// # Errors
    /// See [`Error`]. [`Error::ReferrersUnavailable`] when the signatures could
    /// not be looked up; a parcel without bundles was looked up and has none.
    pub async fn pull(
        &self,
        image: &ImageReference,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<Parcel, Error> {
        let _slot = self.pulls.take(image.registry()).await;
        self.within(self.config.timeouts.pull, image, async {
            let limits = &self.config.limits;
            let sources = Sources::new(self, image, credentials)?;
            let manifest = sources.manifest(digest).await?;
            let parts = artifact::manifest::read(&manifest)?;
            // Signatures first: they are small, and an image whose signatures
            // cannot be looked up is not worth its layer.
            let bundles = sources.bundles(image, digest).await?;
            let config = sources
                .blob(&parts.config.digest, parts.config.size, limits.config)
                .await?;
            let layer = sources
                .blob(&parts.layer.digest, parts.layer.size, limits.layer)
                .await?;
            Ok(Parcel {
                manifest,
                config,
                layer,
                bundles,
            })
        })
        .await
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Puts one deadline over a whole operation.
    pub(crate) async fn within<T>(
        &self,
        deadline: Duration,
        image: &ImageReference,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::time::timeout(deadline, operation)
            .await
            .unwrap_or_else(|_| {
                Err(Error::Timeout {
                    registry: image.registry().to_owned(),
                })
            })
    }
}
