//! One writer: leader election over a Lease, and the gate that every write passes.
//!
//! Kubernetes does not fence a paused ex-leader, so holding the Lease is not
//! enough: the gate closes by the local clock `RENEW_DEADLINE` after the start
//! of the last renewal that worked, before anybody else may take the Lease
//! (`LEASE_DURATION`). `Writer` asks the gate before each single write. The
//! task of `run` is the only one that opens it; it knows nothing of components.

mod election;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use election::{Decision, Election};

/// Name of the Lease, in the operator's namespace.
pub const LEASE: &str = crds::names::LEADER_LEASE;
/// How long others respect a Lease that is not renewed. Somebody who looks every `RETRY_PERIOD`
/// sees the last renewal that much later, and its end that much later again; the whole has to
/// stay below the 15 seconds within which another replica takes over.
pub const LEASE_DURATION: Duration = Duration::from_secs(8);
/// How long the leader writes after its last renewal.
pub const RENEW_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two attempts.
pub const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Whether this process may write now. Cheap to clone; all clones are one gate.
#[derive(Debug, Clone)]
pub struct Gate {
    term: Arc<watch::Sender<Option<Term>>>,
}

/// A time during which this process may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Changes whenever somebody else may have led in between, so that what was
    /// remembered (ports, waves) must be read anew.
    pub number: i32,
    /// No write starts at or after this instant.
    pub deadline: Instant,
}

/// This process does not lead (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica of the operator is not the leader")]
pub struct NotLeader;

impl Gate {
    /// A gate that lets nothing through.
    pub fn closed() -> Self {
        Self {
            term: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Lets writes through until `term.deadline`.
    pub fn open(&self, term: Term) {
        self.term.send_replace(Some(term));
    }

    /// Stops every write from now on.
    pub fn close(&self) {
        self.term.send_if_modified(|term| term.take().is_some());
    }

    /// The present term, if there is one at `now`.
    ///
    /// # Errors
    /// `NotLeader` when no term is open or its deadline has passed.
    pub fn term(&self, now: Instant) -> Result<Term, NotLeader> {
        self.term
            .borrow()
            .filter(|term| now < term.deadline)
            .ok_or(NotLeader)
    }

    /// Resolves when the gate is opened or closed.
    pub fn subscribe(&self) -> watch::Receiver<Option<Term>> {
        self.term.subscribe()
    }
}

/// Runs the election until `shutdown`, then gives the Lease back.
///
/// Expected flow: wait until the Lease is free, take it, renew it every
/// `RETRY_PERIOD`. An API server that does not answer closes the gate by the
/// deadline; nothing else ends because of it.
pub async fn run(
    client: Client,
    namespace: String,
    identity: String,
    gate: Gate,
    shutdown: CancellationToken,
) {
    let leases: Api<Lease> = Api::namespaced(client, &namespace);
    let mut election = Election::new(identity);
    loop {
        let started = Instant::now();
        let attempt =
            tokio::time::timeout(RENEW_DEADLINE, attempt(&leases, &mut election, started));
        match attempt.await {
            Ok(Ok(Some(number))) => gate.open(Term {
                number,
                deadline: started + RENEW_DEADLINE,
            }),
            Ok(Ok(None)) => gate.close(),
            Ok(Err(error)) => {
                tracing::warn!(%error, lease = LEASE, "could not take or renew the leader Lease")
            }
            Err(_) => tracing::warn!(
                lease = LEASE,
                "the API server did not answer in time for the leader Lease"
            ),
        }
        // Both arms may be dropped at any time: nothing is half done here.
        tokio::select! {
            () = tokio::time::sleep(RETRY_PERIOD) => {}
            () = shutdown.cancelled() => break,
        }
    }
    let leads = gate.term(Instant::now()).is_ok();
    gate.close();
    if leads {
        // The successor need not wait for the Lease to run out.
        let release = tokio::time::timeout(RETRY_PERIOD, release(&leases, &election)).await;
        tracing::info!(
            released = matches!(release, Ok(Ok(()))),
            "gave up the leader Lease"
        );
    }
}

/// One round: the number of our term if we lead after it.
async fn attempt(
    leases: &Api<Lease>,
    election: &mut Election,
    now: Instant,
) -> Result<Option<i32>, kube::Error> {
    let lease = leases.get_opt(LEASE).await?;
    let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
    let decision = election.decide(spec, now);
    let (transitions, acquired) = match decision {
        Decision::Wait => return Ok(None),
        Decision::Renew { transitions } => {
            (transitions, spec.and_then(|spec| spec.acquire_time.clone()))
        }
        Decision::Take { transitions } => (transitions, None),
    };
    let time = MicroTime(Timestamp::now());
    let spec = LeaseSpec {
        holder_identity: Some(election.identity().to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        acquire_time: acquired.or_else(|| Some(time.clone())),
        renew_time: Some(time),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    // The resourceVersion travels along: of two that saw the Lease expire, one wins.
    let written = match lease {
        Some(mut lease) => {
            lease.spec = Some(spec);
            leases.replace(LEASE, &PostParams::default(), &lease).await
        }
        None => {
            let metadata = ObjectMeta {
                name: Some(LEASE.to_owned()),
                ..ObjectMeta::default()
            };
            leases
                .create(
                    &PostParams::default(),
                    &Lease {
                        metadata,
                        spec: Some(spec),
                    },
                )
                .await
        }
    };
    match written {
        Ok(_) => Ok(Some(transitions)),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn release(leases: &Api<Lease>, election: &Election) -> Result<(), kube::Error> {
    let Some(mut lease) = leases.get_opt(LEASE).await? else {
        return Ok(());
    };
    let Some(spec) = lease
        .spec
        .as_mut()
        .filter(|spec| spec.holder_identity.as_deref() == Some(election.identity()))
    else {
        return Ok(());
    };
    spec.holder_identity = Some(String::new());
    spec.lease_duration_seconds = Some(1);
    leases
        .replace(LEASE, &PostParams::default(), &lease)
        .await
        .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_gate_is_closed() {
        assert_eq!(Gate::closed().term(Instant::now()), Err(NotLeader));
    }

    #[test]
    fn an_open_gate_closes_by_itself_at_its_deadline() {
        let (gate, now) = (Gate::closed(), Instant::now());
        let term = Term {
            number: 3,
            deadline: now + RENEW_DEADLINE,
        };
        gate.open(term);
        assert_eq!(gate.term(now), Ok(term));
        assert_eq!(
            gate.term(now + RENEW_DEADLINE - Duration::from_millis(1)),
            Ok(term)
        );
        assert_eq!(gate.term(now + RENEW_DEADLINE), Err(NotLeader));
    }

    #[test]
    fn the_gate_closes_before_anybody_else_may_take_the_lease() {
        assert!(RENEW_DEADLINE + RETRY_PERIOD < LEASE_DURATION);
    }

    #[test]
    fn another_replica_takes_over_within_fifteen_seconds() {
        assert!(LEASE_DURATION + 2 * RETRY_PERIOD < Duration::from_secs(15));
    }

    #[test]
    fn closing_one_clone_closes_all() {
        let (gate, now) = (Gate::closed(), Instant::now());
        gate.open(Term {
            number: 1,
            deadline: now + RENEW_DEADLINE,
        });
        gate.clone().close();
        assert_eq!(gate.term(now), Err(NotLeader));
    }
}
