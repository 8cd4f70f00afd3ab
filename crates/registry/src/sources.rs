//! Where the bytes of one image come from: the mirrors that the platform has
//! configured for its registry, in their order, and then the registry itself.
//! What a mirror sends is checked like all else, so whoever has it may be asked.
//! `client` pulls through it; pushes go to the registry alone.

use artifact::{Digest, ImageReference};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::auth::Action;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::error::Error;
use crate::referrers;
use crate::repository::Repository;

/// The repositories of one image as one caller sees them.
pub(crate) struct Sources<'a> {
    client: &'a Client,
    /// Asked first; what goes wrong there is passed over.
    mirrors: Vec<Repository<'a>>,
    /// Asked last: its answer stands.
    last: Repository<'a>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(
        client: &'a Client,
        image: &ImageReference,
        credentials: &'a Credentials,
    ) -> Result<Self, Error> {
        let known = client.config().hosts.get(image.registry());
        let mut mirrors = known
            .iter()
            .flat_map(|host| &host.mirrors)
            .map(|mirror| Repository::of_mirror(client, image, mirror))
            .collect::<Result<Vec<_>, _>>()?;
        let upstream = known.is_none_or(|host| host.upstream);
        let last = match mirrors.pop() {
            Some(mirror) if !upstream => mirror,
            mirror => {
                mirrors.extend(mirror);
                Repository::new(client, image, Action::Pull, credentials)?
            }
        };
        Ok(Self {
            client,
            mirrors,
            last,
        })
    }

    /// The digest that a tag stands for.
    pub(crate) async fn digest(&self, tag: &str) -> Result<Digest, Error> {
        let limit = self.client.config().limits.manifest;
        self.first(|repository| {
            async move {
                if let Some(digest) = repository.head_manifest(tag).await? {
                    return Ok(digest);
                }
                let manifest = repository.manifest(tag, limit).await?;
                Ok(Digest::of(&manifest))
            }
            .boxed()
        })
        .await
    }

    /// A manifest by digest, checked.
    pub(crate) async fn manifest(&self, digest: &Digest) -> Result<Bytes, Error> {
        let limit = self.client.config().limits.manifest;
        self.first(|repository| repository.manifest_by_digest(digest, limit).boxed())
            .await
    }

    /// A blob by digest, checked.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        size: u64,
        limit: usize,
    ) -> Result<Bytes, Error> {
        self.first(|repository| repository.blob(digest, size, limit).boxed())
            .await
    }

    /// The signature bundles attached to `digest`. Many mirrors keep images and
    /// not what refers to them: that there is none, only the last may say.
    pub(crate) async fn bundles(
        &self,
        image: &ImageReference,
        digest: &Digest,
    ) -> Result<Vec<Bytes>, Error> {
        for mirror in &self.mirrors {
            match referrers::bundles(mirror, digest).await {
                Ok(bundles) if bundles.is_empty() => {}
                Ok(bundles) => return Ok(bundles),
                Err(error) => passed_over(mirror, &error),
            }
        }
        referrers::bundles(&self.last, digest)
            .await
            .map_err(|source| Error::ReferrersUnavailable {
                image: image.with_digest(*digest).to_string(),
                source: Box::new(source),
            })
    }

    /// The first answer that is none of a failure's.
    async fn first<'b, T>(
        &'b self,
        ask: impl Fn(&'b Repository<'a>) -> BoxFuture<'b, Result<T, Error>>,
    ) -> Result<T, Error> {
        for mirror in &self.mirrors {
            match ask(mirror).await {
                Ok(answer) => return Ok(answer),
                Err(error) => passed_over(mirror, &error),
            }
        }
        ask(&self.last).await
    }
}

fn passed_over(mirror: &Repository<'_>, error: &Error) {
    // A mirror often lacks an image, and one that rests was said to be away.
    if matches!(error, Error::NotFound { .. } | Error::Resting { .. }) {
        return;
    }
    tracing::warn!(
        mirror = mirror.registry(),
        repository = mirror.name(),
        error = error as &dyn std::error::Error,
        "a mirror could not answer; the next is asked"
    );
}
