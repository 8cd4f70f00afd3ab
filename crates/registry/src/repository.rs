//! One repository as one caller sees it: manifests and blobs by reference,
//! each request with its permission, each body with its bound and its digest.
//! `client`, `referrers` and `push` are written in terms of it.

use artifact::{Digest, ImageReference};
use bytes::Bytes;
use http::{Method, StatusCode};
use jiff::Timestamp;
use reqwest::Url;

use crate::auth::{self, Action, Scope};
use crate::challenge::Challenge;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::document::Descriptor;
use crate::endpoint;
use crate::error::Error;
use crate::host::Mirror;
use crate::retry_after;
use crate::transport::{Answer, Exchange};

/// The manifests that are accepted. Lists and Docker images are among them so
/// that the refusal can name what was found instead of "not found".
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// One repository as one caller sees it.
pub(crate) struct Repository<'a> {
    client: &'a Client,
    base: Url,
    /// At a mirror, the registry that it stands in for.
    stands_for: Option<String>,
    scope: Scope,
    credentials: &'a Credentials,
}

impl<'a> Repository<'a> {
    pub(crate) fn new(
        client: &'a Client,
        image: &ImageReference,
        action: Action,
        credentials: &'a Credentials,
    ) -> Result<Self, Error> {
        let registry = image.registry().to_owned();
        let base = endpoint::base(&registry, client.transport().plain()).ok_or_else(|| {
            Error::AddressRefused {
                host: registry.clone(),
            }
        })?;
        Ok(Self {
            client,
            base,
            stands_for: None,
            scope: Scope {
                registry,
                repository: image.repository().to_owned(),
                action,
                identity: credentials.identity(),
            },
            credentials,
        })
    }

    /// The same repository at a mirror of its registry. A caller's credentials are for the
    /// registry that the image names, and for nobody who stands in for it.
    pub(crate) fn of_mirror(
        client: &'a Client,
        image: &ImageReference,
        mirror: &'a Mirror,
    ) -> Result<Self, Error> {
        let credentials = mirror.credentials();
        let registry = endpoint::authority(mirror.url());
        let base = mirror.url().join("/").map_err(|_| Error::AddressRefused {
            host: registry.clone(),
        })?;
        Ok(Self {
            client,
            base,
            stands_for: Some(image.registry().to_owned()),
            scope: Scope {
                registry,
                repository: format!("{}{}", mirror.prefix(), image.repository()),
                action: Action::Pull,
                identity: credentials.identity(),
            },
            credentials,
        })
    }

    pub(crate) fn client(&self) -> &'a Client {
        self.client
    }

    pub(crate) fn registry(&self) -> &str {
        &self.scope.registry
    }

    pub(crate) fn name(&self) -> &str {
        &self.scope.repository
    }

    /// The URL of something in this repository, as `blobs/sha256:…`.
    pub(crate) fn url(&self, path: &str) -> Result<Url, Error> {
        let mut url = self
            .base
            .join(&format!("/v2/{}/{path}", self.scope.repository))
            .map_err(|_| Error::AddressRefused {
                host: self.scope.registry.clone(),
            })?;
        // As containerd tells a mirror of several registries which one is meant.
        if let Some(registry) = &self.stands_for {
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    /// Sends with permission, unless the registry has asked this caller to slow
    /// down; and takes down when it does.
    pub(crate) async fn send(&self, exchange: Exchange) -> Result<Answer, Error> {
        let (rests, identity) = (self.client.transport().rests(), &self.scope.identity);
        rests.caller(self.registry(), identity)?;
        let outcome = self.send_with_permission(exchange).await;
        let now = Timestamp::now();
        match &outcome {
            Ok(answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS => {
                let pause = retry_after::asked(answer.headers(), now);
                rests.limited(self.registry(), identity, pause);
            }
            Ok(answer) => {
                if let Some(pause) = retry_after::exhausted(answer.headers(), now) {
                    rests.limited(self.registry(), identity, Some(pause));
                }
            }
            // Its token server has.
            Err(Error::RateLimited { retry_after, .. }) => {
                rests.limited(self.registry(), identity, *retry_after);
            }
            Err(_) => {}
        }
        outcome
    }

    /// Sends with permission: the one kept, or one obtained when challenged.
    async fn send_with_permission(&self, mut exchange: Exchange) -> Result<Answer, Error> {
        let (transport, grants) = (self.client.transport(), self.client.grants());
        // An upload may be sent elsewhere; permission for this registry is not.
        if exchange.url.origin() != self.base.origin() {
            exchange.pointed_by = Some(self.base.clone());
            return transport.send(exchange, self.registry()).await;
        }
        exchange.authorization = grants.get(&self.scope);
        let answer = transport.send(exchange.clone(), self.registry()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        // The challenge of a host that a redirect led to is not answered: it
        // would get the credentials of this registry.
        if answer.url().origin() != exchange.url.origin() {
            return Ok(answer);
        }
        let Some(challenge) = answer
            .headers()
            .get_all(http::header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| Challenge::parse(value.to_str().ok()?))
            .max_by_key(|challenge| matches!(challenge, Challenge::Bearer { .. }))
        else {
            return Ok(answer);
        };
        drop(answer);
        grants.forget(&self.scope);
        let token_max = self.client.config().limits.token;
        let header = grants
            .obtain(
                transport,
                token_max,
                &self.scope,
                &challenge,
                &self.base,
                self.credentials,
            )
            .await?;
        exchange.authorization = Some(header);
        let answer = transport.send(exchange, self.registry()).await?;
        if answer.status() == StatusCode::UNAUTHORIZED {
            grants.forget(&self.scope);
        }
        Ok(answer)
    }

    /// The error that an answer stands for.
    pub(crate) async fn error(&self, answer: Answer, what: &str) -> Error {
        answer
            .into_error(what, &self.scope.repository, &auth::who(self.credentials))
            .await
    }

    /// Asks for a manifest without its body. Its digest is what the registry
    /// claims, or none when it claims nothing usable.
    pub(crate) async fn head_manifest(&self, reference: &str) -> Result<Option<Digest>, Error> {
        let mut exchange =
            Exchange::new(Method::HEAD, self.url(&format!("manifests/{reference}"))?);
        exchange.accept = Some(ACCEPT);
        let answer = self.send(exchange).await?;
        match answer.status().as_u16() {
            200 => Ok(answer
                .header("docker-content-digest")
                .and_then(|digest| digest.parse().ok())),
            // Not every registry offers HEAD; GET decides.
            400 | 405 | 501 => Ok(None),
            _ => Err(self.error(answer, &self.named(reference)).await),
        }
    }

    /// A manifest or index by tag or digest, of at most `limit` bytes.
    pub(crate) async fn manifest(&self, reference: &str, limit: usize) -> Result<Bytes, Error> {
        let mut exchange = Exchange::new(Method::GET, self.url(&format!("manifests/{reference}"))?);
        exchange.accept = Some(ACCEPT);
        let answer = self.send(exchange).await?;
        let what = self.named(reference);
        if answer.status() != StatusCode::OK {
            return Err(self.error(answer, &what).await);
        }
        answer.read(&format!("the manifest of {what}"), limit).await
    }

    /// A manifest by digest, checked.
    pub(crate) async fn manifest_by_digest(
        &self,
        digest: &Digest,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let body = self.manifest(&digest.to_string(), limit).await?;
        self.check(digest, &body)?;
        Ok(body)
    }

    /// A blob by digest, as large as its descriptor says and no larger than
    /// `limit`, checked. Only the digest leads to it, never a `urls` entry.
    pub(crate) async fn blob(
        &self,
        digest: &Digest,
        size: u64,
        limit: usize,
    ) -> Result<Bytes, Error> {
        let what = format!("blob {digest}");
        let size = usize::try_from(size)
            .ok()
            .filter(|size| *size <= limit)
            .ok_or_else(|| Error::TooLarge {
                what: what.clone(),
                limit: limit as u64,
            })?;
        let answer = self
            .send(Exchange::new(
                Method::GET,
                self.url(&format!("blobs/{digest}"))?,
            ))
            .await?;
        if answer.status() != StatusCode::OK {
            return Err(self.error(answer, &what).await);
        }
        let body = answer.read_exactly(&what, size).await?;
        self.check(digest, &body)?;
        Ok(body)
    }

    /// Whether a blob is there already.
    pub(crate) async fn has_blob(&self, blob: &Descriptor) -> Result<bool, Error> {
        let url = self.url(&format!("blobs/{}", blob.digest))?;
        let answer = self.send(Exchange::new(Method::HEAD, url)).await?;
        match answer.status().as_u16() {
            200 => Ok(true),
            404 => Ok(false),
            _ => Err(self.error(answer, "the blob").await),
        }
    }

    fn check(&self, expected: &Digest, body: &[u8]) -> Result<(), Error> {
        let actual = Digest::of(body);
        if actual == *expected {
            return Ok(());
        }
        Err(Error::DigestMismatch {
            registry: self.scope.registry.clone(),
            expected: *expected,
            actual,
        })
    }

    fn named(&self, reference: &str) -> String {
        let separator = if reference.contains(':') { '@' } else { ':' };
        format!("{}{separator}{reference}", self.scope.repository)
    }
}
