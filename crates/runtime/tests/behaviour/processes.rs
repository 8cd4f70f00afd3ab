//! Executables that a guest starts, through a spawner of the tests that does what it is told.
//!
//! Real processes of this machine: what a spawner that is confined does to them, the node
//! agent's tests show.

use crate::support::{code, post, small_config, workload};
use capability::{Allow, Ceiling, Effective, Grant, GuestPath, ProcessRights, Request, Rule};
use runtime::{
    AuditLevel, AuditRecords, AuditSink, Capability, Component, EngineClass, Exit, LoadError,
    NotStarted, Output, ProcessOrder, Runtime, Signal, Spawner, Workload,
};
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::process::Command;
use tokio::sync::mpsc;

const STARTER: &[u8] = include_bytes!("../../../../tests/guests/starter/starter.wasm");
const SHELL: &str = "/bin/sh";
const PATIENCE: Duration = Duration::from_secs(10);

/// A runtime with a spawner, how many of its children run, and what is recorded.
pub(crate) struct Workbench {
    runtime: Arc<Runtime>,
    running: Arc<AtomicUsize>,
    started: Arc<Mutex<Vec<String>>>,
    pub(crate) records: AuditRecords,
}

impl Workbench {
    pub(crate) fn new() -> Workbench {
        let (spawner, orders) = Spawner::channel();
        let bench = Workbench::with(Some(spawner));
        let (running, started) = (Arc::clone(&bench.running), Arc::clone(&bench.started));
        tokio::spawn(serve(orders, running, started));
        bench
    }

    fn with(spawner: Option<Spawner>) -> Workbench {
        let mut config = small_config();
        config.spawner = spawner;
        let (sink, records) = AuditSink::channel(10_000);
        Workbench {
            runtime: Runtime::new(config, Output::discard(), sink).unwrap(),
            running: Arc::default(),
            started: Arc::default(),
            records,
        }
    }

    fn try_load(&self, effective: Effective) -> Result<Arc<Component>, LoadError> {
        let workload = Workload {
            effective: Arc::new(effective),
            audit: AuditLevel::All,
            ..workload("starter")
        };
        self.runtime
            .load(&code(EngineClass::SMALL, STARTER), workload)
    }

    pub(crate) fn load(&self, effective: Effective) -> Arc<Component> {
        self.try_load(effective).unwrap()
    }

    /// What was recorded since the last look: what kind, which thing, by which rule.
    fn recorded(&self) -> Vec<(Capability, String, Rule)> {
        let records = self.records.take(usize::MAX).into_iter();
        let records = records.map(|record| (record.capability, record.object, record.rule));
        records
            .filter(|(capability, ..)| *capability != Capability::Lifecycle)
            .collect()
    }

    /// What was started so far.
    pub(crate) fn started(&self) -> Vec<String> {
        self.started.lock().unwrap().clone()
    }

    /// Waits until so many children run.
    async fn until_running(&self, count: usize) {
        let started = Instant::now();
        while self.running.load(Ordering::SeqCst) != count {
            assert!(started.elapsed() < PATIENCE, "never {count} children");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn serve(
    mut orders: mpsc::Receiver<ProcessOrder>,
    running: Arc<AtomicUsize>,
    started: Arc<Mutex<Vec<String>>>,
) {
    while let Some(order) = orders.recv().await {
        started.lock().unwrap().push(order.executable.to_string());
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            running.fetch_add(1, Ordering::SeqCst);
            run(order).await;
            running.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn run(order: ProcessOrder) {
    let mut signals = order.signals;
    let spawned = Command::new(order.executable.as_str())
        .args(order.arguments)
        .env_clear()
        .envs(order.environment)
        .stdin(Stdio::from(order.stdin))
        .stdout(Stdio::from(order.stdout))
        .stderr(Stdio::from(order.stderr))
        .spawn();
    let Ok(mut child) = spawned else {
        let _ = order.started.send(Err(NotStarted::Failed));
        return;
    };
    let _ = order.started.send(Ok(()));
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.unwrap(),
            signal = signals.recv() => {
                let signal = match signal {
                    Some(Signal::Terminate) => rustix::process::Signal::TERM,
                    Some(Signal::HangUp) => rustix::process::Signal::HUP,
                    _ => rustix::process::Signal::KILL,
                };
                let _ = rustix::process::kill_process(pid, signal);
                if signal == rustix::process::Signal::KILL {
                    break child.wait().await.unwrap();
                }
            }
        }
    };
    let exit = match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Exited(code.try_into().unwrap()),
        (None, Some(signal)) => Exit::Signalled(signal.try_into().unwrap()),
        (None, None) => Exit::Lost,
    };
    let _ = order.ended.send(exit);
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn rights(executables: &[&str], signal: bool) -> ProcessRights {
    ProcessRights {
        spawn: executables.iter().map(|text| path(text)).collect(),
        signal,
    }
}

fn effective(granted: ProcessRights, admitted: ProcessRights) -> Effective {
    Effective {
        requests: Vec::new(),
        grant: Grant::Listed {
            filesystem: Vec::new(),
            outbound: Vec::new(),
            process: granted,
        },
        ceilings: vec![Ceiling {
            policy: "tools".into(),
            allow: Allow {
                process: admitted,
                ..Allow::default()
            },
            ..Ceiling::default()
        }],
    }
}

/// This executable, without signals.
pub(crate) fn only(executable: &str) -> Effective {
    let only = rights(&[executable], false);
    effective(only.clone(), only)
}

fn shell() -> Effective {
    only(SHELL)
}

fn shell_and_signals() -> Effective {
    let shell = rights(&[SHELL], true);
    effective(shell.clone(), shell)
}

async fn tell(component: &Component, orders: &str) -> String {
    let answer = post(component, "/", orders.to_owned()).await;
    answer.text.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executable_gets_its_arguments_input_and_variables_and_gives_its_output_and_end() {
    let bench = Workbench::new();
    let component = bench.load(shell());
    let script = "read+-r+a;echo+$a+$1+$B>%262;echo+out;exit+3";
    let order = format!(
        "do=run&executable={SHELL}&argument=-c&argument={script}&argument=x&argument=;id&env=B:b&input=in"
    );
    assert_eq!(tell(&component, &order).await, "exited 3 out!in ;id b");
    let granted = (Capability::Spawn, SHELL.to_owned(), Rule::Granted);
    assert_eq!(bench.recorded(), [granted]);
    let all = format!("do=run&executable={SHELL}&argument=-c&argument=set");
    let variables = tell(&component, &all).await;
    for leaked in ["HOME", "CARGO", "RUST"] {
        assert!(!variables.contains(leaked), "{variables}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_interface_links_only_with_an_executable_and_somebody_to_start_it() {
    let bench = Workbench::new();
    let nobody = Workbench::with(None);
    let asks_for_another = Effective {
        requests: vec![Request::default()],
        ..shell()
    };
    let not_admitted = effective(rights(&[SHELL], true), rights(&[], true));
    for (bench, effective, mend) in [
        (
            &bench,
            Effective::default(),
            "spec.capabilities.process.spawn",
        ),
        (&bench, asks_for_another, "spec.capabilities.process.spawn"),
        (&bench, not_admitted, "spec.capabilities.process.spawn"),
        (&nobody, shell(), "--spawner-executable"),
    ] {
        let refused = bench.try_load(effective).unwrap_err();
        assert!(matches!(refused, LoadError::ImportNotGranted { .. }));
        let message = refused.to_string();
        let import = "lighterman:ext-process/process@1.0.0";
        assert!(
            message.contains(import) && message.contains(mend),
            "{message}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_what_the_guest_lets_go_of_and_with_its_instance() {
    let bench = Workbench::new();
    let component = bench.load(shell());
    let start = format!("do=start&executable={SHELL}&argument=-c&argument=exec+sleep+60&as=x");
    for orders in [
        format!("{start}\ndo=drop&to=x"),
        start.clone(),
        format!("{start}\ndo=trap"),
    ] {
        tell(&component, &orders).await;
        bench.until_running(0).await;
    }
    let waiting = tokio::spawn({
        let (component, orders) = (Arc::clone(&component), format!("{start}\ndo=wait&to=x"));
        async move { tell(&component, &orders).await }
    });
    bench.until_running(1).await;
    component.cut();
    bench.until_running(0).await;
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_has_so_many_children_at_once_and_gets_them_back() {
    let bench = Workbench::new();
    let component = bench.load(shell());
    let many = format!("do=many&executable={SHELL}&argument=-c&argument=exec+sleep+60&count=9");
    for _ in 0..2 {
        assert_eq!(tell(&component, &many).await, "4 limit-exceeded");
        bench.until_running(0).await;
    }
    let last = bench.recorded().pop().unwrap();
    assert_eq!(last, (Capability::Spawn, SHELL.into(), Rule::LimitExceeded));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_arrive_when_they_are_granted_and_only_then() {
    let bench = Workbench::new();
    let orders = format!(
        "do=start&executable={SHELL}&argument=-c&argument=exec+sleep+60&as=x\ndo=signal&to=x&signal=term"
    );
    let component = bench.load(shell());
    assert_eq!(tell(&component, &orders).await, "started\naccess-denied");
    let object = format!("TERM {SHELL}");
    let denied = (Capability::Signal, object.clone(), Rule::NotGranted);
    assert_eq!(bench.recorded().pop(), Some(denied));

    let component = bench.load(shell_and_signals());
    let orders = format!("{orders}\ndo=wait&to=x\ndo=signal&to=x\ndo=wait&to=x");
    let told = "started\nsent\nsignalled 15\nended\nsignalled 15";
    assert_eq!(tell(&component, &orders).await, told);
    let granted = (Capability::Signal, object, Rule::Granted);
    assert!(bench.recorded().contains(&granted));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_waits_in_its_pipe_and_ends() {
    let bench = Workbench::new();
    let component = bench.load(shell());
    let flood = "while+:;do+echo+xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx;done";
    let start = format!("do=start&executable={SHELL}&argument=-c&argument={flood}&as=x");
    // Nobody reads: the child waits, and the call ends at once.
    assert_eq!(tell(&component, &start).await, "started");
    bench.until_running(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spawner_that_is_gone_is_an_ordinary_error() {
    let (spawner, orders) = Spawner::channel();
    drop(orders);
    let bench = Workbench::with(Some(spawner));
    let component = bench.load(shell());
    let order = format!("do=run&executable={SHELL}");
    assert_eq!(tell(&component, &order).await, "unavailable");
    let failed = (Capability::Spawn, SHELL.into(), Rule::SpawnerFailed);
    assert_eq!(bench.recorded(), [failed]);
}
