//! The platform's word on registries: flags and files become the registry client
//! and the credential providers. Everything here comes from who runs the
//! operator, nothing from a tenant. Called by `app` at the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::ImageReference;
use registry::credential_provider::{ConfigError, CredentialProviderConfig};
use registry::{
    Client, Config, CredentialProviders, HostConfig, Mirror, MirrorError, Private, PullSecret,
    PullSecretError,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::args::RegistryArgs;

/// A file of settings is a page of YAML and a few certificates.
const FILE_MAX: u64 = 1 << 20;

/// Why the settings for registries cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistriesError {
    /// A file cannot be read.
    #[error("cannot read {}, given by {flag}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file is no YAML of its kind.
    #[error("{}, given by {flag}, cannot be read as {kind}: {message}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The flag that names it.
        flag: &'static str,
        /// What it should hold.
        kind: &'static str,
        /// Where it is wrong.
        message: String,
    },
    /// An entry of `--registry-config` makes no sense.
    #[error("{}, given by --registry-config: registry {host:?}: {reason}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// The entry.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The credentials of mirrors cannot be used.
    #[error("{}, given by --registry-mirror-credentials", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: PullSecretError,
    },
    /// The credential providers cannot be used.
    #[error("{}, given by --image-credential-provider-config", path.display())]
    Providers {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: ConfigError,
    },
    /// The registry client cannot be built.
    #[error("the registry client cannot be built")]
    Client(#[source] registry::Error),
}

/// The file that `--registry-config` names.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RegistryConfiguration {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(default)]
    registries: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
enum ApiVersion {
    #[serde(rename = "lighterman.dev/v1alpha1")]
    V1Alpha1,
}

#[derive(Debug, Deserialize)]
enum Kind {
    RegistryConfiguration,
}

/// What is known of one registry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    /// As images name it.
    host: String,
    #[serde(default)]
    mirrors: Vec<String>,
    #[serde(default)]
    upstream: Upstream,
    /// Certificates in PEM, trusted for the registry and its mirrors.
    #[serde(default)]
    certificate_authorities: Option<String>,
}

/// Whether the registry itself is asked when no mirror can answer.
#[derive(Debug, Default, Deserialize)]
enum Upstream {
    #[default]
    Fallback,
    Never,
}

/// The client and the providers that these flags ask for.
///
/// # Errors
/// Which flag or file cannot be used, and why.
pub async fn open(
    args: RegistryArgs,
) -> Result<(Client, Option<CredentialProviders>), RegistriesError> {
    // Without `..`: a flag that nobody uses must not compile.
    let RegistryArgs {
        registry_plain_http,
        registry_ca,
        registry_private,
        registry_config,
        registry_mirror_credentials,
        image_credential_provider_config,
        image_credential_provider_bin_dir,
    } = args;
    let mut ca_bundles = Vec::with_capacity(registry_ca.len());
    for path in registry_ca {
        ca_bundles.push(read(&path, "--registry-ca").await?);
    }
    let secret = match registry_mirror_credentials {
        Some(path) => mirror_credentials(&path).await?,
        None => PullSecret::default(),
    };
    let hosts = match registry_config {
        Some(path) => hosts(&path, &secret).await?,
        None => BTreeMap::new(),
    };
    let client = Client::new(Config {
        plain_http: registry_plain_http,
        ca_bundles,
        hosts,
        private: Private::Listed(registry_private),
        ..Config::default()
    })
    .map_err(RegistriesError::Client)?;
    let providers = match image_credential_provider_config.zip(image_credential_provider_bin_dir) {
        Some((path, folder)) => Some(providers(path, &folder).await?),
        None => None,
    };
    Ok((client, providers))
}

async fn mirror_credentials(path: &Path) -> Result<PullSecret, RegistriesError> {
    let flag = "--registry-mirror-credentials";
    let text = read(path, flag).await?;
    let secret = PullSecret::parse(&text).map_err(|source| RegistriesError::Credentials {
        path: path.to_owned(),
        source,
    })?;
    for warning in secret.warnings() {
        tracing::warn!(%warning, "something in the file of {flag} has no effect");
    }
    Ok(secret)
}

async fn hosts(
    path: &Path,
    secret: &PullSecret,
) -> Result<BTreeMap<String, HostConfig>, RegistriesError> {
    let file: RegistryConfiguration =
        yaml(path, "--registry-config", "RegistryConfiguration").await?;
    let mut hosts = BTreeMap::new();
    for entry in file.registries {
        let wrong = |reason: String| RegistriesError::Entry {
            path: path.to_owned(),
            host: entry.host.clone(),
            reason,
        };
        let host = named(&entry.host).ok_or_else(|| {
            wrong("it must be HOST or HOST:PORT, as in the name of an image".to_owned())
        })?;
        let mirrors = entry.mirrors.iter().map(|text| mirror(text, secret));
        let mirrors: Vec<Mirror> = mirrors.collect::<Result<_, _>>().map_err(wrong)?;
        let upstream = matches!(entry.upstream, Upstream::Fallback);
        if mirrors.is_empty() && !upstream {
            return Err(wrong("upstream: Never leaves nobody to ask".to_owned()));
        }
        let authorities = entry.certificate_authorities.as_deref();
        let known = HostConfig {
            mirrors,
            upstream,
            ca_bundles: authorities
                .iter()
                .map(|pem| pem.as_bytes().to_vec())
                .collect(),
        };
        if hosts.insert(host, known).is_some() {
            return Err(wrong("it is there for the second time".to_owned()));
        }
    }
    Ok(hosts)
}

/// A mirror with its credentials, or what is wrong with it.
fn mirror(text: &str, secret: &PullSecret) -> Result<Mirror, String> {
    let mirror: Mirror = text
        .parse()
        .map_err(|error: MirrorError| error.to_string())?;
    let credentials = mirror.credentials_of(secret);
    match credentials.map_err(|error| error.to_string())? {
        Some(_) if mirror.is_plain() => Err(format!(
            "mirror {text} would get its credentials in the clear; write https://"
        )),
        Some(credentials) => Ok(mirror.with_credentials(credentials)),
        None => Ok(mirror),
    }
}

/// A registry as an image reference has it after parsing: Docker Hub's other name
/// and capital letters must not make an entry that matches nothing.
fn named(host: &str) -> Option<String> {
    let image: ImageReference = format!("{}/x/y", host.to_ascii_lowercase()).parse().ok()?;
    let registry = image.registry();
    let hub = ["docker.io", "index.docker.io"];
    let same =
        registry == host.to_ascii_lowercase() || (hub.contains(&registry) && hub.contains(&host));
    same.then(|| registry.to_owned())
}

async fn providers(path: PathBuf, folder: &Path) -> Result<CredentialProviders, RegistriesError> {
    let flag = "--image-credential-provider-config";
    let config: CredentialProviderConfig = yaml(&path, flag, "CredentialProviderConfig").await?;
    CredentialProviders::new(config, folder)
        .map_err(|source| RegistriesError::Providers { path, source })
}

async fn yaml<T: DeserializeOwned>(
    path: &Path,
    flag: &'static str,
    kind: &'static str,
) -> Result<T, RegistriesError> {
    let wrong = |message: String| RegistriesError::Yaml {
        path: path.to_owned(),
        flag,
        kind,
        message,
    };
    let text =
        String::from_utf8(read(path, flag).await?).map_err(|error| wrong(error.to_string()))?;
    serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))
}

async fn read(path: &Path, flag: &'static str) -> Result<Vec<u8>, RegistriesError> {
    let failed = |source| RegistriesError::File {
        path: path.to_owned(),
        flag,
        source,
    };
    let length = tokio::fs::metadata(path).await.map_err(failed)?.len();
    if length > FILE_MAX {
        return Err(failed(std::io::Error::other(format!(
            "it is larger than {FILE_MAX} bytes"
        ))));
    }
    tokio::fs::read(path).await.map_err(failed)
}
