//! What the cluster says about one component: everything the pages are made of.
//!
//! The only file that reads. What the user may not see is said instead of being left out: a
//! page that hides that it is blind would be believed.

use crds::names;
use crds::{ComponentPlacement, WasmComponent};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use serde::de::DeserializeOwned;

use crate::args::ClusterChoice;
use crate::failure::Failure;

/// The most objects of one kind that are read: a component has no more that matter.
const MOST: u32 = 500;

/// A connection to the namespace of the user's choice.
pub(crate) struct Cluster {
    client: Client,
    /// The namespace.
    pub(crate) namespace: String,
}

/// One component, and what belongs to it.
#[derive(Debug, Clone)]
pub(crate) struct Sight {
    /// The component.
    pub(crate) component: WasmComponent,
    /// Where it runs, by node.
    pub(crate) placements: Seen<ComponentPlacement>,
    /// Its versions, oldest first.
    pub(crate) revisions: Seen<ControllerRevision>,
    /// What happened to it lately, latest first.
    pub(crate) events: Seen<Event>,
}

/// Objects of a kind, or why they are not to be seen.
#[derive(Debug, Clone)]
pub(crate) enum Seen<T> {
    /// All of them.
    All(Vec<T>),
    /// The API server's words.
    Hidden(String),
}

impl<T> Seen<T> {
    /// Those that are to be seen.
    pub(crate) fn known(&self) -> &[T] {
        match self {
            Seen::All(known) => known,
            Seen::Hidden(_) => &[],
        }
    }

    /// Why they are not to be seen.
    pub(crate) fn hidden(&self) -> Option<String> {
        match self {
            Seen::All(_) => None,
            Seen::Hidden(message) => Some(message.clone()),
        }
    }
}

impl Cluster {
    /// Connects as `kubectl` would.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub(crate) async fn connect(choice: &ClusterChoice) -> Result<Cluster, Failure> {
        let unusable = |error: &dyn std::error::Error| {
            Failure::new(
                format!("cannot use the kubeconfig: {error}"),
                "look at --kubeconfig, --context and KUBECONFIG",
            )
        };
        let options = KubeConfigOptions {
            context: choice.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &choice.kubeconfig {
            Some(file) => {
                let read = Kubeconfig::read_from(file).map_err(|error| unusable(&error))?;
                Config::from_custom_kubeconfig(read, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(|error| unusable(&error))?;
        let namespace = choice
            .namespace
            .clone()
            .unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| unusable(&error))?;
        Ok(Cluster { client, namespace })
    }

    /// The components of the namespace, to read and to patch.
    pub(crate) fn components(&self) -> Api<WasmComponent> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// One component.
    ///
    /// # Errors
    /// It is not there, or may not be read.
    pub(crate) async fn component(&self, name: &str) -> Result<WasmComponent, Failure> {
        let doing = format!("read WasmComponent {name} in namespace {}", self.namespace);
        let read = self.components().get(name).await;
        read.map_err(|error| Failure::api(&doing, &error))
    }

    /// One component, and what belongs to it.
    ///
    /// # Errors
    /// The component is not there, or something cannot be read for another reason than a
    /// missing right.
    pub(crate) async fn look(&self, name: &str) -> Result<Sight, Failure> {
        let component = self.component(name).await?;
        let uid = component.uid().unwrap_or_default();
        let of_it = ListParams::default()
            .labels(&names::selector(name))
            .limit(MOST);
        let mut placements: Seen<ComponentPlacement> = self.list("placements", &of_it).await?;
        let mut revisions: Seen<ControllerRevision> = self.list("revisions", &of_it).await?;
        let about = ListParams::default()
            .fields(&format!("regarding.uid={uid}"))
            .limit(MOST);
        let mut events: Seen<Event> = self.list("Events", &about).await?;
        if let Seen::All(placements) = &mut placements {
            // Those of an earlier component of the name are on their way out.
            placements.retain(|placement| placement.spec.component_ref.uid == uid);
            placements.sort_by(|one, other| one.spec.node_name.cmp(&other.spec.node_name));
        }
        if let Seen::All(revisions) = &mut revisions {
            revisions.sort_by_key(|revision| revision.revision);
        }
        if let Seen::All(events) = &mut events {
            events.sort_by_key(|event| std::cmp::Reverse(last_seen(event)));
        }
        Ok(Sight {
            component,
            placements,
            revisions,
            events,
        })
    }

    async fn list<K>(&self, what: &str, parameters: &ListParams) -> Result<Seen<K>, Failure>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), &self.namespace);
        match api.list(parameters).await {
            Ok(list) => Ok(Seen::All(list.items)),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Ok(Seen::Hidden(status.message.clone()))
            }
            Err(error) => Err(Failure::api(&format!("list {what}"), &error)),
        }
    }
}

/// When an Event was told last.
pub(crate) fn last_seen(event: &Event) -> Option<jiff::Timestamp> {
    let series = event
        .series
        .as_ref()
        .map(|series| series.last_observed_time.0);
    let first = event.event_time.as_ref().map(|time| time.0);
    let created = event
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|time| time.0);
    series.or(first).or(created)
}

#[cfg(test)]
pub(crate) mod fixture;
