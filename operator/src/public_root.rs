//! Keeps the public root current: the one that counts where a trust policy names none.
//!
//! Fetches the TUF metadata of sigstore's public-good instance, or of the repository
//! that the platform has put in its place; checks it as every agent does again for
//! itself; keeps it beside the content cache, and hands it on. Nothing waits for it:
//! until it is here the root of this build counts, and when nobody answers any more the
//! last good one goes on counting. Asks nobody unless a policy needs the public root.

mod relay;
mod repository;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use artifact::limits::TUF_METADATA_MAX;
use artifact::root::{
    Believed, GatherError, PublicGoodError, PublicGoodMetadata, RootError, RootOfTrust,
};
use artifact::trust::Policy;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::args::TufArgs;
use crate::caches::Caches;
use crate::metrics::{Metrics, PublicRootFetch};
use crate::queue::Queue;
use crate::trust::TrustBook;

pub use relay::Relay;
pub use repository::RepositoryUrl;
use repository::{FetchError, Repository};

/// How often it is looked whether a policy needs the public root.
const LOOK: Duration = Duration::from_secs(5);
/// Pause after a fetch that failed.
const AGAIN: Duration = Duration::from_secs(60);
/// The file beside the content cache. It may be lost.
const KEPT: &str = "public-root.json";
/// Most bytes of it: the metadata as base64, and some.
const KEPT_MAX: u64 = 4 << 20;

/// What the task works with.
pub struct Context {
    /// Says whether a policy needs it.
    pub caches: Caches,
    /// Where the root is put.
    pub book: TrustBook,
    /// Components to look at once it has changed.
    pub queue: Arc<Queue>,
    /// What agents are handed.
    pub relay: Relay,
    /// What is counted.
    pub metrics: Metrics,
}

/// Whom to ask, what to begin with, and what was believed last.
pub struct Keeper {
    repository: Option<Repository>,
    start: RootOfTrust,
    /// Whether the platform has put another repository in place of sigstore's.
    replaced: bool,
    refresh: Duration,
    kept: PathBuf,
    believed: Option<Believed>,
}

/// Why the flags cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PublicRootError {
    /// The file cannot be read.
    #[error("cannot read {}, given by --tuf-root", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is no root metadata.
    #[error("{}, given by --tuf-root, is no root.json of a TUF repository", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: PublicGoodError,
    },
    /// The built-in root of trust does not read.
    #[error("the root of trust of this build is damaged")]
    BuiltIn(#[source] PublicGoodError),
    /// The HTTP client cannot be built.
    #[error("the client for --tuf-mirror cannot be built")]
    Client(#[source] reqwest::Error),
}

/// Why one attempt brought nothing newer.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Gather(#[from] GatherError<FetchError>),
    #[error(transparent)]
    Refused(#[from] PublicGoodError),
}

impl Keeper {
    /// What these flags ask for, with what an earlier start has kept.
    ///
    /// # Errors
    /// Which flag cannot be used, and why.
    pub async fn open(
        args: TufArgs,
        authorities: &[PathBuf],
        state_dir: &Path,
    ) -> Result<Self, PublicRootError> {
        let TufArgs {
            tuf_mirror,
            tuf_root,
            tuf_refresh,
        } = args;
        let replaced = tuf_root.is_some();
        let start = match tuf_root {
            Some(path) => root_of_trust(path).await?,
            None => RootOfTrust::public_good().map_err(PublicRootError::BuiltIn)?,
        };
        let repository = match tuf_mirror {
            Some(url) => Some(Repository::new(url, authorities).await?),
            None => None,
        };
        let kept = state_dir.join(KEPT);
        let believed = load(&kept, &start).await;
        Ok(Self {
            repository,
            start,
            replaced,
            refresh: tuf_refresh.0,
            kept,
            believed,
        })
    }

    /// Tells `book` and agents what is believed now, and keeps it current until `shutdown`.
    pub async fn run(mut self, context: Context, shutdown: CancellationToken) {
        self.publish(&context);
        let mut due = Instant::now();
        loop {
            // Nothing is lost when the pause is cut short.
            tokio::select! {
                () = tokio::time::sleep(LOOK.min(self.refresh)) => {}
                () = shutdown.cancelled() => return,
            }
            context.metrics.public_root_stale(self.is_stale());
            let Some(repository) = &self.repository else {
                continue;
            };
            if due > Instant::now() || !is_needed(&context) {
                continue;
            }
            let (believed, start) = (self.believed.as_ref(), &self.start);
            let fetched = tokio::select! {
                fetched = fetch(repository, start, believed) => fetched,
                () = shutdown.cancelled() => return,
            };
            due = Instant::now() + self.refresh;
            let outcome = match fetched {
                Ok(fetched) => self.accept(fetched, &context).await,
                Err(error) => {
                    due = Instant::now() + AGAIN.min(self.refresh);
                    let outcome = outcome(&error);
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the public root was not renewed; the last good one counts"
                    );
                    outcome
                }
            };
            context.metrics.public_root_fetched(outcome);
        }
    }

    async fn accept(&mut self, fetched: Believed, context: &Context) -> PublicRootFetch {
        let outcome = match &self.believed {
            Some(before) if before.metadata() == fetched.metadata() => PublicRootFetch::Unchanged,
            _ => PublicRootFetch::Updated,
        };
        if matches!(outcome, PublicRootFetch::Updated) {
            save(&self.kept, &fetched).await;
            self.believed = Some(fetched);
            self.publish(context);
        }
        outcome
    }

    fn publish(&self, context: &Context) {
        let root = match &self.believed {
            Some(believed) => Some(believed.trusted_root().map_err(|error| {
                RootError::Malformed(format!("what the TUF repository gave: {error}"))
            })),
            None if self.replaced => Some(Err(RootError::Missing(
                "nothing came yet from the TUF repository that --tuf-root is of; is --tuf-mirror reachable?".to_owned(),
            ))),
            None => None,
        };
        let expires = self.believed.as_ref().map(Believed::expires);
        if context.book.learn_public(root, expires) {
            context.caches.wake_all(&context.queue);
        }
        if let Some(believed) = &self.believed {
            context.relay.hand_on(believed);
        }
    }

    fn is_stale(&self) -> bool {
        let expires = self.believed.as_ref().map(Believed::expires);
        expires.is_some_and(|expires| expires <= Timestamp::now())
    }
}

fn is_needed(context: &Context) -> bool {
    let rules = context.book.rules(&context.caches.policies);
    rules.policies().iter().any(Policy::needs_public_good)
}

async fn fetch(
    repository: &Repository,
    start: &RootOfTrust,
    believed: Option<&Believed>,
) -> Result<Believed, Failed> {
    let get = |file, most| repository.get(file, most);
    let metadata = PublicGoodMetadata::gather(start, get).await?;
    Ok(metadata.check(start, believed, Timestamp::now())?)
}

fn outcome(error: &Failed) -> PublicRootFetch {
    match error {
        Failed::Gather(_) => PublicRootFetch::Unreachable,
        Failed::Refused(_) => PublicRootFetch::Refused,
    }
}

async fn root_of_trust(path: PathBuf) -> Result<RootOfTrust, PublicRootError> {
    let json = match read(&path, TUF_METADATA_MAX as u64).await {
        Ok(json) => json,
        Err(source) => return Err(PublicRootError::File { path, source }),
    };
    RootOfTrust::from_json(json.into()).map_err(|source| PublicRootError::Root { path, source })
}

/// What was kept, checked as it was then: the file may be damaged, and trust may start
/// elsewhere by now.
async fn load(path: &Path, start: &RootOfTrust) -> Option<Believed> {
    let text = read(path, KEPT_MAX).await.ok()?;
    let believed: Believed = serde_json::from_slice(&text).ok()?;
    believed.check_again(start).ok()
}

async fn save(path: &Path, believed: &Believed) {
    let text = serde_json::to_vec(believed).unwrap_or_default();
    let beside = path.with_extension("part");
    let written = async {
        tokio::fs::write(&beside, text).await?;
        tokio::fs::rename(&beside, path).await
    };
    if let Err(error) = written.await {
        // It is fetched again after a restart.
        tracing::warn!(%error, path = %path.display(), "the public root cannot be kept");
    }
}

async fn read(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let length = tokio::fs::metadata(path).await?.len();
    if length > most {
        let message = format!("it is larger than {most} bytes");
        return Err(std::io::Error::other(message));
    }
    tokio::fs::read(path).await
}
