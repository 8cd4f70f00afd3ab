//! Single objects read from the API server by name.
//!
//! The only way observe and the hand-over reach Secrets and ConfigMaps: by
//! `get`, one name at a time, so the operator's role needs no `list` on them.
//! It cannot write; `Writer` can.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

/// Longest wait for one object: a hung API server must not hold up a reconcile
/// until the connection's own timeout of minutes.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads by name; cheap to clone.
#[derive(Clone)]
pub struct Reader {
    client: Client,
}

/// Why an object could not be read. Its absence is not an error.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The operator's role does not allow it in this namespace.
    #[error(
        "the operator may not read {kind} {namespace}/{name}: bind its role in namespace {namespace}"
    )]
    Forbidden {
        /// Kind of the object.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Anything else the API server said.
    #[error("the API server could not be asked")]
    Api(#[source] Box<kube::Error>),
}

impl Reader {
    /// Reads with the identity of `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// The data of a Secret, or `None` if there is no such Secret.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ReadError> {
        let secret: Option<Secret> = self.get("Secret", namespace, name).await?;
        Ok(secret.map(|secret| {
            secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0))
                .collect()
        }))
    }

    /// The data of a ConfigMap, or `None` if there is no such ConfigMap.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, String>>, ReadError> {
        let config_map: Option<ConfigMap> = self.get("ConfigMap", namespace, name).await?;
        Ok(config_map.map(|config_map| config_map.data.unwrap_or_default()))
    }

    /// All data of a ConfigMap, `binaryData` too, or `None` if there is no such ConfigMap.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn config_map_files(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, ReadError> {
        let config_map: Option<ConfigMap> = self.get("ConfigMap", namespace, name).await?;
        Ok(config_map.map(|config_map| {
            let text = config_map.data.unwrap_or_default().into_iter();
            let binary = config_map.binary_data.unwrap_or_default().into_iter();
            text.map(|(key, value)| (key, value.into_bytes()))
                .chain(binary.map(|(key, value)| (key, value.0)))
                .collect()
        }))
    }

    /// One namespaced object.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn get<K>(
        &self,
        kind: &'static str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<K>, ReadError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        match tokio::time::timeout(TIMEOUT, api.get_opt(name)).await {
            Err(_) => Err(ReadError::Timeout),
            Ok(Ok(object)) => Ok(object),
            Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => {
                Err(ReadError::Forbidden {
                    kind,
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
            }
            Ok(Err(error)) => Err(ReadError::Api(Box::new(error))),
        }
    }
}
