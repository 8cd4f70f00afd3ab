//! NetworkPolicies that a component has left are taken away. No owner reference
//! reaches from the agents' namespace to the component's, so garbage collection
//! does not do it. Called by the driver when a component is gone.

use crds::{WasmComponent, names};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;

use crate::component::Key;
use crate::mirror::Mirror;
use crate::reader::Reader;
use crate::writer::Writer;

/// The component that a policy is about.
pub fn component(policy: &NetworkPolicy) -> Option<Key> {
    let labels = policy.labels();
    Some(Key::new(
        labels.get(names::COMPONENT_NAMESPACE_LABEL)?,
        labels.get(names::COMPONENT_LABEL)?,
    ))
}

/// Deletes the policies of components whose uid `exists` does not know. Returns the
/// components whose policies have to be looked at again.
pub async fn sweep(
    policies: &Mirror<NetworkPolicy>,
    exists: impl Fn(&str) -> bool,
    reader: &Reader,
    writer: &Writer,
) -> Vec<Key> {
    let mut unfinished = Vec::new();
    for policy in policies.all() {
        let uid = policy.labels().get(names::COMPONENT_UID_LABEL);
        let (Some(key), Some(uid)) = (component(&policy), uid) else {
            continue;
        };
        if exists(uid) {
            continue;
        }
        // A live look: a watch that is behind must not close the port of what runs.
        let found = reader
            .get::<WasmComponent>("WasmComponent", &key.namespace, &key.name)
            .await;
        let outcome = match found {
            Ok(Some(component)) if component.uid().as_ref() == Some(uid) => continue,
            Ok(_) => writer
                .delete(&*policy)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => policies.deleted(&policy),
            Err(error) => {
                tracing::warn!(component = %key, error, "the NetworkPolicy of a component that is gone could not be deleted; trying again");
                unfinished.push(key);
            }
        }
    }
    unfinished
}
