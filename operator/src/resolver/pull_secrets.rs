//! The pull secrets of a component, read by Kubernetes' rules: those that it
//! names, or when it names none those of its namespace's `default`
//! ServiceAccount. One that is missing is passed over, as the kubelet does, and
//! named if the registry then refuses. Called by `access`.

use std::sync::Arc;

use crds::Reason;
use k8s_openapi::api::core::v1::ServiceAccount;
use registry::PullSecret;

use super::Failure;
use super::access::Lacking;
use super::lately::Lately;
use crate::component::Validated;
use crate::reader::{ReadError, Reader};

/// Whose `imagePullSecrets` count for a component that names none.
const SERVICE_ACCOUNT: &str = "default";
/// Secrets of one ServiceAccount that are looked at: the schema's bound for a
/// component's own.
const MOST: usize = 16;

/// Reads pull secrets.
pub(super) struct PullSecrets {
    reader: Reader,
    secrets: Lately<Arc<PullSecret>>,
    accounts: Lately<Vec<String>>,
}

/// The pull secrets of one component.
#[derive(Default)]
pub(super) struct Found {
    /// In their order.
    pub(super) secrets: Vec<Arc<PullSecret>>,
    /// What should be there, and cannot be used.
    pub(super) lacking: Vec<Lacking>,
}

/// Where a Secret is named, for messages.
#[derive(Clone, Copy)]
enum NamedBy {
    Component,
    ServiceAccount,
}

impl PullSecrets {
    pub(super) fn new(reader: Reader) -> Self {
        Self {
            reader,
            secrets: Lately::default(),
            accounts: Lately::default(),
        }
    }

    /// What `validated` may pull with.
    ///
    /// # Errors
    /// When the API server does not answer: going on without a Secret that may
    /// be there would call a private image forbidden.
    pub(super) async fn of(&self, validated: &Validated) -> Result<Found, Failure> {
        let namespace = &validated.key.namespace;
        let mut found = Found::default();
        let (by, names) = if validated.pull_secrets.is_empty() {
            let names = self.of_account(namespace, &mut found.lacking).await?;
            (NamedBy::ServiceAccount, names)
        } else {
            (NamedBy::Component, validated.pull_secrets.clone())
        };
        for name in names {
            match self.secret(namespace, &name, by).await? {
                Ok(secret) => found.secrets.push(secret),
                Err(lacking) => found.lacking.push(lacking),
            }
        }
        Ok(found)
    }

    /// Has all of them read anew: the registry has refused what they say.
    pub(super) fn forget(&self, validated: &Validated) {
        let namespace = &validated.key.namespace;
        let of_account = self.accounts.get(namespace).unwrap_or_default();
        for name in validated.pull_secrets.iter().chain(&of_account) {
            self.secrets.forget(&format!("{namespace}/{name}"));
        }
        self.accounts.forget(namespace);
    }

    async fn of_account(
        &self,
        namespace: &str,
        lacking: &mut Vec<Lacking>,
    ) -> Result<Vec<String>, Failure> {
        if let Some(names) = self.accounts.get(namespace) {
            return Ok(names);
        }
        let account = self
            .reader
            .get::<ServiceAccount>("ServiceAccount", namespace, SERVICE_ACCOUNT)
            .await;
        let account = match account {
            Ok(account) => account,
            Err(error @ ReadError::Forbidden { .. }) => {
                lacking.push(Lacking::new(Reason::SecretForbidden, error.to_string()));
                return Ok(Vec::new());
            }
            Err(error) => return Err(unanswered(&error)),
        };
        let names: Vec<String> = account
            .and_then(|account| account.image_pull_secrets)
            .unwrap_or_default()
            .into_iter()
            .map(|secret| secret.name)
            .filter(|name| !name.is_empty())
            .take(MOST)
            .collect();
        self.accounts.keep(namespace, names.clone());
        Ok(names)
    }

    /// One Secret, or why it cannot be used.
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
        by: NamedBy,
    ) -> Result<Result<Arc<PullSecret>, Lacking>, Failure> {
        let key = format!("{namespace}/{name}");
        if let Some(secret) = self.secrets.get(&key) {
            return Ok(Ok(secret));
        }
        let lacks = |reason, message| Ok(Err(Lacking::new(reason, message)));
        let data = match self.reader.secret(namespace, name).await {
            Ok(Some(data)) => data,
            Ok(None) => {
                let message = format!(
                    "Secret {name} of {by} does not exist in namespace {namespace}; create it with `kubectl create secret docker-registry {name}`"
                );
                return lacks(Reason::ImagePullSecretMissing, message);
            }
            Err(error @ ReadError::Forbidden { .. }) => {
                return lacks(Reason::SecretForbidden, error.to_string());
            }
            Err(error) => return Err(unanswered(&error)),
        };
        let parsed = match (data.get(".dockerconfigjson"), data.get(".dockercfg")) {
            (Some(text), _) => PullSecret::parse(text),
            (None, Some(text)) => PullSecret::parse_dockercfg(text),
            (None, None) => {
                let message = format!(
                    "Secret {name} in namespace {namespace} has no key .dockerconfigjson; make it with `kubectl create secret docker-registry {name}`"
                );
                return lacks(Reason::ImagePullSecretInvalid, message);
            }
        };
        match parsed {
            Ok(secret) => {
                let secret = Arc::new(secret);
                self.secrets.keep(&key, Arc::clone(&secret));
                Ok(Ok(secret))
            }
            Err(error) => lacks(
                Reason::ImagePullSecretInvalid,
                format!("Secret {name} in namespace {namespace}: {error}"),
            ),
        }
    }
}

impl std::fmt::Display for NamedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Component => "spec.imagePullSecrets",
            Self::ServiceAccount => "the imagePullSecrets of ServiceAccount default",
        })
    }
}

fn unanswered(error: &ReadError) -> Failure {
    Failure::waiting(Reason::SecretsUnavailable, error.to_string())
}
