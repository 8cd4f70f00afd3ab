//! The operator's own ServiceAccount, as the owner of what the operator makes in
//! its namespace: `helm uninstall` takes the account, and garbage collection the
//! rest. Reads only. Called by `app` at the start and by `keys`.

use std::time::Duration;

use crds::names;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::reader::{ReadError, Reader};

/// Pause between two looks while the API server does not answer.
const RETRY: Duration = Duration::from_secs(2);

/// The reference to it; `None` for an operator that runs without one.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn owner(reader: &Reader, namespace: &str) -> Result<Option<OwnerReference>, ReadError> {
    let name = names::OPERATOR_SERVICE_ACCOUNT;
    let account: Option<ServiceAccount> = reader.get("ServiceAccount", namespace, name).await?;
    Ok(account.map(|account| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ServiceAccount".to_owned(),
        name: name.to_owned(),
        uid: account.uid().unwrap_or_default(),
        controller: Some(false),
        block_owner_deletion: Some(false),
    }))
}

/// The same, asked for until it is known.
pub async fn known_owner(reader: &Reader, namespace: &str) -> Option<OwnerReference> {
    loop {
        match owner(reader, namespace).await {
            Ok(owner) => return owner,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the operator's own ServiceAccount cannot be read; trying again"
            ),
        }
        tokio::time::sleep(RETRY).await;
    }
}
