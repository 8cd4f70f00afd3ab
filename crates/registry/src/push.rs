//! Pushes a component in the CNCF layout, and attaches signature bundles to it
//! the way cosign v3 does, so that either finds what the other wrote. The
//! command line and the tests call it; it signs nothing itself.

use std::collections::BTreeMap;

use artifact::{Digest, ImageReference};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Method;
use http::header::LOCATION;
use serde::Serialize;

use crate::auth::Action;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::document::{
    BUNDLE, Descriptor, EMPTY_JSON, Index, Manifest, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST,
    WASM_CONFIG, WASM_LAYER, WasmConfig, WasmConfigComponent,
};
use crate::error::Error;
use crate::referrers;
use crate::repository::Repository;
use crate::transport::{Answer, Exchange};

/// The layout demands a time. A fixed one makes the same component the same
/// digest on every machine; annotations can say when it was made.
const CREATED: &str = "1970-01-01T00:00:00Z";
/// Writers of one fallback index can overwrite each other; each looks whether
/// its entry is still there, and tries again this often.
const ATTEMPTS: usize = 3;

impl Client {
    /// Pushes a component under the tag of `image` (`latest` without one) and
    /// returns its digest. Blobs that are there already are not sent again.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is not a component; otherwise see [`Error`].
    pub async fn push(
        &self,
        image: &ImageReference,
        wasm: Bytes,
        annotations: &BTreeMap<String, String>,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let limit = self.config().limits.layer;
        if wasm.len() > limit {
            return Err(Error::TooLarge {
                what: "the component".to_owned(),
                limit: limit as u64,
            });
        }
        let facts = artifact::component::inspect(&wasm)?;
        let layer = Descriptor::of(WASM_LAYER, &wasm);
        let config = json(&WasmConfig {
            created: CREATED,
            architecture: "wasm",
            os: "wasip2",
            layer_digests: vec![layer.digest],
            component: WasmConfigComponent {
                exports: &facts.exports,
                imports: &facts.imports,
            },
        })?;
        let manifest = json(&Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            artifact_type: None,
            config: Descriptor::of(WASM_CONFIG, &config),
            layers: vec![layer.clone()],
            subject: None,
            annotations: annotations.clone(),
        })?;
        self.within(self.config().timeouts.push, image, async {
            let repository = Repository::new(self, image, Action::Push, credentials)?;
            put_blob(&repository, &layer, wasm).await?;
            put_blob(&repository, &Descriptor::of(WASM_CONFIG, &config), config).await?;
            let digest = Digest::of(&manifest);
            put_manifest(
                &repository,
                image.tag().unwrap_or("latest"),
                OCI_MANIFEST,
                manifest,
            )
            .await?;
            Ok(digest)
        })
        .await
    }

    /// Attaches a signature bundle to the image with this digest and returns
    /// the digest of the manifest that refers to it.
    ///
    /// # Errors
    /// [`Error::NotABundle`]; otherwise see [`Error`].
    pub async fn attach_bundle(
        &self,
        image: &ImageReference,
        digest: &Digest,
        bundle: Bytes,
        credentials: &Credentials,
    ) -> Result<Digest, Error> {
        let limits = &self.config().limits;
        if bundle.len() > limits.bundle {
            return Err(Error::TooLarge {
                what: "the signature bundle".to_owned(),
                limit: limits.bundle as u64,
            });
        }
        let predicate_type = predicate_type(&bundle)?;
        self.within(self.config().timeouts.push, image, async {
            let repository = Repository::new(self, image, Action::Push, credentials)?;
            let subject = repository
                .manifest_by_digest(digest, limits.manifest)
                .await?;
            let now = jiff::Timestamp::now().as_second();
            let created = jiff::Timestamp::from_second(now)
                .ok()
                .map(|time| time.to_string());
            let manifest = signature_manifest(
                Descriptor::of(OCI_MANIFEST, &subject),
                Descriptor::of(BUNDLE, &bundle),
                predicate_type,
                created,
            );
            let empty = Descriptor::of(OCI_EMPTY, EMPTY_JSON);
            put_blob(&repository, &empty, Bytes::from_static(EMPTY_JSON)).await?;
            put_blob(&repository, &Descriptor::of(BUNDLE, &bundle), bundle).await?;
            let body = json(&manifest)?;
            let mut entry = Descriptor::of(OCI_MANIFEST, &body);
            entry.artifact_type = manifest.artifact_type;
            entry.annotations = manifest.annotations;
            put_referrer(&repository, digest, &entry, body).await?;
            Ok(entry.digest)
        })
        .await
    }
}

/// The manifest by which a bundle refers to its image.
pub(crate) fn signature_manifest(
    subject: Descriptor,
    bundle: Descriptor,
    predicate_type: String,
    created: Option<String>,
) -> Manifest {
    let mut annotations = BTreeMap::from([
        (
            "dev.sigstore.bundle.content".to_owned(),
            "dsse-envelope".to_owned(),
        ),
        (
            "dev.sigstore.bundle.predicateType".to_owned(),
            predicate_type,
        ),
    ]);
    if let Some(created) = created {
        annotations.insert("org.opencontainers.image.created".to_owned(), created);
    }
    Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Descriptor::of(OCI_EMPTY, EMPTY_JSON),
        layers: vec![bundle],
        subject: Some(subject),
        annotations,
    }
}

/// What the statement in a bundle says about its subject.
pub(crate) fn predicate_type(bundle: &[u8]) -> Result<String, Error> {
    let missing = |reason| Error::NotABundle { reason };
    let bundle: serde_json::Value =
        serde_json::from_slice(bundle).map_err(|_| missing("it is not JSON"))?;
    let payload = bundle
        .pointer("/dsseEnvelope/payload")
        .and_then(|payload| payload.as_str())
        .and_then(|payload| STANDARD.decode(payload).ok())
        .ok_or_else(|| missing("it has no DSSE envelope"))?;
    serde_json::from_slice::<serde_json::Value>(&payload)
        .ok()
        .and_then(|statement| Some(statement.get("predicateType")?.as_str()?.to_owned()))
        .ok_or_else(|| missing("its statement has no predicateType"))
}

/// Puts a manifest that refers to `subject` where it will be found.
pub(crate) async fn put_referrer(
    repository: &Repository<'_>,
    subject: &Digest,
    entry: &Descriptor,
    body: Bytes,
) -> Result<(), Error> {
    let answer = put_manifest(repository, &entry.digest.to_string(), OCI_MANIFEST, body).await?;
    // A registry with the referrers API says that it saw the subject; some have
    // the API and do not say so.
    if answer.header("oci-subject").is_none()
        && !referrers::is_supported(repository, subject).await?
    {
        extend_fallback(repository, subject, entry).await?;
    }
    Ok(())
}

/// Adds an entry to the index under the fallback tag, keeping what is there.
async fn extend_fallback(
    repository: &Repository<'_>,
    subject: &Digest,
    entry: &Descriptor,
) -> Result<(), Error> {
    let tag = referrers::fallback_tag(subject);
    for _ in 0..ATTEMPTS {
        let mut index = referrers::fallback(repository, subject)
            .await?
            .unwrap_or_else(Index::new);
        if index.lists(&entry.digest) {
            return Ok(());
        }
        index.add(entry).map_err(unserializable)?;
        put_manifest(repository, &tag, OCI_INDEX, json(&index)?).await?;
        // The specification has no compare-and-swap: look whether another
        // writer's index replaced this one.
        if referrers::fallback(repository, subject)
            .await?
            .is_some_and(|index| index.lists(&entry.digest))
        {
            return Ok(());
        }
    }
    Err(Error::Contended {
        repository: repository.name().to_owned(),
        tag,
        attempts: ATTEMPTS,
    })
}

/// Uploads a blob in one piece (POST, then PUT to where the registry says).
pub(crate) async fn put_blob(
    repository: &Repository<'_>,
    descriptor: &Descriptor,
    content: Bytes,
) -> Result<(), Error> {
    if repository.has_blob(descriptor).await? {
        return Ok(());
    }
    let start = Exchange::new(Method::POST, repository.url("blobs/uploads/")?);
    let answer = repository.send(start).await?;
    if answer.status().as_u16() != 202 {
        return Err(repository.error(answer, repository.name()).await);
    }
    // The location may be relative, and may carry a query that must be kept.
    let mut location = answer
        .header(LOCATION)
        .and_then(|location| answer.url().join(location).ok())
        .ok_or_else(|| Error::Malformed {
            registry: repository.registry().to_owned(),
            what: "the location of an upload",
            source: None,
        })?;
    location
        .query_pairs_mut()
        .append_pair("digest", &descriptor.digest.to_string());
    let mut upload = Exchange::new(Method::PUT, location);
    upload.content_type = Some("application/octet-stream".to_owned());
    upload.body = Some(content);
    let answer = repository.send(upload).await?;
    match answer.status().as_u16() {
        201 => Ok(()),
        _ => Err(repository.error(answer, "the upload").await),
    }
}

pub(crate) async fn put_manifest(
    repository: &Repository<'_>,
    reference: &str,
    media_type: &str,
    body: Bytes,
) -> Result<Answer, Error> {
    let mut exchange = Exchange::new(
        Method::PUT,
        repository.url(&format!("manifests/{reference}"))?,
    );
    exchange.content_type = Some(media_type.to_owned());
    exchange.body = Some(body);
    let answer = repository.send(exchange).await?;
    match answer.status().as_u16() {
        200..=202 => Ok(answer),
        _ => Err(repository.error(answer, repository.name()).await),
    }
}

fn json(value: &impl Serialize) -> Result<Bytes, Error> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(unserializable)
}

fn unserializable(source: serde_json::Error) -> Error {
    Error::Malformed {
        registry: "this client".to_owned(),
        what: "a document to be pushed",
        source: Some(source),
    }
}
