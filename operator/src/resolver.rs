//! Images resolved, pulled and verified in the background, remembered per component.
//!
//! The driver asks `look` and never waits: the answer is what is known, and a
//! job is started if it is due. One flight per image or digest and credentials,
//! however many components want it; failures are tried again ever more seldom,
//! verdicts too, since a signature may follow its image; a tag is polled in turns,
//! together with all who name it. It writes nothing to the API server.
//!
//! Bytes in the content cache are used for a component only if their repository
//! handed them over to its very credentials, or if it runs them already: a digest
//! is no secret, so knowing one must open nobody else's private image.

mod accepted;
mod access;
mod backoff;
mod flight;
mod judge;
mod lanes;
mod lately;
mod lost;
mod pull_secrets;
mod request;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifact::{Digest, ImageReference, Parcel};
use crds::Reason;
use registry::{Client, Credentials};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::component::{Key, ResolveError, Validated, resolve};
use crate::content::{ContentStore, ParcelName};
use crate::inspector::Inspector;
use crate::metrics::Metrics;
use crate::policy_status::Tally;
use crate::queue::Queue;
use accepted::{Accepted, Claim};
use flight::Flights;
use judge::{Question, Verdict, Verdicts, judge};
use lanes::Lanes;
use lost::{Case, Found, Lost};
use request::Fingerprint;

pub use access::Keyring;
pub use request::Request;
pub use verdict::{Admitted, Failure, Finding, Resolution};

/// Jobs at once: pulls are large, and the registry client bounds them further.
const JOBS: usize = 16;

/// What is known of a component's images.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// What the image of the spec came to.
    pub resolution: Resolution,
    /// What the policies of today say of what runs, as far as its bytes are here, or a policy
    /// that stops what runs made it worth asking for them.
    pub reviews: Vec<Review>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// What the policies of today say of something that runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Review {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Why it would be refused, if it would.
    pub refusal: Option<Failure>,
}

/// Resolves in the background; cheap to clone.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    inspector: Inspector,
    keyring: Keyring,
    content: ContentStore,
    queue: Arc<Queue>,
    metrics: Metrics,
    /// What the turns of polling are counted from.
    started: Instant,
    known: Mutex<BTreeMap<Key, Known>>,
    lanes: Lanes,
    jobs: Semaphore,
    tags: Flights<Result<Digest, Failure>>,
    pulls: Flights<()>,
    accepted: Accepted,
    verdicts: Verdicts,
    /// What is being judged again, so that it is not begun twice.
    reviewing: Mutex<BTreeSet<Question>>,
    lost: Lost,
}

struct Known {
    fingerprint: Fingerprint,
    resolution: Resolution,
    /// When to look again; `None` while a job is under way, and for what stays
    /// as it is until the component or a policy changes.
    due: Option<Instant>,
    attempts: u32,
    /// The policies that cover the image.
    covered_by: BTreeSet<String>,
}

impl Resolver {
    /// A resolver that knows nothing yet.
    pub fn new(
        client: Client,
        keyring: Keyring,
        content: ContentStore,
        queue: Arc<Queue>,
        metrics: Metrics,
        inspector: Inspector,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                inspector,
                keyring,
                content,
                queue,
                metrics,
                started: Instant::now(),
                known: Mutex::new(BTreeMap::new()),
                lanes: Lanes::default(),
                jobs: Semaphore::new(JOBS),
                tags: Flights::default(),
                pulls: Flights::default(),
                accepted: Accepted::default(),
                verdicts: Verdicts::default(),
                reviewing: Mutex::default(),
                lost: Lost::default(),
            }),
        }
    }

    /// What is known of the images, and when to look again. Starts a job if one
    /// is due; the component is queued when the job ends.
    pub fn look(&self, request: Request) -> Looked {
        let reviews = self.reviews(&request);
        let (resolution, again) = self.resolution(request);
        Looked {
            resolution,
            reviews,
            again,
        }
    }

    fn resolution(&self, request: Request) -> (Resolution, Option<Duration>) {
        let key = request.validated.key.clone();
        let now = Instant::now();
        let mut known = self
            .shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = |resolution| Known {
            fingerprint: request.fingerprint.clone(),
            resolution,
            due: Some(now),
            attempts: 0,
            covered_by: request.covered_by(),
        };
        let entry = known
            .entry(key.clone())
            .or_insert_with(|| fresh(Resolution::Pending));
        if entry.fingerprint != request.fingerprint {
            // New policies judge again what runs; until then the old verdict stands.
            let resolution = if entry.fingerprint.same_image(&request.fingerprint) {
                entry.resolution.clone()
            } else {
                Resolution::Pending
            };
            *entry = fresh(resolution);
        }
        let resolution = entry.resolution.clone();
        match entry.due {
            Some(due) if due <= now => {
                entry.due = None;
                let previous = match &entry.resolution {
                    Resolution::Done(admitted) => Some(admitted.digest),
                    _ => None,
                };
                let (resolver, attempts) = (self.clone(), entry.attempts);
                tokio::spawn(async move { resolver.job(request, previous, attempts).await });
                (resolution, None)
            }
            Some(due) => (resolution, Some(due - now)),
            None => (resolution, None),
        }
    }

    /// What is known by the policies of today of everything that runs; what is not
    /// known yet is judged in the background, from bytes that are here.
    fn reviews(&self, request: &Request) -> Vec<Review> {
        let mut reviews = Vec::new();
        for (image, digest) in &request.running {
            let question = Question::new(request, image, digest, &self.shared.content);
            let Some(question) = question else {
                match self.shared.lost.look(request, image, digest) {
                    Found::Refused(failure) => reviews.push(Review {
                        digest: *digest,
                        refusal: Some(failure),
                    }),
                    Found::Ask(case) => self.find(request, image, digest, case),
                    Found::Nothing => {}
                }
                continue;
            };
            match self.shared.verdicts.get(&question) {
                Some(verdict) => reviews.push(Review {
                    digest: *digest,
                    refusal: verdict.err(),
                }),
                None => self.review(request, image, digest, question),
            }
        }
        reviews
    }

    fn review(&self, request: &Request, image: &ImageReference, digest: &Digest, of: Question) {
        let reviewing = || {
            let lock = self.shared.reviewing.lock();
            lock.unwrap_or_else(PoisonError::into_inner)
        };
        if !reviewing().insert(of.clone()) {
            return;
        }
        let (resolver, request) = (self.clone(), request.clone());
        let (image, digest) = (image.clone(), *digest);
        tokio::spawn(async move {
            let _slot = resolver.shared.jobs.acquire().await.ok();
            let judged = resolver.judged(&request, &image, &digest).await;
            let lock = resolver.shared.reviewing.lock();
            lock.unwrap_or_else(PoisonError::into_inner).remove(&of);
            if judged.is_some() {
                let key = request.validated.key.clone();
                resolver.shared.queue.add(key, Duration::ZERO);
            }
        });
    }

    /// Asks the repository of something that runs for the bytes that are here no more. What
    /// it hands over and the policies admit is in the content cache afterwards.
    fn find(&self, request: &Request, image: &ImageReference, digest: &Digest, case: Case) {
        let (resolver, digest) = (self.clone(), *digest);
        let mut request = request.clone();
        // The spec may name another repository by now.
        request.validated.image = image.clone();
        tokio::spawn(async move {
            let lane = request.validated.image.registry();
            let _lane = resolver.shared.lanes.enter(lane).await;
            let _slot = resolver.shared.jobs.acquire().await.ok();
            match resolver.verified(&request, &digest, None).await {
                Ok(_) => {}
                Err(failure) if failure.verdict => resolver.shared.lost.refused(case, failure),
                Err(failure) => {
                    tracing::warn!(
                        %digest, reason = %failure.reason,
                        "what runs could not be judged: its bytes are neither here nor to be had"
                    );
                    return;
                }
            }
            let key = request.validated.key.clone();
            resolver.shared.queue.add(key, Duration::ZERO);
        });
    }

    /// What each policy means for the components that were looked at. `None` while
    /// some of them have not been judged yet: numbers that only grow after a start
    /// would be as many writes.
    pub fn tally(&self) -> Option<BTreeMap<String, Tally>> {
        let known = self
            .shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for entry in known.values() {
            let findings = match &entry.resolution {
                Resolution::Pending => return None,
                Resolution::Done(admitted) => &admitted.findings,
                Resolution::Failed(failure) => &failure.findings,
            };
            for policy in &entry.covered_by {
                let refuses = |of: &Finding| of.policy == *policy && of.refusal.is_some();
                let tally = tallies.entry(policy.clone()).or_default();
                tally.components += 1;
                tally.refused += usize::from(findings.iter().any(refuses));
            }
        }
        Some(tallies)
    }

    /// Whether the component was looked at.
    pub fn knows(&self, key: &Key) -> bool {
        let known = self.shared.known.lock();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.contains_key(key)
    }

    /// Forgets components that no longer exist.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) {
        self.shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, _| exists(key));
    }

    /// Brings the bytes of `digest` into the content cache again, in the
    /// background: the hand-over found them missing.
    pub fn refill(&self, request: Request, digest: Digest) {
        let resolver = self.clone();
        tokio::spawn(async move {
            if let Err(failure) = resolver.verified(&request, &digest, None).await {
                tracing::warn!(%digest, reason = %failure.reason, "the content cache could not be refilled");
            }
        });
    }

    async fn job(&self, request: Request, previous: Option<Digest>, attempts: u32) {
        let asked = Instant::now();
        // The lane first: who waits in it takes no room from others.
        let lane = request.validated.image.registry();
        let _lane = self.shared.lanes.enter(lane).await;
        // Never closed; were it, going on would be right.
        let _slot = self.shared.jobs.acquire().await.ok();
        let first = (previous.is_none() && attempts == 0).then_some(asked);
        let outcome = self.run(&request, first, previous).await;
        self.shared
            .metrics
            .resolved(outcome.as_ref().err().map(|failure| failure.reason));
        let key = request.validated.key.clone();
        let mut known = self
            .shared
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = known
            .get_mut(&key)
            .filter(|entry| entry.fingerprint == request.fingerprint)
        else {
            return;
        };
        let now = Instant::now();
        match outcome {
            Ok(admitted) => {
                entry.attempts = 0;
                entry.due =
                    poll_due(&request.validated, now - self.shared.started).map(|wait| now + wait);
                entry.resolution = Resolution::Done(admitted);
            }
            Err(failure) => {
                entry.attempts = entry.attempts.saturating_add(1);
                // A host that cannot be reached rests for all who want it, and says
                // how long; nobody needs to wait longer still.
                let attempts = match failure.reason {
                    Reason::RegistryUnreachable => 1,
                    _ => entry.attempts,
                };
                entry.due = Some(now + backoff::delay(&key, attempts, failure.retry_after));
                // A registry that is away says nothing about what was verified.
                if failure.verdict || previous.is_none() {
                    entry.resolution = Resolution::Failed(failure);
                }
            }
        }
        drop(known);
        self.shared.queue.add(key, Duration::ZERO);
    }

    async fn run(
        &self,
        request: &Request,
        first: Option<Instant>,
        previous: Option<Digest>,
    ) -> Result<Admitted, Failure> {
        // What the tag stood for when it was last resolved holds until the image
        // is changed or the tag is polled: a restart must not update anything.
        let remembered = request
            .remembered
            .filter(|_| first.is_some() || request.validated.poll_interval.is_none());
        let digest = match request.validated.image.digest().copied().or(remembered) {
            Some(digest) => {
                admits_contact(request)?;
                digest
            }
            None => self.digest(request, first).await?,
        };
        self.verified(request, &digest, previous).await
    }

    /// One question per image and credentials at a time, its answer shared: with
    /// `since`, among those who began to ask after it.
    async fn digest(&self, request: &Request, since: Option<Instant>) -> Result<Digest, Failure> {
        let validated = &request.validated;
        // Policies differ by namespace: judged before anything is shared.
        admits_contact(request)?;
        self.ready(request)?;
        let access = self.shared.keyring.access(validated).await?;
        let flight = format!("{} {}", validated.image, access.identity);
        let ask = async {
            resolve::digest(
                &self.shared.client,
                &access.credentials,
                &request.scope(),
                request.rules.policies(),
                &validated.image,
            )
            .await
            .map_err(|error| Failure::new(&error, None))
        };
        let answer = self.shared.tags.share(&flight, since, ask).await;
        answer.map_err(|failure| self.shared.keyring.explain(validated, &access, failure))
    }

    /// A registry that rests is not asked, and no more is done for it.
    fn ready(&self, request: &Request) -> Result<(), Failure> {
        let ready = self.shared.client.ready(&request.validated.image);
        ready.map_err(|error| Failure::new(&error.into(), None))
    }

    /// The parcel of `digest`, from the cache or the registry, judged now. What
    /// the component runs already (`previous`) is judged without asking anybody,
    /// so that a tightened policy counts while a registry is away.
    async fn verified(
        &self,
        request: &Request,
        digest: &Digest,
        previous: Option<Digest>,
    ) -> Result<Admitted, Failure> {
        let image = &request.validated.image;
        if previous == Some(*digest)
            && let Some(verdict) = self.judged(request, image, digest).await
        {
            return verdict;
        }
        admits_contact(request)?;
        let access = self.shared.keyring.access(&request.validated).await?;
        let claim = Claim {
            parcel: ParcelName::new(image, digest),
            identity: access.identity,
        };
        let _flight = self.shared.pulls.enter(&claim.to_string()).await;
        // Refused with the signatures that are here: there may be more in the
        // registry now.
        if self.shared.accepted.holds(&claim) {
            match self.judged(request, image, digest).await {
                Some(Ok(admitted)) => return Ok(admitted),
                Some(Err(failure)) if failure.is_final() => return Err(failure),
                Some(Err(_)) | None => {}
            }
        }
        self.ready(request)?;
        let pulled = self
            .hand_over(&claim.parcel, image, &access.credentials)
            .await
            .map_err(|error| {
                let failure = Failure::new(&error, Some(*digest));
                let keyring = &self.shared.keyring;
                keyring.explain(&request.validated, &access, failure)
            })?;
        self.shared
            .inspector
            .inspect(&pulled)
            .await
            .map_err(|error| Failure {
                digest: Some(*digest),
                verdict: error.is_verdict(),
                ..Failure::waiting(error.reason(), error.to_string())
            })?;
        let admitted = judge(request, image, digest, pulled.clone()).await?;
        if let Err(error) = self.shared.content.put(&claim.parcel, &pulled).await {
            tracing::error!(%error, "the content cache cannot be written");
            return Err(Failure {
                digest: Some(*digest),
                ..Failure::waiting(Reason::NoSpace, error.to_string())
            });
        }
        self.shared.accepted.remember(claim);
        if let Some(question) = Question::new(request, image, digest, &self.shared.content) {
            self.shared
                .verdicts
                .remember(question, Ok(admitted.clone()));
        }
        Ok(admitted)
    }

    /// The parcel from its repository. The manifest, though it may be here: a
    /// registry can claim in answer to HEAD that it has any digest, and only one
    /// that has it can hand it over. Config and layer that came from this very
    /// repository before need not come again; signatures must.
    async fn hand_over(
        &self,
        name: &ParcelName,
        image: &ImageReference,
        credentials: &[Credentials],
    ) -> Result<Parcel, ResolveError> {
        let (client, digest) = (&self.shared.client, name.digest());
        let Some(here) = self.shared.content.parcel(name).await else {
            return resolve::pull(client, credentials, image, digest).await;
        };
        let found = resolve::signatures(client, credentials, image, digest).await?;
        Ok(Parcel {
            manifest: found.manifest,
            bundles: found.bundles,
            ..here
        })
    }

    /// What the policies of today make of a parcel that is here; `None` if it is
    /// not. Asks nobody.
    async fn judged(
        &self,
        request: &Request,
        image: &ImageReference,
        digest: &Digest,
    ) -> Option<Verdict> {
        let content = &self.shared.content;
        let question = Question::new(request, image, digest, content)?;
        if let Some(verdict) = self.shared.verdicts.get(&question) {
            return Some(verdict);
        }
        let parcel = content.parcel(&question.parcel).await?;
        let verdict = judge(request, image, digest, parcel).await;
        // Also what could not be checked: a root that arrives is another fingerprint.
        self.shared.verdicts.remember(question, verdict.clone());
        Some(verdict)
    }
}

/// Before any registry is asked: an image that no policy covers opens no door.
fn admits_contact(request: &Request) -> Result<(), Failure> {
    artifact::trust::admits_contact(request.rules.policies(), &request.scope())
        .map_err(|refusal| Failure::new(&ResolveError::from(refusal), None))
}

/// How long until a tag is to be asked for again, `now` being counted from the start.
fn poll_due(validated: &Validated, now: Duration) -> Option<Duration> {
    let interval = validated
        .poll_interval
        .filter(|_| is_tag(&validated.image))?;
    let image = validated.image.to_string();
    Some(backoff::next_turn(image, interval, now))
}

fn is_tag(image: &ImageReference) -> bool {
    image.digest().is_none()
}
