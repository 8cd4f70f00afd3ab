//! Trusted roots: the certificate authorities, transparency logs and timestamp
//! authorities that short-lived certificates and timestamps are checked with,
//! as sigstore's `trusted_root.json` lists them. Which policy refers to which
//! root is for `trust`; where the files come from is for the callers.

mod public_good;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use sigstore_verify::Verifier;

use crate::Digest;
use crate::limits::TRUSTED_ROOT_MAX;

pub use public_good::{Believed, GatherError, PublicGoodError, PublicGoodMetadata, RootOfTrust};

/// A `trusted_root.json`, checked and ready to verify with.
#[derive(Clone)]
pub struct TrustedRoot {
    verifier: Arc<Verifier>,
    /// Whether certificates must prove that they are in a certificate
    /// transparency log: exactly when the root names such logs.
    has_certificate_logs: bool,
    digest: Digest,
}

/// A key of a ConfigMap with a `trusted_root.json` in it, in the namespace that
/// Lighterman is installed in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootReference {
    /// The ConfigMap's name.
    pub config_map: String,
    /// The key within it.
    pub key: String,
}

/// The trusted roots that are at hand.
#[derive(Debug, Clone)]
pub struct Roots {
    public_good: Result<TrustedRoot, RootError>,
    /// When the metadata that gave it expires; nothing for that of the build.
    public_good_expires: Option<Timestamp>,
    from_config_maps: BTreeMap<RootReference, Result<TrustedRoot, RootError>>,
}

/// Why a trusted root cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// No `trusted_root.json`, or one with trust material that is refused.
    #[error(
        "it is no usable trusted_root.json: {0}; write one with `cosign trusted-root create`, or take the one of your sigstore"
    )]
    Malformed(String),
    /// Larger than any trusted root.
    #[error("it takes {0} bytes, and a trusted_root.json takes at most {TRUSTED_ROOT_MAX}")]
    TooLarge(usize),
    /// The ConfigMap or its key does not exist, or could not be read.
    #[error("{0}")]
    Missing(String),
}

impl TrustedRoot {
    /// Reads a `trusted_root.json`.
    ///
    /// # Errors
    /// When it cannot be read, or holds a key, certificate or window that is refused.
    pub fn from_json(json: &[u8]) -> Result<Self, RootError> {
        let malformed = |error: &dyn fmt::Display| RootError::Malformed(error.to_string());
        if json.len() > TRUSTED_ROOT_MAX {
            return Err(RootError::TooLarge(json.len()));
        }
        let text = std::str::from_utf8(json).map_err(|error| malformed(&error))?;
        let root =
            sigstore_trust_root::TrustedRoot::from_json(text).map_err(|error| malformed(&error))?;
        let verifier = Verifier::new(&root).map_err(|error| malformed(&error))?;
        Ok(Self {
            verifier: Arc::new(verifier),
            has_certificate_logs: !root.ctlogs.is_empty(),
            digest: Digest::of(json),
        })
    }

    /// The root of sigstore's public-good instance as it was when this version
    /// was built; [`PublicGoodMetadata::check`] leads to a newer one.
    ///
    /// # Errors
    /// Never, unless the build was damaged.
    pub fn public_good() -> Result<Self, RootError> {
        Self::from_json(sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// sha256 of the JSON it was read from.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(crate) fn has_certificate_logs(&self) -> bool {
        self.has_certificate_logs
    }
}

impl Roots {
    /// With the public-good root of this build, and no other.
    #[must_use]
    pub fn new() -> Self {
        Self {
            public_good: TrustedRoot::public_good(),
            public_good_expires: None,
            from_config_maps: BTreeMap::new(),
        }
    }

    /// With another root than that of this build where a policy names none: a newer one
    /// of the public-good instance, or that of a sigstore that the platform has put in its
    /// place, or why there is none yet.
    #[must_use]
    pub fn with_public_good(mut self, root: Result<TrustedRoot, RootError>) -> Self {
        self.public_good = root;
        self
    }

    /// With the time at which the metadata expires that gave the public root. The root
    /// goes on counting after it: see [`Self::public_good_stale_since`].
    #[must_use]
    pub fn with_public_good_until(mut self, expires: Timestamp) -> Self {
        self.public_good_expires = Some(expires);
        self
    }

    /// Since when the public root should have been renewed and was not, as it is `now`.
    #[must_use]
    pub fn public_good_stale_since(&self, now: Timestamp) -> Option<Timestamp> {
        self.public_good_expires.filter(|expires| *expires <= now)
    }

    /// With what a reference stands for, or why it stands for nothing.
    #[must_use]
    pub fn with(mut self, reference: RootReference, root: Result<TrustedRoot, RootError>) -> Self {
        self.from_config_maps.insert(reference, root);
        self
    }

    /// What a policy's authority refers to; nothing stands for the public-good root.
    ///
    /// # Errors
    /// When the root is not at hand or cannot be used, with the mend.
    pub fn get(&self, reference: Option<&RootReference>) -> Result<&TrustedRoot, String> {
        let Some(reference) = reference else {
            return self
                .public_good
                .as_ref()
                .map_err(|error| format!("the public root cannot be used: {error}"));
        };
        match self.from_config_maps.get(reference) {
            Some(Ok(root)) => Ok(root),
            Some(Err(error)) => Err(format!("{reference} cannot be used: {error}")),
            None => Err(format!(
                "{reference} was not found: create it in the namespace that Lighterman is installed in"
            )),
        }
    }

    /// Stands for all roots together.
    pub(crate) fn fingerprint(&self) -> Digest {
        let name = |root: &Result<TrustedRoot, RootError>| match root {
            Ok(root) => root.digest.to_string(),
            Err(error) => error.to_string(),
        };
        let mut parts = vec![name(&self.public_good)];
        for (reference, root) in &self.from_config_maps {
            parts.push(format!("{reference}={}", name(root)));
        }
        Digest::of(parts.join("\n").as_bytes())
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RootReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "key {} of ConfigMap {}",
            self.key, self.config_map
        )
    }
}

impl fmt::Debug for TrustedRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TrustedRoot({})", self.digest)
    }
}
