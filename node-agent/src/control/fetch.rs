//! The hand-over, from the agent's side: documents by name, bytes by digest, values. HTTPS with
//! the operator's own CA, and a token that only proves which node asks. Bytes are checked
//! against their digest here and kept; what they mean is judged elsewhere.

mod connection;
mod values;

use std::path::PathBuf;
use std::sync::Arc;

use artifact::root::PublicGoodMetadata;
use artifact::{Digest, Parcel, limits};
use bytes::{Bytes, BytesMut};
use crds::Reason;
use crds::handover::{
    DENIALS_ROUTE, DenialReport, JSON_MAX, PUBLIC_ROOT_ROUTE, ParcelIndex, Problem, SealedRevision,
    TALLIES_ROUTE, TallyReport, blob_path, revision_path,
};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::breaker::Breaker;
use super::cache::{Cache, CacheError, Entry};
use super::state::Store;
use super::trust::TrustBook;
use crate::source::SourceError;
use crate::text::printable;
use connection::Connection;

/// Replicas of the operator that are asked in a row for the one that leads. A connection leads to
/// any: of two replicas, this many miss the leader once in 64 times, and the next report is soon.
const REPLICAS_ASKED: usize = 6;
/// The largest token file; a projected token is below 2 KiB.
const TOKEN_MAX: u64 = 16 * 1024;

/// Fetches from the operator, and keeps what it fetched.
#[derive(Debug)]
pub struct HandOver {
    base: String,
    token_file: PathBuf,
    trust: Arc<TrustBook>,
    blobs: Arc<Cache>,
    documents: Store,
    /// Memory-backed: values may be secrets.
    values: Store,
    breaker: Breaker,
    connection: Connection,
    /// Leads to the replica that leads, once one was found.
    to_leader: Connection,
}

impl HandOver {
    /// The hand-over at `base`, `https://host:port`.
    pub fn new(
        base: String,
        token_file: PathBuf,
        trust: Arc<TrustBook>,
        blobs: Arc<Cache>,
        documents: Store,
        values: Store,
    ) -> Self {
        Self {
            base: base.trim_end_matches('/').to_owned(),
            token_file,
            trust,
            blobs,
            documents,
            values,
            breaker: Breaker::default(),
            connection: Connection::default(),
            to_leader: Connection::default(),
        }
    }

    /// A revision with its seal. The kept one serves while the operator is away.
    pub async fn revision(
        &self,
        namespace: &str,
        revision: &str,
    ) -> Result<SealedRevision, SourceError> {
        let kept = format!("revision-{namespace}_{revision}");
        match self
            .json::<SealedRevision>(&revision_path(namespace, revision))
            .await
        {
            Ok(sealed) => {
                self.documents.save(kept, &sealed).await;
                Ok(sealed)
            }
            Err(error) if is_absence(&error) => self.documents.load(kept).await.ok_or(error),
            Err(error) => Err(error),
        }
    }

    /// The TUF metadata of the public root that the operator relays, as it came: nothing of it
    /// is checked here.
    pub async fn public_root(&self) -> Result<PublicGoodMetadata, SourceError> {
        self.json(PUBLIC_ROOT_ROUTE).await
    }

    /// Everything a check of the image needs, by digest.
    pub async fn parcel(&self, index: &ParcelIndex) -> Result<Parcel, SourceError> {
        if index.bundles.len() > limits::BUNDLES_MAX {
            return Err(SourceError::Malformed(format!(
                "{} signature bundles; the most is {}",
                index.bundles.len(),
                limits::BUNDLES_MAX
            )));
        }
        let mut bundles = Vec::new();
        for bundle in &index.bundles {
            bundles.push(self.blob(bundle, limits::BUNDLE_MAX).await?);
        }
        Ok(Parcel {
            manifest: self.blob(&index.manifest, limits::MANIFEST_MAX).await?,
            config: self.blob(&index.config, limits::CONFIG_MAX).await?,
            layer: self.blob(&index.layer, limits::WASM_MAX).await?,
            bundles,
        })
    }

    async fn blob(&self, digest: &str, most: usize) -> Result<Bytes, SourceError> {
        let digest: Digest = digest
            .parse()
            .map_err(|error| SourceError::Malformed(format!("{error}")))?;
        let entry = Entry::new(format!("blob-{}", digest.hex())).map_err(cache_error)?;
        let (cache, name) = (Arc::clone(&self.blobs), entry.clone());
        let kept = blocking(move || match cache.get(&name)? {
            Some(file) if file.length() <= most as u64 => Ok(Some(Bytes::from(file.bytes()?))),
            _ => Ok(None),
        })
        .await?;
        if let Some(bytes) = kept.filter(|bytes| Digest::of(bytes) == digest) {
            return Ok(bytes);
        }
        let response = self.get(&blob_path(&digest.to_string())).await?;
        let bytes = read(response, most).await?;
        if Digest::of(&bytes) != digest {
            return Err(SourceError::Malformed(format!(
                "bytes that are not {digest}"
            )));
        }
        let (cache, content) = (Arc::clone(&self.blobs), bytes.clone());
        blocking(move || cache.put(&entry, &content)).await?;
        Ok(bytes)
    }

    /// Says what was denied on this node.
    pub async fn denials(&self, report: &DenialReport) -> Result<(), SourceError> {
        let body = serde_json::to_vec(report)
            .map_err(|error| SourceError::Malformed(error.to_string()))?;
        self.post(&self.connection, DENIALS_ROUTE, body.into())
            .await
    }

    /// Says what revisions did that take over from each other, to the replica that leads.
    pub async fn tallies(&self, report: &TallyReport) -> Result<(), SourceError> {
        let body = serde_json::to_vec(report)
            .map_err(|error| SourceError::Malformed(error.to_string()))?;
        let body = Bytes::from(body);
        for _ in 0..REPLICAS_ASKED {
            let posted = self.post(&self.to_leader, TALLIES_ROUTE, body.clone());
            match posted.await {
                Err(SourceError::Refused {
                    reason: Reason::HandOverNotLeading,
                    ..
                }) => self.to_leader.renew(),
                told => return told,
            }
        }
        Err(SourceError::NotYet(
            "no replica of the operator that was asked leads".to_owned(),
        ))
    }

    async fn post(
        &self,
        connection: &Connection,
        path: &str,
        body: Bytes,
    ) -> Result<(), SourceError> {
        let posted = self.exchange(connection, path, |client, url| {
            let request = client.post(url);
            request.header(CONTENT_TYPE, "application/json").body(body)
        });
        posted.await.map(drop)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, SourceError> {
        parsed(self.get(path).await?).await
    }

    async fn get(&self, path: &str) -> Result<Response, SourceError> {
        self.exchange(&self.connection, path, |client, url| client.get(url))
            .await
    }

    async fn exchange(
        &self,
        connection: &Connection,
        path: &str,
        request: impl FnOnce(&Client, String) -> RequestBuilder,
    ) -> Result<Response, SourceError> {
        if self.breaker.is_open() {
            return Err(SourceError::Unreachable(
                "it did not answer a moment ago".to_owned(),
            ));
        }
        let bundle = self.trust.known().ca_bundle.clone().ok_or_else(|| {
            SourceError::Unreachable("the CA of the hand-over is not known yet".to_owned())
        })?;
        let client = connection.client(&bundle)?;
        let token = self.token().await?;
        let url = format!("{}{path}", self.base);
        let response = request(&client, url)
            .bearer_auth(token)
            .send()
            .await
            .map_err(|error| {
                if error.is_connect() || error.is_timeout() {
                    self.breaker.trip();
                }
                SourceError::Unreachable(printable(&chain(&error)))
            })?;
        let status = response.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = read(response, JSON_MAX).await.unwrap_or_default();
        let problem: Option<Problem> = serde_json::from_slice(&body).ok();
        let message = problem.as_ref().map_or_else(
            || format!("the hand-over answered {status}"),
            |problem| printable(&problem.message),
        );
        Err(match status {
            StatusCode::CONFLICT
            | StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::GATEWAY_TIMEOUT => SourceError::NotYet(message),
            StatusCode::SERVICE_UNAVAILABLE => match problem.map(|problem| problem.reason) {
                // The operator is there; the API server, which it has to ask, is not.
                Some(
                    Reason::HandOverBusy | Reason::HandOverUnreachable | Reason::SecretsUnavailable,
                )
                | None => SourceError::NotYet(message),
                Some(reason) => SourceError::Refused { reason, message },
            },
            _ => SourceError::Refused {
                reason: problem.map_or_else(|| reason_of(status), |problem| problem.reason),
                message,
            },
        })
    }

    /// Read for every request: kubelet writes a new one long before the old one ends.
    async fn token(&self) -> Result<String, SourceError> {
        let path = self.token_file.clone();
        let read = tokio::task::spawn_blocking(move || {
            crate::memfd::read_bounded(std::fs::File::open(path)?, TOKEN_MAX)
        });
        let missing = |error: String| {
            SourceError::Unreachable(format!(
                "the token {} cannot be read: {error}",
                self.token_file.display()
            ))
        };
        let bytes = read
            .await
            .map_err(|error| missing(error.to_string()))?
            .map_err(|error| missing(error.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }
}

/// Whether the other side was not there, as against having refused.
fn is_absence(error: &SourceError) -> bool {
    matches!(error, SourceError::Unreachable(_) | SourceError::NotYet(_))
}

fn reason_of(status: StatusCode) -> Reason {
    match status {
        StatusCode::UNAUTHORIZED => Reason::HandOverUnauthenticated,
        StatusCode::FORBIDDEN => Reason::HandOverForbidden,
        StatusCode::NOT_FOUND => Reason::RevisionUnknown,
        _ => Reason::HandOverUnreachable,
    }
}

async fn parsed<T: DeserializeOwned>(response: Response) -> Result<T, SourceError> {
    let bytes = read(response, JSON_MAX).await?;
    serde_json::from_slice(&bytes)
        .map_err(|error| SourceError::Malformed(printable(&error.to_string())))
}

/// Reads a body up to a bound, whatever its head promised.
async fn read(mut response: Response, most: usize) -> Result<Bytes, SourceError> {
    let mut body = BytesMut::new();
    let broken = |error: reqwest::Error| SourceError::Unreachable(printable(&chain(&error)));
    while let Some(chunk) = response.chunk().await.map_err(broken)? {
        if body.len().saturating_add(chunk.len()) > most {
            return Err(SourceError::Malformed(format!("more than {most} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// An error with its causes: reqwest's own sentence says only that something failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| SourceError::Unreachable(error.to_string()))?
        .map_err(cache_error)
}

fn cache_error(error: CacheError) -> SourceError {
    SourceError::NoSpace(error.to_string())
}
