//! A loaded component that answers requests or calls, or runs. No instance of it is alive in between.
//!
//! Puts admission, limits and the exchange, or a run, together. Made by `Runtime::load`; the node agent
//! holds one per revision, and dropping it unmaps the code once the last call has ended.

use crate::admission::Slots;
use crate::call::{Account, Call};
use crate::caller::Caller;
use crate::capability::audit::{Audit, Capability};
use crate::capability::filesystem::Files;
use crate::capability::network::{Credential, Network};
use crate::capability::process::Processes;
use crate::config::Config;
use crate::cpu::{Metered, Turns};
use crate::error::LoadError;
use crate::guest::{Backings, Given, StoreLimits};
use crate::http::exchange::{Incoming, Service, exchange, is_cut};
use crate::http::proxy::Proxy;
use crate::http::{Body, answer};
use crate::invoke::{self, Calls, Invoke, InvokeError, Returned};
use crate::latency::Latencies;
use crate::limits::Budget;
use crate::outcome::{Outcome, Stats, Tally};
use crate::output::Lines;
use crate::run::{Command, Ended, Listener, Ports, Start};
use crate::runtime::Node;
use crate::serve::Handler;
use crate::typed::{Function, WaveError, wave};
use crate::workload::{Identity, Mount, Workload};
use bytes::Bytes;
use capability::{Effective, Rule, Values};
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::Empty;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// A loaded component: code mapped, imports linked, ready to answer or to run.
#[derive(Debug)]
pub struct Component {
    account: Arc<Account>,
    slots: Arc<Slots>,
    entry: Entry,
    /// Becomes true when no call may go on.
    cut: watch::Sender<bool>,
}

/// How it is entered.
#[derive(Debug)]
enum Entry {
    /// At least one of the two.
    Serve {
        http: Option<Service>,
        calls: Option<Calls>,
    },
    Run(Command),
}

/// What a component is called by.
pub(crate) enum Way {
    /// Requests: to its handler, or to its functions.
    Serve(Option<Proxy>, Option<Invoke>),
    /// Whoever wants it to run.
    Command(Command),
}

/// Why a component is not ready.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProbeFailure {
    /// No instance could be made, or the health check ended so.
    #[error("the component does not start: {0}: {1}")]
    Failed(Outcome, String),
    /// The health check was answered with another status than 2xx or 3xx.
    #[error("the health check {path} answered {status}; it has to answer 2xx or 3xx")]
    Unhealthy {
        /// The path that was asked.
        path: String,
        /// The status that came.
        status: u16,
    },
}

impl Component {
    pub(crate) fn new(
        node: &Node,
        config: &Config,
        way: Way,
        mut workload: Workload,
    ) -> Result<Component, LoadError> {
        let slots = Slots::new(
            &node.slots,
            &workload.identity.namespace,
            concurrency(&workload, workload.replicas),
        );
        let identity = &workload.identity;
        let lines = Lines::new(node.output.clone(), identity);
        let audit = Audit::new(node.audit.clone(), identity.clone(), workload.audit);
        audit.note(Capability::Lifecycle, "loaded", Rule::Granted, None);
        let network = Network::new(&node.uplink, &workload.effective, &audit, workload.replicas);
        let mounts = std::mem::take(&mut workload.mounts);
        let files = Files::new(&node.files, &workload.effective, &audit, mounts)?;
        let processes = Processes::new(config.spawner.as_ref(), &workload.effective, &audit);
        let limits = match &way {
            Way::Serve(..) => StoreLimits::new(config),
            Way::Command(_) => StoreLimits::of_run(config),
        };
        let backings = Backings {
            network,
            files,
            processes,
        };
        let memory = memory(&workload, workload.replicas);
        let account = Account {
            given: Given::new(workload, lines, audit, backings, limits),
            memory: Budget::new(memory),
            node_memory: Arc::clone(&node.memory),
            tally: Tally::default(),
            errors: AtomicU64::new(0),
            latencies: Latencies::default(),
            cpu_micros: AtomicU64::new(0),
            turns: Turns::new(config.cores),
            slots: Arc::clone(&slots),
            ticker: Arc::clone(&node.ticker),
            waiting_runs: AtomicU64::new(0),
        };
        let (account, cut) = (Arc::new(account), watch::Sender::new(false));
        let entry = match way {
            Way::Serve(proxy, invoke) => Entry::Serve {
                http: proxy.map(|proxy| Service {
                    proxy: Arc::new(proxy),
                    account: Arc::clone(&account),
                    body_idle: config.body_idle,
                    max_duration: config.max_duration,
                    cut: cut.clone(),
                }),
                calls: invoke.map(|invoke| Calls {
                    invoke,
                    account: Arc::clone(&account),
                    cut: cut.clone(),
                }),
            },
            Way::Command(command) => Entry::Run(command),
        };
        Ok(Component {
            account,
            slots,
            entry,
            cut,
        })
    }

    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.account.given.workload.identity
    }

    /// Replaces rights, values, directories and credentials for instances that start from now
    /// on. Instances at work keep what they have.
    ///
    /// # Errors
    /// When a directory can not be used; then nothing is replaced.
    pub fn refresh(
        &self,
        effective: Arc<Effective>,
        values: Values,
        mounts: Vec<Mount>,
        credentials: Vec<Credential>,
    ) -> Result<(), LoadError> {
        self.account
            .given
            .refresh(effective, values, mounts, credentials)?;
        if let Some(service) = self.http() {
            service.proxy.dismiss();
        }
        Ok(())
    }

    /// Changes how many replicas this node holds: their budgets add up. At least 1.
    pub fn set_replicas(&self, replicas: u32) {
        let workload = &self.account.given.workload;
        self.slots.set_granted(concurrency(workload, replicas));
        self.account.given.network().set_replicas(replicas);
        self.account.memory.set_limit(memory(workload, replicas));
    }

    /// Answers one request with an instance of its own. Never fails: what goes wrong is a
    /// response with a status and a JSON body `{"reason", "message"}`, see [`answer`]. One that
    /// was loaded to run answers nothing: `GuestError`.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        self.handle_for(None, request).await
    }

    /// As `handle`, for a request of somebody: the lines that the guest prints meanwhile and
    /// the records of what it does name them.
    pub async fn handle_for<B>(
        &self,
        caller: Option<&Arc<Caller>>,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        if let (Some(calls), Some(caller)) = (self.calls(), caller)
            && calls.invoke.has_door(&caller.trigger)
        {
            return invoke::exchange(calls, caller, request).await;
        }
        let Some(service) = self.http() else {
            return answer(Outcome::GuestError);
        };
        match self.slots.take().await {
            Ok(slot) => {
                let limits = &self.account.given.workload.limits;
                let timeout = limits.per_call.timeout.0;
                let incoming = Incoming {
                    request,
                    caller,
                    slot: Some(slot),
                };
                exchange(service, incoming, timeout).await
            }
            Err(outcome) => {
                self.account.tally.count(outcome);
                answer(outcome)
            }
        }
    }

    fn http(&self) -> Option<&Service> {
        match &self.entry {
            Entry::Serve { http, .. } => http.as_ref(),
            Entry::Run(_) => None,
        }
    }

    fn calls(&self) -> Option<&Calls> {
        match &self.entry {
            Entry::Serve { calls, .. } => calls.as_ref(),
            Entry::Run(_) => None,
        }
    }

    /// The functions that it was loaded to be called by.
    #[must_use]
    pub fn functions(&self) -> &[Function] {
        self.calls().map_or(&[], |calls| calls.invoke.functions())
    }

    /// Of a call in the notation of WIT, the name of the function: `add` of `add(1, 2)`.
    ///
    /// # Errors
    /// When it is no call.
    pub fn called(text: &str) -> Result<String, WaveError> {
        wave::called(text)
    }

    /// Calls one of its functions with arguments in the notation of WIT: `add(1, 2)`.
    ///
    /// # Errors
    /// When it can not be called so, or the call ended before it gave anything.
    pub async fn invoke(&self, function: &Function, text: &str) -> Result<Returned, InvokeError> {
        match self.calls() {
            Some(calls) => calls.typed(function, text).await,
            None => Err(Outcome::GuestError.into()),
        }
    }

    /// Whether a run of it looks for the word to end.
    #[must_use]
    pub fn can_be_asked(&self) -> bool {
        matches!(&self.entry, Entry::Run(command) if command.can_be_asked())
    }

    /// The ports of one run of it: the sockets by the numbers that it knows. It may have so many
    /// connections on them at once as `perReplica.concurrency` says.
    #[must_use]
    pub fn ports(&self, listeners: BTreeMap<u16, Listener>) -> Ports {
        let limits = &self.account.given.workload.limits;
        Ports::new(listeners, limits.per_replica.concurrency)
    }

    /// Whether it was loaded to run, and answers nothing.
    #[must_use]
    pub fn is_run(&self) -> bool {
        matches!(&self.entry, Entry::Run(_))
    }

    /// Runs it once, to its end or until the future is dropped; `started` is called when there
    /// is an instance. One that was loaded to answer does not run: `GuestError`.
    pub async fn run(&self, start: Start, started: impl FnOnce() + Send) -> Ended {
        let Entry::Run(command) = &self.entry else {
            return Ended::by(Outcome::GuestError);
        };
        let _slot = match self.slots.take().await {
            Ok(slot) => slot,
            Err(outcome) => return Ended::by(outcome),
        };
        tokio::select! {
            biased;
            ended = command.run(&self.account, start, started) => ended,
            () = is_cut(&self.cut) => Ended::by(Outcome::Truncated),
        }
    }

    /// Ends all calls and runs, those of the future too: `Truncated`. What has been answered in
    /// part ends so that the caller can tell.
    pub fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// Instantiates once; with a path, GETs it then and expects 2xx or 3xx.
    ///
    /// Needs no slot: a full node must not make good code look bad.
    ///
    /// # Errors
    /// When it does not start, or does not answer well within `limit`.
    pub async fn probe(&self, path: Option<&str>, limit: Duration) -> Result<(), ProbeFailure> {
        let deadline = Instant::now() + limit;
        self.instantiate(limit)
            .await
            .map_err(|outcome| ProbeFailure::Failed(outcome, outcome.message().to_owned()))?;
        let (Some(path), Some(service)) = (path, self.http()) else {
            return Ok(());
        };
        let request = health_check(path).ok_or_else(|| {
            let message = format!("the health check's path {path} is not valid; begin it with /");
            ProbeFailure::Failed(Outcome::BadRequest, message)
        })?;
        let left = deadline.saturating_duration_since(Instant::now());
        let incoming = Incoming {
            request,
            caller: None,
            slot: None,
        };
        let response = exchange(service, incoming, left).await;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(());
        }
        Err(ProbeFailure::Unhealthy {
            path: path.to_owned(),
            status: status.as_u16(),
        })
    }

    async fn instantiate(&self, limit: Duration) -> Result<(), Outcome> {
        let call = Call::new(Arc::clone(&self.account), None);
        call.exempt();
        let instance = async {
            match &self.entry {
                Entry::Serve {
                    http: Some(service),
                    ..
                } => service.proxy.instantiate(&call).await,
                Entry::Serve {
                    calls: Some(calls), ..
                } => calls.invoke.instantiate(&call).await,
                Entry::Serve { .. } => Ok(()),
                Entry::Run(command) => command.instantiate(&call).await,
            }
        };
        let instantiate = Metered::new(Arc::clone(&call), instance);
        let outcome = match timeout(limit, instantiate).await {
            Ok(Ok(())) => Outcome::Completed,
            Ok(Err(outcome)) => outcome,
            Err(_) => Outcome::TimeoutExceeded,
        };
        call.count(outcome);
        if outcome == Outcome::Completed {
            Ok(())
        } else {
            Err(outcome)
        }
    }

    /// Counters since it was loaded.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let account = &self.account;
        Stats {
            outcomes: account.tally.read(),
            errors: account.errors.load(Ordering::Relaxed),
            latencies: account.latencies.read(),
            live: self.slots.live(),
            memory: account.memory.used(),
            cpu_micros: account.cpu_micros.load(Ordering::Relaxed),
            dropped_lines: self.account.given.lines.dropped(),
            uses: self.account.given.audit.uses(),
            lost_records: self.account.given.audit.lost(),
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        let audit = &self.account.given.audit;
        audit.note(Capability::Lifecycle, "dropped", Rule::Granted, None);
    }
}

impl Handler for Arc<Component> {
    async fn handle(&self, request: Request<hyper::body::Incoming>) -> Response<Body> {
        Component::handle(self, request).await
    }
}

fn concurrency(workload: &Workload, replicas: u32) -> u32 {
    workload
        .limits
        .per_replica
        .concurrency
        .saturating_mul(replicas.max(1))
}

fn memory(workload: &Workload, replicas: u32) -> u64 {
    workload
        .limits
        .per_replica
        .memory
        .0
        .saturating_mul(u64::from(replicas.max(1)))
}

fn health_check(path: &str) -> Option<Request<Empty<Bytes>>> {
    if !path.starts_with('/') {
        return None;
    }
    let mut request = Request::builder().uri(path).body(Empty::new()).ok()?;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("localhost"));
    Some(request)
}
