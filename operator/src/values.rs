//! The values a component refers to: read from Secrets and ConfigMaps by name.
//!
//! Variables, the files of volumes, and what the host adds to requests in the
//! component's stead. Never kept and never written anywhere: observe asks whether
//! they are there, the hand-over delivers them to the node that runs the component.
//! `Values` shows names only when printed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crds::Reason;
use crds::component::{EnvFromSource, EnvVar, KeyToPath, OutboundGrant, SecretKeySelector, Volume};
use crds::handover::{self, Values};
use crds::revision::RevisionDocument;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::component::Validated;
use crate::reader::{ReadError, Reader};

/// Where Secrets and ConfigMaps are: an API server, or files.
pub trait Objects: Send + Sync {
    /// The data of an object; `None` when there is none of this name.
    fn data<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Data>, ReadError>>;
}

/// The data of a Secret or ConfigMap.
pub type Data = BTreeMap<String, Vec<u8>>;

/// What a component refers to; no values.
#[derive(Debug, Clone, Copy)]
pub struct References<'a> {
    /// Its environment.
    pub env: &'a [EnvVar],
    /// Sources of its environment.
    pub env_from: &'a [EnvFromSource],
    /// Its configuration.
    pub config: &'a [EnvVar],
    /// Its volumes; those with a ConfigMap or a Secret have files.
    pub volumes: &'a [Volume],
    /// Where it may connect to; credentials refer to Secrets.
    pub outbound: &'a [OutboundGrant],
}

/// Why values cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    /// The Secret or ConfigMap does not exist.
    #[error(
        "{kind} {name} does not exist in namespace {namespace}; create it, or mark the reference optional: true"
    )]
    Missing {
        /// `Secret` or `ConfigMap`.
        kind: Kind,
        /// The component's namespace.
        namespace: String,
        /// Name of the object.
        name: String,
    },
    /// It exists and lacks the key.
    #[error(
        "{kind} {name} in namespace {namespace} has no key {key}; add it, or mark the reference optional: true"
    )]
    KeyMissing {
        /// `Secret` or `ConfigMap`.
        kind: Kind,
        /// The component's namespace.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// A value that is no text cannot be a variable or a header.
    #[error(
        "key {key} of {kind} {name} in namespace {namespace} is no UTF-8 text; a variable or a header must be"
    )]
    NotText {
        /// `Secret` or `ConfigMap`.
        kind: Kind,
        /// The component's namespace.
        namespace: String,
        /// Name of the object.
        name: String,
        /// The key.
        key: String,
    },
    /// All of them together, or the files, are more than the hand-over carries.
    #[error(
        "{what} of the component take {size} bytes, and a node is sent at most {most}; most of it comes from {kind} {name}: make it smaller, or name single keys of it"
    )]
    TooLarge {
        /// `the files` or `the values`.
        what: &'static str,
        /// Bytes they take.
        size: usize,
        /// Bytes they may take.
        most: usize,
        /// `Secret` or `ConfigMap`.
        kind: Kind,
        /// Name of the largest object.
        name: String,
    },
    /// The API server could not be asked.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Where values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// core/v1 Secret.
    Secret,
    /// core/v1 ConfigMap.
    ConfigMap,
}

impl<'a> From<&'a Validated> for References<'a> {
    fn from(validated: &'a Validated) -> Self {
        Self {
            env: &validated.env,
            env_from: &validated.env_from,
            config: &validated.config,
            volumes: &validated.volumes,
            outbound: &validated.capabilities.network.outbound,
        }
    }
}

impl<'a> From<&'a RevisionDocument> for References<'a> {
    fn from(document: &'a RevisionDocument) -> Self {
        Self {
            env: &document.env,
            env_from: &document.env_from,
            config: &document.config,
            volumes: &document.volumes,
            outbound: &document.capabilities.network.outbound,
        }
    }
}

impl References<'_> {
    /// Whether any of them refers to an object that may change on its own.
    pub fn refer(&self) -> bool {
        let mut variables = self.env.iter().chain(self.config);
        !self.env_from.is_empty()
            || variables.any(|variable| variable.value_from.is_some())
            || self
                .volumes
                .iter()
                .any(|volume| volume.config_map.is_some() || volume.secret.is_some())
            || self.outbound.iter().any(|rule| rule.credentials.is_some())
    }
}

/// Reads every object once; `env` wins over `env_from`, later over earlier.
///
/// # Errors
/// The first that cannot be given, in the order of the spec.
pub async fn resolve(
    objects: &dyn Objects,
    namespace: &str,
    references: References<'_>,
) -> Result<Values, ValuesError> {
    let mut sources = Sources {
        objects,
        namespace,
        read: BTreeMap::new(),
        file_bytes: 0,
    };
    let mut values = Values::default();
    for source in references.env_from {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        let (kind, reference) = match (&source.secret_ref, &source.config_map_ref) {
            (Some(reference), _) => (Kind::Secret, reference),
            (None, Some(reference)) => (Kind::ConfigMap, reference),
            (None, None) => continue,
        };
        let Some(data) = sources
            .data(kind, &reference.name, reference.optional == Some(true))
            .await?
        else {
            continue;
        };
        for (key, value) in data {
            // As Kubernetes does with envFrom: what is no text is left out.
            if let Ok(text) = String::from_utf8(value) {
                values.env.insert(format!("{prefix}{key}"), text);
            }
        }
    }
    for variable in references.env {
        if let Some(value) = sources.value(variable).await? {
            values.env.insert(variable.name.clone(), value);
        }
    }
    for variable in references.config {
        if let Some(value) = sources.value(variable).await? {
            values.config.insert(variable.name.clone(), value);
        }
    }
    for volume in references.volumes {
        if let Some(files) = sources.files(volume).await? {
            values.files.insert(volume.name.clone(), files);
        }
    }
    for credentials in references
        .outbound
        .iter()
        .filter_map(|rule| rule.credentials.as_ref())
    {
        let secret = &credentials.secret_key_ref;
        if let Some(value) = sources.secret(secret).await? {
            let name = handover::credential_key(&secret.name, &secret.key);
            values.credentials.insert(name, value);
        }
    }
    sources.fits(&values)?;
    Ok(values)
}

impl ValuesError {
    /// The reason this is reported under.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Missing {
                kind: Kind::Secret, ..
            } => Reason::SecretMissing,
            Self::Missing {
                kind: Kind::ConfigMap,
                ..
            } => Reason::ConfigMapMissing,
            Self::KeyMissing {
                kind: Kind::Secret, ..
            } => Reason::SecretKeyMissing,
            Self::KeyMissing {
                kind: Kind::ConfigMap,
                ..
            } => Reason::ConfigMapKeyMissing,
            Self::NotText { .. } | Self::TooLarge { .. } => Reason::InvalidValue,
            Self::Read(ReadError::Forbidden { .. }) => Reason::SecretForbidden,
            Self::Read(_) => Reason::SecretsUnavailable,
        }
    }
}

impl Objects for Reader {
    fn data<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Data>, ReadError>> {
        match kind {
            Kind::Secret => self.secret(namespace, name).boxed(),
            Kind::ConfigMap => self.config_map_files(namespace, name).boxed(),
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

/// Objects read so far: one that is named ten times is read once.
struct Sources<'a> {
    objects: &'a dyn Objects,
    namespace: &'a str,
    read: BTreeMap<(Kind, String), Option<Data>>,
    /// Bytes of all files so far.
    file_bytes: usize,
}

impl Sources<'_> {
    async fn data(
        &mut self,
        kind: Kind,
        name: &str,
        optional: bool,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ValuesError> {
        let key = (kind, name.to_owned());
        let data = match self.read.get(&key) {
            Some(data) => data.clone(),
            None => {
                let data = self.objects.data(kind, self.namespace, name).await?;
                self.read.insert(key, data.clone());
                data
            }
        };
        if data.is_none() && !optional {
            return Err(ValuesError::Missing {
                kind,
                namespace: self.namespace.to_owned(),
                name: name.to_owned(),
            });
        }
        Ok(data)
    }

    async fn value(&mut self, variable: &EnvVar) -> Result<Option<String>, ValuesError> {
        let Some(source) = &variable.value_from else {
            return Ok(variable.value.clone());
        };
        match (&source.secret_key_ref, &source.config_map_key_ref) {
            (Some(secret), _) => self.secret(secret).await,
            (None, Some(map)) => {
                let optional = map.optional == Some(true);
                self.text(Kind::ConfigMap, &map.name, &map.key, optional)
                    .await
            }
            (None, None) => Ok(None),
        }
    }

    async fn secret(&mut self, secret: &SecretKeySelector) -> Result<Option<String>, ValuesError> {
        let optional = secret.optional == Some(true);
        self.text(Kind::Secret, &secret.name, &secret.key, optional)
            .await
    }

    /// The text under one key.
    async fn text(
        &mut self,
        kind: Kind,
        name: &str,
        key: &str,
        optional: bool,
    ) -> Result<Option<String>, ValuesError> {
        let Some(mut data) = self.data(kind, name, optional).await? else {
            return Ok(None);
        };
        match data.remove(key) {
            Some(value) => String::from_utf8(value)
                .map(Some)
                .map_err(|_| ValuesError::NotText {
                    kind,
                    namespace: self.namespace.to_owned(),
                    name: name.to_owned(),
                    key: key.to_owned(),
                }),
            None if optional => Ok(None),
            None => Err(self.without(kind, name, key)),
        }
    }

    /// The files of a volume in base64, by their paths in it; `None` for a volume that
    /// has none. An optional object that is not there is an empty directory.
    async fn files(
        &mut self,
        volume: &Volume,
    ) -> Result<Option<BTreeMap<String, String>>, ValuesError> {
        let (kind, name, items, optional) = match (&volume.config_map, &volume.secret) {
            (Some(map), _) => (Kind::ConfigMap, &map.name, &map.items, map.optional),
            (None, Some(secret)) => (
                Kind::Secret,
                &secret.secret_name,
                &secret.items,
                secret.optional,
            ),
            (None, None) => return Ok(None),
        };
        let optional = optional == Some(true);
        let Some(mut data) = self.data(kind, name, optional).await? else {
            return Ok(Some(BTreeMap::new()));
        };
        let named = match items.as_slice() {
            [] => data,
            items => {
                let mut named = BTreeMap::new();
                for KeyToPath { key, path } in items {
                    match data.remove(key) {
                        Some(value) => drop(named.insert(path.clone(), value)),
                        None if optional => {}
                        None => return Err(self.without(kind, name, key)),
                    }
                }
                named
            }
        };
        let bytes = named.values().map(Vec::len).sum();
        self.file_bytes = self.file_bytes.saturating_add(bytes);
        self.within("the files", self.file_bytes, handover::FILES_MAX)?;
        let files = named
            .into_iter()
            .map(|(path, value)| (path, BASE64.encode(value)));
        Ok(Some(files.collect()))
    }

    /// Whether one answer of the hand-over holds `values`.
    fn fits(&self, values: &Values) -> Result<(), ValuesError> {
        let size = serde_json::to_vec(values).map_or(usize::MAX, |body| body.len());
        self.within("the values", size, handover::JSON_MAX)
    }

    fn within(&self, what: &'static str, size: usize, most: usize) -> Result<(), ValuesError> {
        if size <= most {
            return Ok(());
        }
        let held = |data: &Option<Data>| -> usize {
            let values = data.iter().flatten().map(|(_, value)| value.len());
            values.sum()
        };
        let largest = self.read.iter().max_by_key(|(_, data)| held(data));
        let (kind, name) = largest.map_or((Kind::ConfigMap, String::new()), |((kind, name), _)| {
            (*kind, name.clone())
        });
        Err(ValuesError::TooLarge {
            what,
            size,
            most,
            kind,
            name,
        })
    }

    fn without(&self, kind: Kind, name: &str, key: &str) -> ValuesError {
        ValuesError::KeyMissing {
            kind,
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
            key: key.to_owned(),
        }
    }
}
