//! What a component asks its registry with: the credentials of its pull secrets,
//! and then those of the platform's credential providers, in the kubelet's order.
//! Called by the resolver's jobs.

use artifact::Digest;
use crds::Reason;
use registry::{CredentialProviders, Credentials, PullSecret};

use super::Failure;
use super::pull_secrets::PullSecrets;
use crate::component::Validated;
use crate::reader::Reader;

/// Gathers credentials.
pub struct Keyring {
    pull_secrets: PullSecrets,
    providers: Option<CredentialProviders>,
}

/// What a component asks its registry with.
pub(super) struct Access {
    /// In the order in which they are tried; none is anonymous.
    pub(super) credentials: Vec<Credentials>,
    /// Stands for the credentials where they must not be kept. Two components
    /// have the same one only if they ask with the same.
    pub(super) identity: Digest,
    /// What should have given credentials and did not.
    lacking: Vec<Lacking>,
}

/// Something that should have given credentials and did not, and why.
#[derive(Debug, Clone)]
pub(super) struct Lacking {
    reason: Reason,
    message: String,
}

impl Lacking {
    pub(super) fn new(reason: Reason, message: String) -> Self {
        Self { reason, message }
    }
}

impl Keyring {
    /// Reads pull secrets with `reader`, and asks `providers` where the platform
    /// has some.
    pub fn new(reader: Reader, providers: Option<CredentialProviders>) -> Self {
        Self {
            pull_secrets: PullSecrets::new(reader),
            providers,
        }
    }

    /// What `validated` asks its registry with.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub(super) async fn access(&self, validated: &Validated) -> Result<Access, Failure> {
        let found = self.pull_secrets.of(validated).await?;
        let mut lacking = found.lacking;
        let secrets = found.secrets.iter().map(AsRef::as_ref);
        let mut credentials =
            PullSecret::for_image(secrets, &validated.image).unwrap_or_else(|error| {
                lacking.push(Lacking::new(
                    Reason::ImagePullSecretInvalid,
                    error.to_string(),
                ));
                Vec::new()
            });
        if let Some(providers) = &self.providers {
            for given in providers.for_image(&validated.image).await {
                match given {
                    Ok(given) => credentials.extend(given),
                    Err(error) => lacking.push(Lacking::new(
                        Reason::CredentialProviderFailed,
                        error.to_string(),
                    )),
                }
            }
        }
        let mut identity = Vec::new();
        for credentials in &credentials {
            identity.extend_from_slice(credentials.fingerprint().as_bytes());
        }
        Ok(Access {
            credentials,
            identity: Digest::of(&identity),
            lacking,
        })
    }

    /// What a registry's refusal comes from, when something that should have
    /// opened it was lacking. Secrets are read anew after it.
    pub(super) fn explain(
        &self,
        validated: &Validated,
        access: &Access,
        failure: Failure,
    ) -> Failure {
        // Many registries call what they do not show to a caller "not found".
        if !matches!(
            failure.reason,
            Reason::RegistryUnauthorized | Reason::ImageNotFound
        ) {
            return failure;
        }
        self.pull_secrets.forget(validated);
        let Some(first) = access.lacking.first() else {
            return failure;
        };
        Failure {
            reason: first.reason,
            message: format!("{}. Without it: {}", first.message, failure.message),
            ..failure
        }
    }
}
