//! What a kubelet does to guard Pods when they end: their process ignores SIGTERM,
//! so the Pod goes when its grace period has run out, and that is only short when
//! the operator said so. Called by the tests that drain nodes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::operator::NAMESPACE;

/// How guard Pods are found.
pub const GUARDS: &str = "app.kubernetes.io/name=lighterman-guard";

/// A longer grace period is an evictor's, and has not run out in any test.
const SHORT: i64 = 5;
const PERIOD: Duration = Duration::from_millis(200);

/// Ends guard Pods until it is dropped.
pub struct Kubelet(JoinHandle<()>);

impl Kubelet {
    /// Starts it for all nodes.
    pub fn start(client: Client) -> Kubelet {
        Kubelet(tokio::spawn(async move {
            let pods = Api::<Pod>::namespaced(client, NAMESPACE);
            loop {
                let found = pods.list(&ListParams::default().labels(GUARDS)).await;
                for pod in found.iter().flat_map(|found| &found.items) {
                    let meta = &pod.metadata;
                    let over = meta
                        .deletion_grace_period_seconds
                        .is_some_and(|of| of <= SHORT);
                    if meta.deletion_timestamp.is_some() && over {
                        let at_once = DeleteParams::default().grace_period(0);
                        // Gone already, or tried again.
                        let _gone = pods.delete(&pod.name_any(), &at_once).await;
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        }))
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.0.abort();
    }
}
