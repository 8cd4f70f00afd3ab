//! What the platform knows of a registry: the mirrors that are asked in its
//! place, and the certificate authorities trusted for these alone. Plain
//! values of a `Config`; nothing here opens a connection.

use std::str::FromStr;

use reqwest::Url;

use crate::credentials::Credentials;
use crate::endpoint;
use crate::pull_secret::{PullSecret, PullSecretError};

/// What the platform knows of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostConfig {
    /// Asked in this order, before the registry itself, with their own credentials and
    /// nobody else's. What they send is checked by digest and signature like all else.
    pub mirrors: Vec<Mirror>,
    /// Whether the registry itself is asked when no mirror can answer.
    pub upstream: bool,
    /// PEM bundles of certificate authorities, trusted for this registry and its
    /// mirrors only.
    pub ca_bundles: Vec<Vec<u8>>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            mirrors: Vec::new(),
            upstream: true,
            ca_bundles: Vec::new(),
        }
    }
}

/// Where a mirror is: `[https://]HOST[:PORT][/PATH]`, where a path is put in front
/// of the repository. Being configured, it may be in a private network, and
/// speaks plain HTTP when it is written so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    url: Url,
    credentials: Credentials,
}

/// Text that is no mirror.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no mirror; write https://HOST[:PORT][/PATH], without user, query or /v2")]
pub struct MirrorError(String);

impl Mirror {
    /// The same, asked with these credentials. They are the platform's: what they open, they
    /// open for all who pull through the mirror.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        Self {
            credentials,
            ..self
        }
    }

    /// Those of the pull secret that are for this mirror, by the rules for images.
    ///
    /// # Errors
    /// See [`PullSecret::for_image`].
    pub fn credentials_of(
        &self,
        secret: &PullSecret,
    ) -> Result<Option<Credentials>, PullSecretError> {
        // Any image there: an entry is for a host, or for what is below a path of it.
        let host = endpoint::authority(&self.url);
        let image = format!("{host}/{}x/x", self.prefix()).parse();
        let Ok(image) = image else { return Ok(None) };
        let mut found = PullSecret::for_image([secret], &image)?.into_iter();
        Ok(found.next())
    }

    /// Whether what is said to it can be read on the way.
    pub fn is_plain(&self) -> bool {
        self.url.scheme() == "http"
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What is put in front of a repository, with its slash, or nothing.
    pub(crate) fn prefix(&self) -> String {
        match self.url.path().trim_matches('/') {
            "" => String::new(),
            path => format!("{path}/"),
        }
    }
}

impl FromStr for Mirror {
    type Err = MirrorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || MirrorError(text.to_owned());
        let url = if text.contains("://") {
            Url::parse(text)
        } else {
            Url::parse(&format!("https://{text}"))
        };
        let url = url.map_err(|_| wrong())?;
        let path = url.path().trim_matches('/');
        // `/v2` is the API's own prefix: a mirror at HOST/v2/hub is HOST/hub here.
        let fits = matches!(url.scheme(), "http" | "https")
            && url.host_str().is_some()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && path != "v2"
            && !path.starts_with("v2/");
        if !fits {
            return Err(wrong());
        }
        Ok(Self {
            url,
            credentials: Credentials::anonymous(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_is_a_host_with_a_path_or_without() {
        let prefix = |text: &str| text.parse::<Mirror>().unwrap().prefix();
        assert_eq!(prefix("https://mirror.example"), "");
        assert_eq!(prefix("http://mirror.lan:5000/"), "");
        assert_eq!(prefix("https://harbor.example/hub/"), "hub/");
        assert_eq!(prefix("harbor.example:8443/hub"), "hub/");
        for text in [
            "",
            "ftp://mirror.example",
            "https://user@mirror.example",
            "https://mirror.example/?ns=x",
            "https://mirror.example/v2/hub",
        ] {
            assert!(text.parse::<Mirror>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mirror_has_the_credentials_of_its_own_host_and_path() {
        let secret = br#"{"auths": {
            "harbor.example": {"username": "any", "password": "p"},
            "harbor.example/hub": {"username": "hub", "password": "p"},
            "https://index.docker.io/v1/": {"username": "docker", "password": "p"}
        }}"#;
        let secret = PullSecret::parse(secret).unwrap();
        let user = |mirror: &str| {
            let mirror: Mirror = mirror.parse().unwrap();
            let credentials = mirror.credentials_of(&secret).unwrap();
            credentials.and_then(|one| one.username().map(str::to_owned))
        };
        assert_eq!(user("https://harbor.example/hub"), Some("hub".to_owned()));
        assert_eq!(user("https://harbor.example/other"), Some("any".to_owned()));
        assert_eq!(user("https://harbor.example:8443/hub"), None);
        assert_eq!(user("https://cache.example"), None);
    }
}
