//! The way of one revision from its name to machine code: fetch, validate, verify, compile.
//! Only a `VerifiedComponent` gets past the middle of this file, and only this node's own check
//! makes one. Runs beside the reconcile loop, which starts it and takes its result.

mod loaded;
mod provide;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use artifact::trust::Scope;
use artifact::{Digest, ImageReference, Refusal, VerifiedComponent};
use capability::{Effective, GuestPath, Request};
use crds::Reason;
use crds::revision::{ComponentIdentity, RevisionDocument};
use jiff::Timestamp;
use runtime::EngineClass;
use tokio::sync::Semaphore;

use super::cache::{Cache, CacheError, Entry};
use super::compile_queue::CompileQueue;
use super::validate::{self, Invalid, NotAdmitted};
use super::volumes::{VolumeError, Volumes};
use crate::desired::{DesiredPlacement, DesiredRevision};
use crate::engine_class;
use crate::memfd::Sealed;
use crate::message::{DoorOrder, Refused, RevisionOrder};
use crate::sandbox::MACHINE_CODE_MAX;
use crate::source::{Offered, Source, SourceError, Trust};
use crate::text::printable;
pub use loaded::Loaded;
pub use provide::Provided;

/// Preparations at once, on the whole node: each may hold a component of 64 MiB.
const AT_ONCE: usize = 16;
/// Preparations at once of one namespace, so that no tenant takes all of them.
const AT_ONCE_PER_NAMESPACE: usize = 2;

/// What preparations need. Shared by all of them.
#[derive(Debug)]
pub struct Preparer<S: ?Sized> {
    node: String,
    p3: bool,
    /// What the spawner starts; none without a spawner.
    executables: Option<Vec<GuestPath>>,
    source: Arc<S>,
    cache: Arc<Cache>,
    volumes: Arc<Volumes>,
    compile: CompileQueue,
    node_permits: Semaphore,
    namespace_permits: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A revision that the worker can load.
#[derive(Debug)]
pub struct Prepared {
    /// Everything but the code.
    pub order: RevisionOrder,
    /// The code.
    pub code: Sealed,
    /// The directory of each of its mounts.
    pub directories: Vec<OwnedFd>,
    /// What control remembers of it.
    pub loaded: Loaded,
    /// What it was judged by.
    pub judged: Judged,
    /// Why it would not be admitted today, if it is admitted only because it ran here before.
    pub doubt: Option<Refused>,
}

/// What a verdict hangs on: for as long as it stays, so does the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    image: ImageReference,
    fingerprint: Digest,
}

/// What a review of something that runs came to.
#[derive(Debug)]
pub struct Reviewed {
    /// What it was judged by.
    pub judged: Judged,
    /// Why it would not be admitted today.
    pub doubt: Option<Refused>,
}

/// A revision that may run.
struct Admission {
    offered: Offered,
    component: VerifiedComponent,
    judged: Judged,
    doubt: Option<Refused>,
}

/// Why a revision was not admitted, and whether a policy said to stop what runs for it.
struct Refusing {
    error: PrepareError,
    stops: bool,
}

/// Why a revision could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// It could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It is not what the placement says.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// It is not what the trust policies admit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It asks for or is granted more than it may.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// One of its volumes cannot be opened on this node.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// It needs WASI 0.3, which is off here.
    #[error(
        "the component needs WASI 0.3, which this node does not run: start the agent with --p3, or build the component for WASI 0.2"
    )]
    P3Off,
    /// It may start what this node does not.
    #[error(
        "the component may start {executable}, and this node does not: name it with --spawner-executable of the agent (agent.spawner.executables of the chart), or take it out of spec.capabilities.process"
    )]
    Executable {
        /// The first one.
        executable: GuestPath,
    },
    /// It does not compile.
    #[error("{}", .0.message)]
    Compile(Refused),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A task of the agent ended early.
    #[error("the preparation was interrupted")]
    Interrupted,
}

impl PrepareError {
    /// The reason a status shows.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Source(error) => error.reason(),
            Self::Invalid(error) => error.reason(),
            Self::Refused(refusal) => Reason::named(refusal.code().as_ref()),
            Self::NotAdmitted(refusal) => refusal.reason(),
            Self::Volume(VolumeError::NoSpace { .. }) => Reason::NoSpace,
            Self::Volume(_) => Reason::VolumeUnavailable,
            Self::P3Off | Self::Executable { .. } => Reason::FeatureMissing,
            Self::Compile(refused) => refused.reason,
            Self::Cache(CacheError::NoSpace { .. }) => Reason::NoSpace,
            Self::Cache(_) => Reason::CacheDamaged,
            Self::Interrupted => Reason::Preparing,
        }
    }
}

impl PrepareError {
    /// Whether the revision was judged, as against not to be had just now.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.is_verdict(),
            Self::Invalid(_) | Self::NotAdmitted(_) => true,
            _ => false,
        }
    }
}

impl Admission {
    fn new(offered: Offered, component: VerifiedComponent, judged: Judged) -> Self {
        Self {
            offered,
            component,
            judged,
            doubt: None,
        }
    }
}

impl<E: Into<PrepareError>> From<E> for Refusing {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            stops: false,
        }
    }
}

impl<S: Source + ?Sized> Preparer<S> {
    /// What all preparations of this node share.
    pub fn new(
        node: String,
        p3: bool,
        executables: Option<Vec<GuestPath>>,
        source: Arc<S>,
        cache: Arc<Cache>,
        volumes: Arc<Volumes>,
        compile: CompileQueue,
    ) -> Self {
        Self {
            node,
            p3,
            executables,
            source,
            cache,
            volumes,
            compile,
            node_permits: Semaphore::new(AT_ONCE),
            namespace_permits: Mutex::new(HashMap::new()),
        }
    }

    /// Whether this node starts executables of the platform.
    pub fn has_spawner(&self) -> bool {
        self.executables.is_some()
    }

    /// The first executable that the component may start and this node does not: a ceiling that
    /// no object of the API server raises.
    fn unknown_executable(&self, effective: &Effective) -> Option<GuestPath> {
        let known = self.executables.as_deref().unwrap_or_default();
        let mut granted = effective.executables().into_iter();
        granted.find(|path| !known.contains(path)).cloned()
    }

    /// The name of this node.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What this node knows to judge a component by.
    pub async fn trust(&self, component: &ComponentIdentity) -> Result<Trust, PrepareError> {
        Ok(self.source.trust(component).await?)
    }

    /// Brings one revision to machine code.
    ///
    /// # Errors
    /// Each failure has a reason of its own; nothing is compiled unless everything before it
    /// held.
    pub async fn prepare(
        &self,
        placement: &DesiredPlacement,
        wanted: &DesiredRevision,
    ) -> Result<Prepared, PrepareError> {
        let namespace = &placement.component.namespace;
        let turn = self.namespace_permit(namespace);
        let _turn = turn
            .acquire_owned()
            .await
            .map_err(|_| PrepareError::Interrupted)?;
        let _room = self
            .node_permits
            .acquire()
            .await
            .map_err(|_| PrepareError::Interrupted)?;

        // Before what it is judged by: a newer public root comes with it.
        let offered = self.source.revision(namespace, &wanted.name).await?;
        let trust = self.source.trust(&placement.component).await?;
        let ceilings = trust.ceilings.clone();
        let Admission {
            offered,
            component,
            judged,
            doubt,
        } = self.admit(placement, wanted, offered, trust).await?;
        let document = Arc::new(offered.document);
        // The ceilings of today, also for what is admitted by those of another day.
        let effective = validate::effective(&document, requests(&component), ceilings);
        if let Some(executable) = self.unknown_executable(&effective) {
            return Err(PrepareError::Executable { executable });
        }
        let provided = self.provide(&document, effective.clone(), None).await?;
        let Provided {
            provision,
            directories,
            given,
        } = provided.ok_or(PrepareError::Interrupted)?;
        // A manifest's own maximum holds as well.
        let limits = match document.run() {
            Some(_) => capability::run_limits(&effective.requests, &document.limits),
            None => capability::effective_limits(&effective.requests, &document.limits),
        };
        let class = EngineClass::of(component.facts(), &limits);
        if class.is_p3() && !self.p3 {
            return Err(PrepareError::P3Off);
        }
        let code = self.machine_code(namespace, &component, class).await?;
        Ok(Prepared {
            order: RevisionOrder {
                name: wanted.name.clone(),
                namespace: namespace.clone(),
                component: placement.component.name.clone(),
                node: self.node.clone(),
                class: class.name().to_owned(),
                limits,
                provision,
                audit: document.audit,
                replicas: placement.replicas,
                is_run: document.run().is_some(),
                listens: document.run().is_some_and(|(_, run)| !run.ports.is_empty()),
                doors: doors(&document),
                handles: document.triggers.is_empty()
                    || document.triggers.iter().any(|one| one.http.is_some()),
                max_request_body: max_request_body(&document),
                initial_memory: component.facts().initial_memory,
                health_path: document
                    .health
                    .as_ref()
                    .and_then(|health| Some(health.http_get.as_ref()?.path.clone())),
                start_timeout_seconds: loaded::start_timeout(&document),
            },
            code,
            directories,
            loaded: Loaded {
                since: Timestamp::now(),
                signers: signers(&component),
                authorities: loaded::authorities(&component),
                document,
                effective,
                given,
            },
            judged,
            doubt,
        })
    }

    /// Judges a revision that runs by the `trust` of today, unless that is what it was judged
    /// by `before`: then there is nothing to say.
    pub async fn review(
        &self,
        placement: &DesiredPlacement,
        wanted: &DesiredRevision,
        before: Option<&Judged>,
        trust: Trust,
    ) -> Result<Option<Reviewed>, PrepareError> {
        let _room = self
            .node_permits
            .acquire()
            .await
            .map_err(|_| PrepareError::Interrupted)?;
        let namespace = &placement.component.namespace;
        if let Some(before) = before
            && before.fingerprint == fingerprint(&before.image, namespace, &trust)
        {
            return Ok(None);
        }
        let offered = self.source.revision(namespace, &wanted.name).await?;
        let admission = self.admit(placement, wanted, offered, trust).await?;
        Ok(Some(Reviewed {
            judged: admission.judged,
            doubt: admission.doubt,
        }))
    }

    /// Judges what was offered: by what is known now, and for a revision that was admitted here
    /// before also by what was known then. Losing a policy never stops what runs, not even over
    /// a restart; what would be refused today is said. A policy that stops what runs is the
    /// exception: it was asked to, and the code is not started by what was known before.
    async fn admit(
        &self,
        placement: &DesiredPlacement,
        wanted: &DesiredRevision,
        offered: Offered,
        trust: Trust,
    ) -> Result<Admission, PrepareError> {
        let namespace = &placement.component.namespace;
        let now = self.judge(placement, wanted, &offered, &trust).await;
        let Refusing { error, stops } = match now {
            Ok((component, judged)) => {
                self.source.admitted(namespace, &wanted.name, &trust).await;
                return Ok(Admission::new(offered, component, judged));
            }
            Err(refusing) => refusing,
        };
        let mut refusal = match error {
            error @ (PrepareError::Refused(_)
            | PrepareError::Invalid(_)
            | PrepareError::NotAdmitted(_))
                if !stops =>
            {
                error
            }
            error => return Err(error),
        };
        let earlier = self
            .source
            .earlier_trust(namespace, &wanted.name, &trust)
            .await;
        let Some(earlier) = earlier else {
            return Err(refusal);
        };
        // The component may say something else by now, and the policies still admit what it
        // said: nothing is wrong with a revision that is on its way out.
        if matches!(&refusal, PrepareError::Invalid(invalid) if invalid.is_superseded()) {
            let superseded = Trust {
                rules: trust.rules.clone(),
                namespace_labels: trust.namespace_labels.clone(),
                ceilings: trust.ceilings.clone(),
                ..earlier.clone()
            };
            match self.judge(placement, wanted, &offered, &superseded).await {
                Ok((component, judged)) => {
                    return Ok(Admission::new(offered, component, judged));
                }
                Err(Refusing { error, stops: true }) => return Err(error),
                Err(Refusing { error, .. }) => refusal = error,
            }
        }
        match self.judge(placement, wanted, &offered, &earlier).await {
            Ok((component, judged)) => {
                // Reviewed again when something changes from how it is now.
                let judged = Judged {
                    fingerprint: fingerprint(&judged.image, namespace, &trust),
                    ..judged
                };
                let mut admission = Admission::new(offered, component, judged);
                admission.doubt = Some(Refused {
                    reason: refusal.reason(),
                    message: printable(&refusal.to_string()),
                });
                Ok(admission)
            }
            Err(_) => Err(refusal),
        }
    }

    async fn judge(
        &self,
        placement: &DesiredPlacement,
        wanted: &DesiredRevision,
        offered: &Offered,
        trust: &Trust,
    ) -> Result<(VerifiedComponent, Judged), Refusing> {
        let accepted = validate::revision(placement, wanted, offered, trust)?;
        let (image, digest) = (accepted.image, accepted.digest);
        let parcel = self.source.parcel(offered).await?;
        let (labels, rules) = (trust.namespace_labels.clone(), trust.rules.clone());
        let namespace = placement.component.namespace.clone();
        let judged = Judged {
            fingerprint: fingerprint(&image, &namespace, trust),
            image: image.clone(),
        };
        // Hashing and validating 64 MiB must not hold up the reconcile loop.
        let judgement = tokio::task::spawn_blocking(move || {
            let scope = Scope {
                image: &image,
                namespace: &namespace,
                labels: &labels,
            };
            artifact::judge(&scope, &digest, &parcel, &rules.trust())
        })
        .await
        .map_err(|_| PrepareError::Interrupted)?;
        let stops = judgement.stops_running();
        let component = judgement.outcome.map_err(|refusal| Refusing {
            error: refusal.into(),
            stops,
        })?;
        validate::admit(&offered.document, &requests(&component), &trust.ceilings)?;
        Ok((component, judged))
    }

    /// From the cache if this node compiled it before, else from the compiler.
    async fn machine_code(
        &self,
        namespace: &str,
        component: &VerifiedComponent,
        class: EngineClass,
    ) -> Result<Sealed, PrepareError> {
        let wasm = component.wasm().clone();
        let cache = Arc::clone(&self.cache);
        let (entry, found) = blocking(move || {
            let entry = code_entry(&Digest::of(&wasm), class)?;
            let found = cache.get(&entry)?;
            Ok((entry, found))
        })
        .await?;
        if let Some(code) = found {
            return Ok(code);
        }
        let code = self
            .compile
            .compile(namespace, component, class)
            .await
            .map_err(PrepareError::Compile)?;
        let copy = code.try_clone().map_err(CacheError::from)?;
        let cache = Arc::clone(&self.cache);
        blocking(move || {
            if copy.length() > MACHINE_CODE_MAX {
                return Err(CacheError::NoSpace {
                    bytes: copy.length(),
                }
                .into());
            }
            Ok(cache.put(&entry, &copy.bytes().map_err(CacheError::from)?)?)
        })
        .await?;
        Ok(code)
    }

    fn namespace_permit(&self, namespace: &str) -> Arc<Semaphore> {
        let mut permits = self
            .namespace_permits
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // Namespaces come and go; who has nobody waiting is forgotten.
        permits.retain(|_, permit| {
            Arc::strong_count(permit) > 1 || permit.available_permits() < AT_ONCE_PER_NAMESPACE
        });
        let new = || Arc::new(Semaphore::new(AT_ONCE_PER_NAMESPACE));
        Arc::clone(permits.entry(namespace.to_owned()).or_insert_with(new))
    }
}

fn fingerprint(image: &ImageReference, namespace: &str, trust: &Trust) -> Digest {
    let rules = trust.rules.trust().fingerprint(&Scope {
        image,
        namespace,
        labels: &trust.namespace_labels,
    });
    let ceilings = serde_json::json!([rules.to_string(), trust.ceilings]);
    Digest::of(ceilings.to_string().as_bytes())
}

/// What the manifests of a component ask for.
fn requests(component: &VerifiedComponent) -> Vec<Request> {
    component.requests().to_vec()
}

/// The keys and identities that have signed it, in one line.
fn signers(component: &VerifiedComponent) -> String {
    let signers = component
        .signers()
        .iter()
        .map(|signer| signer.by.to_string());
    printable(&signers.collect::<Vec<_>>().join(", "))
}

/// The name of machine code: what it was made from and everything that it depends on.
fn code_entry(wasm: &Digest, class: EngineClass) -> Result<Entry, CacheError> {
    Entry::new(format!("code-{}-{}", wasm.hex(), engine_class::hash(class)))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PrepareError> + Send + 'static,
) -> Result<T, PrepareError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| PrepareError::Interrupted)?
}

/// Triggers whose requests call functions.
fn doors(document: &RevisionDocument) -> Vec<DoorOrder> {
    let triggers = document.triggers.iter();
    let doors = triggers.filter_map(|trigger| {
        let invoke = trigger.invoke.as_ref()?;
        Some(DoorOrder {
            trigger: trigger.name.clone(),
            interfaces: invoke.interfaces.clone(),
            max_request_body: invoke.max_request_body.0,
        })
    });
    doors.collect()
}

fn max_request_body(document: &RevisionDocument) -> u64 {
    let sizes = document
        .triggers
        .iter()
        .filter_map(|trigger| trigger.http.as_ref());
    sizes
        .map(|http| http.max_request_body.0)
        .max()
        .unwrap_or_default()
}
