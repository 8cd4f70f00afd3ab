//! `CredentialProviderConfig` of the kubelet, read as strictly as the kubelet
//! reads it, and checked before any program is started. Pure.

use std::path::PathBuf;
use std::time::Duration;

use artifact::ImageReference;
use jiff::SignedDuration;
use serde::Deserialize;

use crate::location::Location;

/// The one version of the file.
const CONFIG_VERSION: &str = "kubelet.config.k8s.io/v1";
/// The one version of the protocol.
pub(super) const PROTOCOL_VERSION: &str = "credentialprovider.kubelet.k8s.io/v1";
/// Plugins, and patterns of each: a platform has a handful.
const MOST: usize = 64;

/// The file, as the kubelet's `--image-credential-provider-config` names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CredentialProviderConfig {
    api_version: String,
    kind: String,
    providers: Vec<ProviderConfig>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Another kind or version of object.
    #[error(
        "it is a {kind} of {api_version}; only CredentialProviderConfig of {CONFIG_VERSION} is understood"
    )]
    Version {
        /// The `kind` it has.
        kind: String,
        /// The `apiVersion` it has.
        api_version: String,
    },
    /// Something in one provider.
    #[error("provider {provider:?}: {reason}")]
    Provider {
        /// Its name.
        provider: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There are none, or more than anybody needs.
    #[error("it must have between 1 and {MOST} providers")]
    Count,
    /// A program is not where it should be.
    #[error("{} is not there", program.display())]
    NoProgram {
        /// The file looked for.
        program: PathBuf,
    },
}

/// A provider that makes sense.
#[derive(Clone, Debug)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// What an answer that does not say is good for.
    pub(super) default_lasts: Duration,
    images: Vec<Location>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ProviderConfig {
    name: String,
    match_images: Vec<String>,
    default_cache_duration: String,
    api_version: String,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    #[serde(default)]
    token_attributes: Option<serde::de::IgnoredAny>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

impl CredentialProviderConfig {
    pub(super) fn validate(self) -> Result<Vec<Plugin>, ConfigError> {
        if self.api_version != CONFIG_VERSION || self.kind != "CredentialProviderConfig" {
            return Err(ConfigError::Version {
                kind: self.kind,
                api_version: self.api_version,
            });
        }
        if self.providers.is_empty() || self.providers.len() > MOST {
            return Err(ConfigError::Count);
        }
        self.providers
            .into_iter()
            .map(|provider| {
                let name = provider.name.clone();
                provider.validate().map_err(|reason| ConfigError::Provider {
                    provider: name,
                    reason,
                })
            })
            .collect()
    }
}

impl ProviderConfig {
    fn validate(self) -> Result<Plugin, &'static str> {
        // A name is a file in one folder, and leads nowhere else.
        if self.name.is_empty()
            || matches!(self.name.as_str(), "." | "..")
            || self.name.contains(['/', '\\', '\0', ' '])
        {
            return Err("its name must be that of a file, without folder");
        }
        if self.api_version != PROTOCOL_VERSION {
            return Err("its apiVersion must be credentialprovider.kubelet.k8s.io/v1");
        }
        if self.token_attributes.is_some() {
            return Err("tokenAttributes is not supported: components have no service account");
        }
        if self.match_images.is_empty() || self.match_images.len() > MOST {
            return Err("matchImages must have between 1 and 64 entries");
        }
        let images = self
            .match_images
            .iter()
            .map(|image| Location::parse(image))
            .collect::<Option<_>>()
            .ok_or("an entry of matchImages is no host with a port and a path")?;
        let default_lasts = duration(&self.default_cache_duration)
            .ok_or("defaultCacheDuration is no duration such as 12h")?;
        Ok(Plugin {
            name: self.name,
            args: self.args,
            env: self
                .env
                .into_iter()
                .map(|variable| (variable.name, variable.value))
                .collect(),
            default_lasts,
            images,
        })
    }
}

impl Plugin {
    pub(super) fn is_for(&self, image: &ImageReference) -> bool {
        self.images.iter().any(|location| location.covers(image))
    }
}

/// A duration as Go writes it: `12h`, `6h0m0s`, `300ms`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(duration).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [("12h", 43200), ("6h0m0s", 21600), ("1m30s", 90), ("0s", 0)] {
            assert_eq!(duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(duration("300ms"), Some(Duration::from_millis(300)));
        for text in ["", "12", "-1h", "soon"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
