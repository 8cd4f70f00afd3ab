//! What the agent of this machine asks for: revisions, bytes, values, trust.
//!
//! Stands for API server and hand-over. The loop puts on it what it admitted; the agent
//! takes it from here and judges it again, as on any node. Its other edge tells the loop
//! how the placements are doing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use artifact::Parcel;
use crds::Reason;
use crds::handover::{ComponentDenials, DenialReport, Values};
use crds::placement::ComponentPlacementStatus;
use crds::revision::{ComponentIdentity, RevisionDocument};
use futures::future::{self, BoxFuture};
use node_agent::{Offered, PlacementKey, ReportError, Sink, Source, SourceError, Trust};
use tokio::sync::mpsc;

use super::Report;
use super::report::Event;

/// A revision with everything that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Item {
    /// What to run.
    pub(super) document: RevisionDocument,
    /// Its bytes and signatures.
    pub(super) parcel: Parcel,
    /// Its values.
    pub(super) values: Values,
    /// What to judge it by.
    pub(super) trust: Trust,
}

/// The newest admitted revision of each component.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    items: Mutex<BTreeMap<(String, String), Item>>,
}

/// Carries statuses to the loop, and tells what was denied.
pub(super) struct Statuses {
    /// To the loop.
    pub(super) statuses: mpsc::Sender<(PlacementKey, ComponentPlacementStatus)>,
    /// Who is told.
    pub(super) report: Report,
}

impl Shelf {
    /// Puts a revision in the place of the component's earlier one.
    pub(super) fn put(&self, item: Item) {
        let ComponentIdentity {
            namespace, name, ..
        } = &item.document.component;
        self.lock().insert((namespace.clone(), name.clone()), item);
    }

    /// Takes a component away.
    pub(super) fn remove(&self, namespace: &str, name: &str) {
        self.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    fn of_component(&self, namespace: &str, name: &str) -> Result<Item, SourceError> {
        self.lock()
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
            .ok_or_else(|| {
                gone(format!(
                    "component {namespace}/{name} is no longer in the files"
                ))
            })
    }

    fn of_revision(&self, namespace: &str, revision: &str) -> Result<Item, SourceError> {
        self.lock()
            .values()
            .find(|item| {
                item.document.component.namespace == namespace
                    && item.document.revision_name() == revision
            })
            .cloned()
            .ok_or_else(|| gone(format!("revision {namespace}/{revision} has been replaced")))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Item>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Shelf {
    fn revision<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<Offered, SourceError>> {
        let offered = self.of_revision(namespace, revision).map(|item| Offered {
            document: item.document,
            seal: None,
            parcel: None,
        });
        Box::pin(future::ready(offered))
    }

    fn parcel<'a>(&'a self, offered: &'a Offered) -> BoxFuture<'a, Result<Parcel, SourceError>> {
        let namespace = &offered.document.component.namespace;
        let parcel = self
            .of_revision(namespace, &offered.document.revision_name())
            .map(|item| item.parcel);
        Box::pin(future::ready(parcel))
    }

    fn values<'a>(
        &'a self,
        document: &'a RevisionDocument,
    ) -> BoxFuture<'a, Result<Values, SourceError>> {
        let namespace = &document.component.namespace;
        let values = self
            .of_revision(namespace, &document.revision_name())
            .map(|item| item.values);
        Box::pin(future::ready(values))
    }

    fn trust<'a>(
        &'a self,
        component: &'a ComponentIdentity,
    ) -> BoxFuture<'a, Result<Trust, SourceError>> {
        Box::pin(future::ready(
            self.of_component(&component.namespace, &component.name)
                .map(|item| item.trust),
        ))
    }
}

impl Sink for Statuses {
    fn report<'a>(
        &'a self,
        placement: &'a PlacementKey,
        status: &'a ComponentPlacementStatus,
    ) -> BoxFuture<'a, Result<(), ReportError>> {
        Box::pin(async move {
            self.statuses
                .send((placement.clone(), status.clone()))
                .await
                .map_err(|_| ReportError {
                    placement: placement.clone(),
                    message: "this program is ending".to_owned(),
                })
        })
    }

    fn denials<'a>(&'a self, report: &'a DenialReport) -> BoxFuture<'a, Result<(), SourceError>> {
        for ComponentDenials {
            component, kinds, ..
        } in &report.components
        {
            for denial in kinds {
                (self.report)(Event::Denied {
                    component: format!("{}/{}", component.namespace, component.name),
                    capability: denial.capability.clone(),
                    object: denial.object.clone(),
                    rule: denial.rule.clone(),
                    count: denial.count,
                });
            }
        }
        Box::pin(future::ready(Ok(())))
    }
}

fn gone(message: String) -> SourceError {
    SourceError::Refused {
        reason: Reason::RevisionUnknown,
        message,
    }
}
