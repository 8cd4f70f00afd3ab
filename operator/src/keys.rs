//! The operator's own keys: the hand-over's CAs and the key that seals revisions.
//!
//! Each lives in a Secret that the leader creates once and nobody ever replaces,
//! because agents on disconnected nodes believe in them: a new CA is a new Secret
//! beside the old ones. Their public halves are published in the ConfigMap
//! `lighterman-trust`. `app` establishes them at the start and then keeps them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crds::names;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::account;
use crate::handover::rotation::Rotation;
use crate::handover::tls::{self, CertificateAuthority, Leaf, TlsError};
use crate::reader::{ReadError, Reader};
use crate::seal::{self, InvalidSealKey, SealKey};
use crate::writer::{WriteError, Writer};

/// Pause between two looks while another replica is to create the Secrets, and
/// between two looks at whether this one leads.
const RETRY: Duration = Duration::from_secs(2);
/// Longest pause between two looks at the CAs.
const LOOK: Duration = Duration::from_secs(60);
/// Most CAs in a row: at one a year more than a lifetime.
const AUTHORITIES_MAX: usize = 1_000;

/// All keys.
#[derive(Debug)]
pub struct Keys {
    /// Sign the hand-over's certificates, one after the other.
    pub authorities: Authorities,
    /// Seals revisions.
    pub seal: SealKey,
}

/// The CAs of the hand-over in the order of their Secrets; never empty.
#[derive(Debug)]
pub struct Authorities {
    all: Vec<CertificateAuthority>,
    made: Vec<Timestamp>,
}

/// What keeps the keys over time: makes a new CA when one is due, publishes, and
/// issues this replica's own certificate anew.
pub struct Custody {
    /// Reads the Secrets.
    pub reader: Reader,
    /// Creates them, and writes the ConfigMap.
    pub writer: Writer,
    /// The operator's namespace.
    pub namespace: String,
    /// When a new CA is due and when it issues.
    pub rotation: Rotation,
    /// Seals revisions; its public half is published too.
    pub seal: SealKey,
    /// What this replica serves with.
    pub leaf: Arc<Leaf>,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The Secret with the CA.
    #[error(transparent)]
    Authority(#[from] TlsError),
    /// The Secret with the seal.
    #[error(transparent)]
    Seal(#[from] InvalidSealKey),
    /// There is no CA yet.
    #[error("there is no Secret lighterman-ca yet")]
    NoAuthority,
    /// A Secret could not be read.
    #[error("the operator's own Secrets could not be read")]
    Read(#[from] ReadError),
    /// A Secret could not be created, or the ConfigMap not be written.
    #[error("the operator's own Secrets could not be created")]
    Write(#[from] WriteError),
}

/// Reads the keys; waits for them, and creates them if this replica leads.
///
/// # Errors
/// Only when a Secret holds something else: that needs a person.
pub async fn establish(
    reader: &Reader,
    writer: &Writer,
    namespace: &str,
) -> Result<Keys, KeysError> {
    loop {
        match attempt(reader, writer, namespace).await {
            Ok(Some(keys)) => return Ok(keys),
            Ok(None) => {}
            Err(error @ (KeysError::Authority(_) | KeysError::Seal(_))) => return Err(error),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "waiting for the operator's keys"
            ),
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Authorities {
    /// The one that issues now.
    ///
    /// # Errors
    /// Never while there is one.
    pub fn issuer(
        &self,
        rotation: &Rotation,
        now: Timestamp,
    ) -> Result<&CertificateAuthority, KeysError> {
        let place = rotation.issuer(&self.made, now);
        place
            .and_then(|place| self.all.get(place))
            .ok_or(KeysError::NoAuthority)
    }

    /// What agents shall trust now: certificates in PEM, one after the other.
    fn bundle(&self, rotation: &Rotation, now: Timestamp) -> String {
        let trusted = rotation.trusted(&self.made, now);
        let trusted = trusted.into_iter().filter_map(|place| self.all.get(place));
        trusted.map(CertificateAuthority::certificate).collect()
    }
}

impl Custody {
    /// Keeps the keys until `shutdown`. Expected flow: nothing for a year; then a new CA,
    /// published at once and issued from after the overlap.
    pub async fn keep(self, shutdown: CancellationToken) {
        let look = LOOK.min(self.rotation.overlap / 4).max(RETRY);
        let (mut due, mut published) = (Instant::now(), None);
        loop {
            let now = Instant::now();
            let term = self.writer.gate().term(now).ok().map(|term| term.number);
            // A new leader publishes at once: the ConfigMap may be gone, or of before.
            if now >= due || (term.is_some() && term != published) {
                match self.look(term.is_some()).await {
                    Ok(()) => (due, published) = (now + look, term),
                    Err(error) => tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the keys of the hand-over could not be looked after; trying again"
                    ),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self, leads: bool) -> Result<(), KeysError> {
        let (reader, namespace, now) = (&self.reader, &self.namespace, Timestamp::now());
        let mut authorities = authorities(reader, namespace).await?;
        if leads && self.rotation.is_due(&authorities.made, now) {
            let place = authorities.all.len();
            create_authority(reader, &self.writer, namespace, place).await?;
            authorities = crate::keys::authorities(reader, namespace).await?;
            tracing::info!(secret = ca_secret(place), "made a new CA for the hand-over");
        }
        let bundle = authorities.bundle(&self.rotation, now);
        let data = BTreeMap::from([
            (names::TRUST_CA_KEY.to_owned(), bundle),
            (
                names::TRUST_SEAL_KEY.to_owned(),
                self.seal.public().to_pem(),
            ),
        ]);
        let published = reader
            .config_map(namespace, names::TRUST_CONFIG_MAP)
            .await?
            .unwrap_or_default();
        if leads && published != data {
            let config_map = ConfigMap {
                // The chart's object, labels and all; only the data is ours.
                metadata: ObjectMeta {
                    labels: None,
                    ..metadata(namespace, names::TRUST_CONFIG_MAP)
                },
                data: Some(data.clone()),
                ..ConfigMap::default()
            };
            self.writer.apply(&config_map).await?;
        }
        let issuer = authorities.issuer(&self.rotation, now)?;
        // The times alone say nothing of a leader that could not publish.
        let is_known = published
            .get(names::TRUST_CA_KEY)
            .is_some_and(|bundle| bundle.contains(issuer.certificate()));
        if is_known {
            self.leaf.renew(issuer, now)?;
        }
        Ok(())
    }
}

/// The keys, or `None` while a Secret is not there and not ours to create.
async fn attempt(
    reader: &Reader,
    writer: &Writer,
    namespace: &str,
) -> Result<Option<Keys>, KeysError> {
    let authorities = match authorities(reader, namespace).await {
        Err(KeysError::NoAuthority) => {
            if !create_authority(reader, writer, namespace, 0).await? {
                return Ok(None);
            }
            authorities(reader, namespace).await?
        }
        read => read?,
    };
    let make = || {
        Ok(BTreeMap::from([(
            seal::SECRET_KEY.to_owned(),
            SealKey::generate()?,
        )]))
    };
    if !create(reader, writer, namespace, names::SEAL_SECRET, make).await? {
        return Ok(None);
    }
    let sealing = reader.secret(namespace, names::SEAL_SECRET).await?;
    let sealing = sealing.unwrap_or_default().remove(seal::SECRET_KEY);
    Ok(Some(Keys {
        authorities,
        seal: SealKey::from_pkcs8(&sealing.unwrap_or_default())?,
    }))
}

/// Every CA there is.
async fn authorities(reader: &Reader, namespace: &str) -> Result<Authorities, KeysError> {
    let (mut all, mut made) = (Vec::new(), Vec::new());
    for place in 0..AUTHORITIES_MAX {
        let secret: Option<Secret> = reader.get("Secret", namespace, &ca_secret(place)).await?;
        let Some(secret) = secret else { break };
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| {
            let value = data.get(key).map(|value| value.0.as_slice());
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        let (certificate, private_key) = (text(tls::CERTIFICATE), text(tls::PRIVATE_KEY));
        all.push(CertificateAuthority::from_pem(&certificate, &private_key)?);
        // The API server's own time of creation, which nobody can write.
        let created = secret.metadata.creation_timestamp.map(|time| time.0);
        made.push(created.unwrap_or(Timestamp::UNIX_EPOCH));
    }
    if all.is_empty() {
        return Err(KeysError::NoAuthority);
    }
    Ok(Authorities { all, made })
}

async fn create_authority(
    reader: &Reader,
    writer: &Writer,
    namespace: &str,
    place: usize,
) -> Result<bool, KeysError> {
    let make = || {
        let (certificate, key) = tls::generate(Timestamp::now())?;
        Ok(BTreeMap::from([
            (tls::CERTIFICATE.to_owned(), certificate.into_bytes()),
            (tls::PRIVATE_KEY.to_owned(), key.into_bytes()),
        ]))
    };
    create(reader, writer, namespace, &ca_secret(place), make).await
}

/// Creates a Secret of ours if it is not there and this replica leads; says
/// whether it is there now. Of two leaders that never were at once, the first to
/// create it wins: it is read back by whoever uses it.
async fn create(
    reader: &Reader,
    writer: &Writer,
    namespace: &str,
    name: &str,
    make: impl FnOnce() -> Result<BTreeMap<String, Vec<u8>>, KeysError>,
) -> Result<bool, KeysError> {
    if reader.secret(namespace, name).await?.is_some() {
        return Ok(true);
    }
    let data = make()?.into_iter();
    let owner = account::owner(reader, namespace).await?;
    let object = Secret {
        metadata: ObjectMeta {
            owner_references: owner.map(|owner| vec![owner]),
            ..metadata(namespace, name)
        },
        data: Some(data.map(|(key, value)| (key, ByteString(value))).collect()),
        type_: Some("Opaque".to_owned()),
        immutable: Some(true),
        ..Secret::default()
    };
    match writer.create(&object).await {
        Ok(_) | Err(WriteError::Conflict) => Ok(true),
        Err(WriteError::NotLeader(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Name of the Secret of the CA at this place: `lighterman-ca`, `lighterman-ca-2`, …
fn ca_secret(place: usize) -> String {
    match place {
        0 => names::CA_SECRET.to_owned(),
        _ => format!("{}-{}", names::CA_SECRET, place.saturating_add(1)),
    }
}

fn metadata(namespace: &str, name: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        labels: Some(BTreeMap::from([(
            names::MANAGED_BY_LABEL.to_owned(),
            names::MANAGED_BY.to_owned(),
        )])),
        ..ObjectMeta::default()
    }
}
