//! The name of an image: `host[:port]/repository[:tag][@digest]`. Follows the
//! distribution project's grammar and Docker Hub's short names. Knows nothing
//! about registries' protocols; everything that names an image uses it.

mod grammar;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::limits::REFERENCE_MAX;
use grammar::{is_host, is_repository, is_tag};

/// An image's name with the host and `library/` written out, so that two
/// spellings of one image are equal and a policy's glob cannot be dodged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageReference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing to read.
    #[error("the image is empty: write it as registry.example/team/name:tag")]
    Empty,
    /// Longer than any registry accepts.
    #[error("the image is longer than {REFERENCE_MAX} bytes: no registry accepts that")]
    TooLong,
    /// Written as a URL.
    #[error("image {0:?} has a scheme: write it without, as registry.example/team/name:tag")]
    Scheme(String),
    /// The host is not a DNS name or address with an optional port.
    #[error(
        "image {image:?}: {host:?} is not a registry host: write it as registry.example or registry.example:5000"
    )]
    Host {
        /// The whole reference.
        image: String,
        /// The part before the first slash.
        host: String,
    },
    /// The repository is not made of lower-case path segments.
    #[error(
        "image {image:?}: {repository:?} is not a repository: use lower-case letters, digits and single . _ - between them, parts separated by /"
    )]
    Repository {
        /// The whole reference.
        image: String,
        /// The part after the host.
        repository: String,
    },
    /// The tag is not one.
    #[error(
        "image {image:?}: {tag:?} is not a tag: use up to 128 letters, digits, _ . -, not starting with . or -"
    )]
    Tag {
        /// The whole reference.
        image: String,
        /// The part after the colon.
        tag: String,
    },
    /// The digest is not one, or not sha256.
    #[error("image {image:?}: {source}")]
    Digest {
        /// The whole reference.
        image: String,
        /// What is wrong with it.
        source: crate::DigestError,
    },
}

/// Where a name without a host lives.
const DOCKER_HUB: &str = "docker.io";
/// Docker Hub's namespace for a name without one.
const DOCKER_HUB_LIBRARY: &str = "library/";

impl ImageReference {
    /// The host with its port if one is given; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path below the host, without tag and digest.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag, if one is given. `None` with a digest of `None` means `latest`
    /// to a registry.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one is given. It decides over the tag.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The same repository at a digest. The tag, which it was resolved from,
    /// is dropped, because it may name something else by now.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.without_tag()
        }
    }

    /// Host and repository alone: what trust policies and pull secrets match.
    #[must_use]
    pub fn without_tag(&self) -> Self {
        Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: None,
            digest: None,
        }
    }
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(image: &str) -> Result<Self, ReferenceError> {
        if image.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if image.len() > REFERENCE_MAX {
            return Err(ReferenceError::TooLong);
        }
        if image.contains("://") {
            return Err(ReferenceError::Scheme(image.to_owned()));
        }
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => {
                let digest = digest.parse().map_err(|source| ReferenceError::Digest {
                    image: image.to_owned(),
                    source,
                })?;
                (name, Some(digest))
            }
            None => (image, None),
        };
        // A colon before the last slash belongs to the host's port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if let Some(tag) = tag.filter(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag {
                image: image.to_owned(),
                tag: tag.to_owned(),
            });
        }
        let (registry, repository) = match name.split_once('/') {
            Some((host, repository)) if looks_like_host(host) => (host, repository),
            _ => (DOCKER_HUB, name),
        };
        let registry = registry.to_ascii_lowercase();
        if !is_host(&registry) {
            return Err(ReferenceError::Host {
                image: image.to_owned(),
                host: registry,
            });
        }
        if !is_repository(repository) {
            return Err(ReferenceError::Repository {
                image: image.to_owned(),
                repository: repository.to_owned(),
            });
        }
        let (registry, repository) = docker_hub_written_out(registry, repository);
        Ok(Self {
            registry,
            repository,
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl TryFrom<String> for ImageReference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<ImageReference> for String {
    fn from(reference: ImageReference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// Docker's rule for telling a host from the first segment of a short name.
fn looks_like_host(first: &str) -> bool {
    first.contains(['.', ':', '['])
        || first == "localhost"
        || first.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Docker Hub has three names and a namespace that may be left out.
fn docker_hub_written_out(registry: String, repository: &str) -> (String, String) {
    let is_docker_hub = matches!(
        registry.as_str(),
        DOCKER_HUB | "index.docker.io" | "registry-1.docker.io"
    );
    if !is_docker_hub {
        return (registry, repository.to_owned());
    }
    let library = if repository.contains('/') {
        ""
    } else {
        DOCKER_HUB_LIBRARY
    };
    (DOCKER_HUB.to_owned(), format!("{library}{repository}"))
}
