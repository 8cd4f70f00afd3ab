//! The public root of this node: the one that counts where a trust policy names none. The
//! operator relays TUF metadata as an untrusted mirror would; this node checks all of it up from
//! the root of trust that it was built or started with, never goes back behind what it believed,
//! and keeps the last good set, which goes on counting when nothing newer comes. Called by the
//! cluster as source, before a revision is judged, and by a task of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use artifact::Digest;
use artifact::limits::TUF_METADATA_MAX;
use artifact::root::{PublicGoodError, RootOfTrust};
use artifact::trust::Policy;
use k8s_openapi::jiff::Timestamp;
use tokio::sync::Mutex;

use super::fetch::HandOver;
use super::trust::{KnownRoot, TrustBook};
use crate::memfd::read_bounded;
use crate::source::SourceError;
use crate::text::printable;

/// How often something newer is asked for without being told of it: the metadata lives for days.
const RENEW: Duration = Duration::from_secs(3600);
/// How often it is looked whether the metadata has expired, or a policy needs the root by now.
const LOOK: Duration = Duration::from_secs(10);
/// Pause after metadata that was refused or not to be had: each revision names it again.
const REST: Duration = Duration::from_secs(60);

/// What this node believes of the public root, and how it gets something newer.
#[derive(Debug)]
pub struct PublicRoot {
    hand_over: Arc<HandOver>,
    trust: Arc<TrustBook>,
    start: RootOfTrust,
    stale: Arc<AtomicBool>,
    /// The root that was asked for in vain, and when. Held while somebody asks, so that a herd
    /// of preparations asks once.
    failed: Mutex<Option<(Digest, Instant)>>,
}

/// Where trust in the public root starts.
#[derive(Clone, Debug)]
pub struct Start {
    root: RootOfTrust,
    /// Whether the platform has put another repository in place of the public-good instance's.
    replaced: bool,
}

/// Why trust cannot start where it is told to.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be read.
    #[error("{}, given by --tuf-root, cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is something else.
    #[error("{}, given by --tuf-root, is no root.json of a TUF repository: {source}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PublicGoodError,
    },
    /// The root of this build does not read.
    #[error("the root of trust of this build is damaged: {0}")]
    BuiltIn(PublicGoodError),
}

/// Why there is nothing newer.
#[derive(Debug, thiserror::Error)]
enum RenewError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Refused(#[from] PublicGoodError),
}

impl PublicRoot {
    /// With what an earlier run kept, as far as it holds from `start`. `stale` is kept current
    /// for the metrics.
    pub async fn open(
        hand_over: Arc<HandOver>,
        trust: Arc<TrustBook>,
        start: Start,
        stale: Arc<AtomicBool>,
    ) -> Self {
        let Start { root, replaced } = start;
        trust
            .learn(|known| {
                let kept = known.believed.take();
                known.believed = kept.filter(|kept| kept.check_again(&root).is_ok());
                known.standard.public_root = match &known.believed {
                    Some(believed) => KnownRoot::relayed(believed.trusted_root_json()),
                    None if replaced => KnownRoot::Awaited,
                    None => KnownRoot::BuiltIn,
                };
            })
            .await;
        Self {
            hand_over,
            trust,
            start: root,
            stale,
            failed: Mutex::new(None),
        }
    }

    /// Asks for something newer if the operator judged by another root than this node would.
    /// Whatever comes of it, the last good root counts.
    pub async fn catch_up(&self, root: &str) {
        let Ok(root) = root.parse::<Digest>() else {
            return;
        };
        let mut failed = self.failed.lock().await;
        let tried = failed.is_some_and(|(tried, when)| tried == root && when.elapsed() < REST);
        if tried || self.is_known(&root) {
            return;
        }
        match self.renew().await {
            Ok(()) => *failed = None,
            Err(error) => {
                *failed = Some((root, Instant::now()));
                say(&error);
            }
        }
    }

    /// Asks for something newer every hour, while a policy needs it. Ends with its caller.
    pub async fn keep(self: Arc<Self>) {
        let mut due = Instant::now();
        loop {
            let needed = self
                .trust
                .rules()
                .policies()
                .iter()
                .any(Policy::needs_public_good);
            if needed && due <= Instant::now() {
                let _turn = self.failed.lock().await;
                let renewed = self.renew().await;
                due = Instant::now() + RENEW;
                match renewed {
                    // An operator that relays nothing is no failure.
                    Ok(()) | Err(RenewError::Source(SourceError::Refused { .. })) => {}
                    Err(error) => {
                        due = Instant::now() + REST;
                        say(&error);
                    }
                }
            }
            let expires = self.trust.known().believed.as_ref().map(|of| of.expires());
            let stale = expires.is_some_and(|expires| expires <= Timestamp::now());
            if stale && !self.stale.load(Ordering::Relaxed) {
                tracing::warn!(
                    reason = %crds::Reason::RootStale,
                    "the public root should have been renewed and was not; the last good one goes on counting"
                );
            }
            self.stale.store(stale, Ordering::Relaxed);
            tokio::time::sleep(LOOK).await;
        }
    }

    fn is_known(&self, root: &Digest) -> bool {
        let known = self.trust.known();
        let believed = known.believed.as_ref();
        believed.is_some_and(|believed| Digest::of(believed.trusted_root_json()) == *root)
    }

    async fn renew(&self) -> Result<(), RenewError> {
        let metadata = self.hand_over.public_root().await?;
        let before = self.trust.known().believed.clone();
        let believed = metadata.check(&self.start, before.as_ref(), Timestamp::now())?;
        if before.as_ref().map(|before| before.metadata()) == Some(believed.metadata()) {
            return Ok(());
        }
        self.trust
            .learn(|known| {
                known.standard.public_root = KnownRoot::relayed(believed.trusted_root_json());
                known.believed = Some(believed);
            })
            .await;
        Ok(())
    }
}

impl Start {
    /// The file of `--tuf-root`; without one, sigstore's public-good instance.
    ///
    /// # Errors
    /// When the file is no root of trust.
    pub fn of(path: Option<&Path>) -> Result<Self, StartError> {
        let Some(path) = path else {
            let root = RootOfTrust::public_good().map_err(StartError::BuiltIn)?;
            return Ok(Self {
                root,
                replaced: false,
            });
        };
        let own = || path.to_owned();
        let json = std::fs::File::open(path)
            .and_then(|file| read_bounded(file, TUF_METADATA_MAX as u64))
            .map_err(|source| StartError::File {
                path: own(),
                source,
            })?;
        let root = RootOfTrust::from_json(json.into()).map_err(|source| StartError::Root {
            path: own(),
            source,
        })?;
        Ok(Self {
            root,
            replaced: true,
        })
    }
}

fn say(error: &RenewError) {
    let error = printable(&error.to_string());
    tracing::warn!(
        error,
        "the public root was not renewed; the last good one counts"
    );
}
