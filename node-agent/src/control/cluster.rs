//! The cluster as source and sink: the hand-over for what the operator says, the API server for
//! what this node reads itself, status patches for what it reports. Called by the loop and by
//! preparations through the traits; holds the only Kubernetes client besides `observe`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use artifact::trust::Scope;
use artifact::{ImageReference, Parcel};
use crds::handover::{DenialReport, TallyReport, Values};
use crds::placement::{RunEnd, RunStatus};
use crds::revision::{ComponentIdentity, RevisionDocument};
use crds::{
    ComponentPlacement, ComponentPlacementStatus, Reason, WasmComponent, WasmComponentSpec, names,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::breaker::Breaker;
use super::ceilings;
use super::fetch::HandOver;
use super::public_root::PublicRoot;
use super::state::Store;
use super::trust::{Standard, TrustBook};
use crate::desired::PlacementKey;
use crate::source::{Offered, ReportError, Sink, Source, SourceError, Trust};
use crate::text::printable;

/// How long the API server may take to answer one request.
const ANSWER: Duration = Duration::from_secs(5);

/// The cluster that this node is part of.
#[derive(Debug)]
pub struct Cluster {
    client: ClientBox,
    hand_over: Arc<HandOver>,
    public_root: Arc<PublicRoot>,
    trust: Arc<TrustBook>,
    documents: Store,
    breaker: Breaker,
}

/// What a revision was admitted by.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    #[serde(flatten)]
    standard: Standard,
    namespace_labels: BTreeMap<String, String>,
    spec: Box<WasmComponentSpec>,
}

/// A client, whose `Debug` would be the whole TLS configuration.
struct ClientBox(Client);

impl std::fmt::Debug for ClientBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Cluster {
    /// The cluster behind a client.
    pub fn new(
        client: Client,
        hand_over: Arc<HandOver>,
        public_root: Arc<PublicRoot>,
        trust: Arc<TrustBook>,
        documents: Store,
    ) -> Self {
        Self {
            client: ClientBox(client),
            hand_over,
            public_root,
            trust,
            documents,
            breaker: Breaker::default(),
        }
    }

    /// The spec of a component, as this node reads it: from the API server, or as it was read
    /// last while the API server is away or has one of a later version.
    async fn spec(
        &self,
        component: &ComponentIdentity,
    ) -> Result<Box<WasmComponentSpec>, SourceError> {
        let kept = format!("component-{}", component.uid);
        match self.read_spec(component).await {
            Ok(spec) => {
                let before: Option<Box<WasmComponentSpec>> =
                    self.documents.load(kept.clone()).await;
                if before.as_ref() != Some(&spec) {
                    self.documents.save(kept, &spec).await;
                }
                Ok(spec)
            }
            Err(error @ (SourceError::Unreachable(_) | SourceError::Malformed(_))) => {
                self.documents.load(kept).await.ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn read_spec(
        &self,
        component: &ComponentIdentity,
    ) -> Result<Box<WasmComponentSpec>, SourceError> {
        if self.breaker.is_open() {
            return Err(SourceError::Unreachable(
                "the API server did not answer a moment ago".to_owned(),
            ));
        }
        let object = self.read(&component.namespace, &component.name).await?;
        let object = object.ok_or_else(|| gone(component))?;
        if object.metadata.uid.as_deref() != Some(component.uid.as_str()) {
            return Err(gone(component));
        }
        let Some(of) = object.labels().get(names::PREVIEW_OF_LABEL) else {
            return spec(&object);
        };
        // The operator writes previews, so their own word is no user's: what one may be is
        // what the component that it is one of makes it.
        let of = self.read(&component.namespace, of).await?;
        let known = of.as_ref().map(spec).transpose()?;
        let preview = known.and_then(|known| {
            let of = of.as_ref()?.name_any();
            known.preview(&of, &component.name)
        });
        preview.map(Box::new).ok_or_else(|| no_preview(component))
    }

    /// A component by name; `None` if there is none.
    async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<DynamicObject>, SourceError> {
        // Not as a typed object: a status of a later version must not hide the spec.
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.0.clone(),
            namespace,
            &ApiResource::erase::<WasmComponent>(&()),
        );
        let read = tokio::time::timeout(ANSWER, api.get_opt(name)).await;
        let unreachable = |message: &str| {
            self.breaker.trip();
            SourceError::Unreachable(format!(
                "the component cannot be read: {}",
                printable(message)
            ))
        };
        match read {
            Ok(Ok(object)) => Ok(object),
            Ok(Err(error)) => Err(unreachable(&error.to_string())),
            Err(_) => Err(unreachable("the API server did not answer in time")),
        }
    }
}

fn spec(object: &DynamicObject) -> Result<Box<WasmComponentSpec>, SourceError> {
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    serde_json::from_value(spec).map_err(|error| {
        SourceError::Malformed(printable(&format!(
            "the spec of the component {}/{} cannot be read: {error}",
            object.namespace().unwrap_or_default(),
            object.name_any()
        )))
    })
}

fn no_preview(component: &ComponentIdentity) -> SourceError {
    SourceError::Refused {
        reason: Reason::GrantExceeded,
        message: format!(
            "WasmComponent {}/{} says that it is a preview, and the component that it names has \
             none of that name; add it to spec.previews there, or remove the label {}",
            component.namespace,
            component.name,
            names::PREVIEW_OF_LABEL
        ),
    }
}

fn gone(component: &ComponentIdentity) -> SourceError {
    SourceError::Refused {
        reason: Reason::RevisionForged,
        message: format!(
            "there is no WasmComponent {}/{} with the uid {} that the placement names",
            component.namespace, component.name, component.uid
        ),
    }
}

impl Source for Cluster {
    fn revision<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a str,
    ) -> BoxFuture<'a, Result<Offered, SourceError>> {
        async move {
            let sealed = self.hand_over.revision(namespace, revision).await?;
            if let Some(root) = &sealed.public_root {
                self.public_root.catch_up(root).await;
            }
            Ok(Offered {
                document: sealed.document,
                seal: Some(sealed.seal),
                parcel: Some(sealed.parcel),
            })
        }
        .boxed()
    }

    fn parcel<'a>(&'a self, offered: &'a Offered) -> BoxFuture<'a, Result<Parcel, SourceError>> {
        async move {
            let index = offered.parcel.as_ref().ok_or_else(|| {
                SourceError::Malformed("a revision without the digests of its bytes".to_owned())
            })?;
            self.hand_over.parcel(index).await
        }
        .boxed()
    }

    fn values<'a>(
        &'a self,
        document: &'a RevisionDocument,
    ) -> BoxFuture<'a, Result<Values, SourceError>> {
        self.hand_over.values(document).boxed()
    }

    fn trust<'a>(
        &'a self,
        component: &'a ComponentIdentity,
    ) -> BoxFuture<'a, Result<Trust, SourceError>> {
        async move {
            let spec = self.spec(component).await?;
            let image: ImageReference =
                spec.image.parse().map_err(|error| SourceError::Refused {
                    reason: Reason::InvalidImageReference,
                    message: printable(&format!("spec.image cannot be read: {error}")),
                })?;
            let known = self.trust.known();
            let missing = |what: &str| SourceError::Refused {
                reason: Reason::TrustUnavailable,
                message: format!("this node has not read {what} yet"),
            };
            let labels = known.namespaces.get(&component.namespace);
            let labels = labels.ok_or_else(|| missing("the namespace"))?;
            let policies = known.standard.capability_policies.as_ref();
            let policies = policies.ok_or_else(|| SourceError::Refused {
                reason: Reason::CapabilityPoliciesUnavailable,
                message: "this node has not read the capability policies yet".to_owned(),
            })?;
            Ok(Trust {
                rules: self.trust.rules(),
                namespace_labels: labels.clone(),
                image,
                spec,
                origin: known
                    .origin()
                    .ok_or_else(|| missing("the key of the operator"))?,
                ceilings: ceilings::over(policies, labels),
            })
        }
        .boxed()
    }

    fn admitted<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a str,
        trust: &'a Trust,
    ) -> BoxFuture<'a, ()> {
        let scope = Scope {
            image: &trust.image,
            namespace,
            labels: &trust.namespace_labels,
        };
        let verdict = Verdict {
            standard: self.trust.known().standard.about(&scope),
            namespace_labels: trust.namespace_labels.clone(),
            spec: trust.spec.clone(),
        };
        async move {
            self.documents
                .save(verdict_name(namespace, revision), &verdict)
                .await;
        }
        .boxed()
    }

    fn earlier_trust<'a>(
        &'a self,
        namespace: &'a str,
        revision: &'a str,
        now: &'a Trust,
    ) -> BoxFuture<'a, Option<Trust>> {
        async move {
            let verdict: Verdict = self
                .documents
                .load(verdict_name(namespace, revision))
                .await?;
            // A verdict of an earlier version knows no ceilings: nothing was granted by it.
            let policies = verdict.standard.capability_policies.as_ref();
            let ceilings = policies.map(|all| ceilings::over(all, &verdict.namespace_labels));
            Some(Trust {
                rules: verdict.standard.rules(),
                ceilings: ceilings.unwrap_or_default(),
                namespace_labels: verdict.namespace_labels,
                image: verdict.spec.image.parse().ok()?,
                spec: verdict.spec,
                origin: now.origin.clone(),
            })
        }
        .boxed()
    }
}

/// Verdicts go with the placement of their revision, so that going back to an old revision is
/// judged by the policies of today.
fn verdict_name(namespace: &str, revision: &str) -> String {
    format!("verdict-{namespace}_{revision}")
}

/// A status as a merge patch, which keeps what it does not name: name it, or it stays for ever.
fn patch(status: &ComponentPlacementStatus) -> Value {
    let ComponentPlacementStatus {
        observed_generation,
        ready,
        serving,
        revisions,
        run,
        conditions,
    } = status;
    let run = run.as_ref().map(|run| {
        let RunStatus {
            revision,
            running,
            waiting,
            completed,
            failed,
            last_end,
        } = run;
        let last_end = last_end.as_ref().map(|end| {
            let RunEnd {
                reason,
                exit_code,
                port,
            } = end;
            json!({"reason": reason, "exitCode": exit_code, "port": port})
        });
        json!({
            "revision": revision,
            "running": running,
            "waiting": waiting,
            "completed": completed,
            "failed": failed,
            "lastEnd": last_end,
        })
    });
    json!({ "status": {
        "observedGeneration": observed_generation,
        "ready": ready,
        "serving": serving,
        "revisions": revisions,
        "run": run,
        "conditions": conditions,
    }})
}

impl Sink for Cluster {
    fn report<'a>(
        &'a self,
        placement: &'a PlacementKey,
        status: &'a ComponentPlacementStatus,
    ) -> BoxFuture<'a, Result<(), ReportError>> {
        async move {
            let failed = |message: String| ReportError {
                placement: placement.clone(),
                message,
            };
            let api: Api<ComponentPlacement> =
                Api::namespaced(self.client.0.clone(), &placement.namespace);
            let patch = patch(status);
            let parameters = PatchParams {
                field_manager: Some(crds::names::AGENT_FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            let patch = Patch::Merge(&patch);
            let patched = api.patch_status(&placement.name, &parameters, &patch);
            match tokio::time::timeout(ANSWER, patched).await {
                Ok(Ok(_)) => Ok(()),
                // Deleted meanwhile: there is nobody to tell.
                Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(()),
                // The answer may be of a later version; the write has happened.
                Ok(Err(kube::Error::SerdeError(_))) => Ok(()),
                Ok(Err(error)) => Err(failed(printable(&error.to_string()))),
                Err(_) => Err(failed("the API server did not answer in time".to_owned())),
            }
        }
        .boxed()
    }

    fn denials<'a>(&'a self, report: &'a DenialReport) -> BoxFuture<'a, Result<(), SourceError>> {
        self.hand_over.denials(report).boxed()
    }

    fn tallies<'a>(&'a self, report: &'a TallyReport) -> BoxFuture<'a, Result<(), SourceError>> {
        self.hand_over.tallies(report).boxed()
    }
}
