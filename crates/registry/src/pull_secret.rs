//! Image pull secrets: `kubernetes.io/dockerconfigjson` and the older
//! `kubernetes.io/dockercfg`, matched to images the way the kubelet does.
//! Credential helpers that a secret names are never started: it is a tenant's
//! text. Pure; the operator brings the bytes.

use std::collections::BTreeMap;
use std::fmt;

use artifact::ImageReference;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use crate::credentials::Credentials;
use crate::location::Location;

/// A Kubernetes Secret is never larger.
const SIZE_MAX: usize = 1024 * 1024;

/// The credentials of one pull secret.
#[derive(Clone, Debug, Default)]
pub struct PullSecret {
    entries: Vec<(Location, Entry)>,
    warnings: Vec<Warning>,
}

/// Something in a pull secret that has no effect here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// `credsStore`: a program that keeps all credentials.
    #[error(
        "credsStore is ignored: programs that a pull secret names are not started; put the credentials in `auths`"
    )]
    CredentialStore,
    /// `credHelpers`: a program for one registry.
    #[error(
        "credHelpers for {registry} is ignored: programs that a pull secret names are not started; put the credentials in `auths`"
    )]
    CredentialHelper {
        /// The registry it is for.
        registry: String,
    },
    /// A key of `auths` that is not a registry.
    #[error("the entry {key:?} is ignored: it is not a registry")]
    NotARegistry {
        /// The key.
        key: String,
    },
}

/// Why a pull secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PullSecretError {
    /// Neither of the two formats.
    #[error(
        "the pull secret is not a Docker configuration: {source}; make it with `kubectl create secret docker-registry`"
    )]
    Malformed {
        /// Where the text is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Larger than a Secret can be.
    #[error("the pull secret is larger than {SIZE_MAX} bytes")]
    TooLarge,
    /// An `auth` field that is not base64 of `user:password`.
    #[error("the pull secret's `auth` for {registry} is not base64 of user:password")]
    Auth {
        /// The registry it is for.
        registry: String,
    },
    /// The only entry for the image holds an identity token.
    #[error(
        "the pull secret holds an identitytoken for {registry}, which only Docker itself can use; give a user name and an access token instead"
    )]
    IdentityToken {
        /// The registry it is for.
        registry: String,
    },
}

#[derive(Clone, PartialEq, Eq)]
enum Entry {
    Credentials(Credentials),
    IdentityToken,
}

#[derive(Deserialize)]
struct DockerConfigJson {
    #[serde(default)]
    auths: BTreeMap<String, AuthEntry>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct AuthEntry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

impl PullSecret {
    /// Reads the value of `.dockerconfigjson`.
    ///
    /// # Errors
    /// See [`PullSecretError`].
    pub fn parse(text: &[u8]) -> Result<Self, PullSecretError> {
        check_size(text)?;
        let config: DockerConfigJson =
            serde_json::from_slice(text).map_err(|source| PullSecretError::Malformed { source })?;
        let mut secret = Self::from_entries(config.auths)?;
        if config.creds_store.is_some_and(|store| !store.is_empty()) {
            secret.warnings.push(Warning::CredentialStore);
        }
        secret.warnings.extend(
            config
                .cred_helpers
                .into_keys()
                .map(|registry| Warning::CredentialHelper { registry }),
        );
        Ok(secret)
    }

    /// Reads the value of the older `.dockercfg`: the entries alone.
    ///
    /// # Errors
    /// See [`PullSecretError`].
    pub fn parse_dockercfg(text: &[u8]) -> Result<Self, PullSecretError> {
        check_size(text)?;
        let entries =
            serde_json::from_slice(text).map_err(|source| PullSecretError::Malformed { source })?;
        Self::from_entries(entries)
    }

    /// What in it has no effect.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The credentials of all secrets for an image, most specific first. Empty
    /// when none is for it.
    ///
    /// # Errors
    /// [`PullSecretError::IdentityToken`] when all that is for the image is an
    /// identity token: going on as anonymous would hide the reason.
    pub fn for_image<'a>(
        secrets: impl IntoIterator<Item = &'a Self>,
        image: &ImageReference,
    ) -> Result<Vec<Credentials>, PullSecretError> {
        let mut entries: Vec<&(Location, Entry)> = secrets
            .into_iter()
            .flat_map(|secret| &secret.entries)
            .filter(|(location, _)| location.covers(image))
            .collect();
        // The kubelet's order: reverse by text, so that a longer path comes
        // before its prefix and a letter before `*`. Stable: the secrets' own
        // order decides between equals.
        entries.sort_by(|(left, _), (right, _)| right.key.cmp(&left.key));
        let credentials: Vec<Credentials> = entries
            .iter()
            .filter_map(|(_, entry)| match entry {
                Entry::Credentials(credentials) => Some(credentials.clone()),
                Entry::IdentityToken => None,
            })
            .collect();
        match (credentials.is_empty(), entries.first()) {
            (true, Some((location, _))) => Err(PullSecretError::IdentityToken {
                registry: location.key.clone(),
            }),
            _ => Ok(credentials),
        }
    }

    /// Credentials that are known already, by the location they are for.
    pub(crate) fn of(credentials: BTreeMap<String, Credentials>) -> Self {
        let located = |(key, credentials): (String, _)| {
            Some((Location::parse(&key)?, Entry::Credentials(credentials)))
        };
        Self {
            entries: credentials.into_iter().filter_map(located).collect(),
            warnings: Vec::new(),
        }
    }

    fn from_entries(entries: BTreeMap<String, AuthEntry>) -> Result<Self, PullSecretError> {
        let mut secret = Self::default();
        for (key, entry) in entries {
            let Some(location) = Location::parse(&key) else {
                secret.warnings.push(Warning::NotARegistry { key });
                continue;
            };
            if let Some(entry) = entry.read(&key)? {
                secret.entries.push((location, entry));
            }
        }
        Ok(secret)
    }
}

impl AuthEntry {
    fn read(self, registry: &str) -> Result<Option<Entry>, PullSecretError> {
        let (username, password) = if self.auth.is_empty() {
            (self.username, self.password)
        } else {
            decode(&self.auth).ok_or_else(|| PullSecretError::Auth {
                registry: registry.to_owned(),
            })?
        };
        Ok(match (password.is_empty(), self.identitytoken.is_empty()) {
            (false, _) => Some(Entry::Credentials(Credentials::basic(username, password))),
            (true, false) => Some(Entry::IdentityToken),
            (true, true) => None,
        })
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credentials(credentials) => credentials.fmt(f),
            Self::IdentityToken => f.write_str("identity token (redacted)"),
        }
    }
}

fn check_size(text: &[u8]) -> Result<(), PullSecretError> {
    if text.len() > SIZE_MAX {
        return Err(PullSecretError::TooLarge);
    }
    Ok(())
}

/// `user:password` out of base64, padded or not, as Docker wrote it over the years.
fn decode(auth: &str) -> Option<(String, String)> {
    let auth = auth.trim();
    let bytes = STANDARD
        .decode(auth)
        .or_else(|_| STANDARD_NO_PAD.decode(auth))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (username, password) = text.split_once(':')?;
    Some((
        username.to_owned(),
        password.trim_end_matches(['\0', '\n']).to_owned(),
    ))
}
