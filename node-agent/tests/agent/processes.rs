//! Control here, worker and compiler as children under a supervisor, as with `--spawn`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crds::condition::{ConditionType, find};
use crds::placement::Phase;
use crds::{ComponentPlacementStatus, Reason};
use node_agent::control::cache::{Cache, Key};
use node_agent::control::compile_queue;
use node_agent::control::prepare::Preparer;
use node_agent::control::state::Store;
use node_agent::control::volumes::Volumes;
use node_agent::control::worker_link::{self, Peers};
use node_agent::control::{self, Inputs, audit, audit::Auditor, blocked, report};
use node_agent::message::WorkerSize;
use node_agent::network::Network;
use node_agent::supervisor::{self, Child};
use node_agent::{Desired, Source};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::rig::{Shelf, Told, ask, client, config, free_port, hello, placement, program};

fn child(name: &'static str, run_dir: &Path) -> Child {
    Child {
        name,
        program: program(),
        arguments: vec![
            name.into(),
            "--supervised".into(),
            "--run-dir".into(),
            run_dir.as_os_str().to_owned(),
        ],
    }
}

/// The worker of this test, found by its run directory.
fn worker_pid(run_dir: &Path) -> Option<u32> {
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.ok()?;
        let pid = entry.file_name().into_string().ok()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).into_owned();
        let ours = line.contains("worker") && line.contains(run_dir.to_str()?);
        ours.then_some(pid)
    })
}

/// Whether a process has its pagemap open. A runtime keeps it only after a trial of the scan.
fn scans_pages(process: &str) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    open.flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .any(|file| file.ends_with("pagemap"))
}

/// Control in this process, its children beside it.
pub(crate) struct ProcessNode {
    pub(crate) told: Told,
    run_dir: tempfile::TempDir,
    pub(crate) state_dir: tempfile::TempDir,
    pub(crate) desired: watch::Sender<Desired>,
    pub(crate) trust: watch::Sender<u64>,
    stop: CancellationToken,
    end: CancellationToken,
    control: JoinHandle<()>,
    children: Vec<JoinHandle<()>>,
}

impl ProcessNode {
    pub(crate) fn start(desired: Desired, shelf: Arc<Shelf>) -> Self {
        Self::start_again(tempfile::tempdir().unwrap(), desired, shelf)
    }

    /// With what an earlier start has left on the disk.
    fn start_again(state_dir: tempfile::TempDir, desired: Desired, shelf: Arc<Shelf>) -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let told = Told::new();
        let config = config(state_dir.path());
        let key = Key::of_node(state_dir.path()).unwrap();
        let folder = state_dir.path().join("documents");
        let documents = Cache::open(&folder, key.clone(), config.cache_bytes).unwrap();
        let cache = Cache::open(&state_dir.path().join("cache"), key, config.cache_bytes).unwrap();

        let (worker_links, workers) = mpsc::channel(1);
        let (compiler_links, compilers) = mpsc::channel(1);
        let (_no_spawner, spawners) = mpsc::channel(1);
        let socket = worker_link::worker_socket(run_dir.path());
        let socket = worker_link::bind(&socket, Peers::Own).unwrap();
        tokio::spawn(worker_link::accept(socket, Peers::Own, worker_links));
        let socket = worker_link::compiler_socket(run_dir.path());
        let socket = worker_link::bind(&socket, Peers::Own).unwrap();
        tokio::spawn(worker_link::accept(socket, Peers::Own, compiler_links));
        let end = CancellationToken::new();
        let keep = |name| tokio::spawn(supervisor::keep(child(name, run_dir.path()), end.clone()));
        let children = ["worker", "compiler"].map(keep).into();

        let (compile, queue) = compile_queue::queue();
        tokio::spawn(queue.run(compilers));
        let (statuses, reported) = watch::channel(Default::default());
        tokio::spawn(report::run(reported, Arc::new(told.clone()), end.clone()));
        let (desired, receiver) = watch::channel(desired);
        let (trust, trust_changes) = watch::channel(0);
        let (_questions, questions) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let source: Arc<dyn Source> = shelf;
        let contents = run_dir.path().join("contents");
        let volumes = Volumes::open(state_dir.path(), &contents, &[]).unwrap();
        let volumes = Arc::new(volumes);
        let preparer = Preparer::new(
            "node".into(),
            false,
            None,
            source,
            Arc::new(cache),
            Arc::clone(&volumes),
            compile,
        );
        let (denied, _denials) = mpsc::channel(1);
        let (log, writer) = audit::log::log(state_dir.path().join("audit"));
        tokio::spawn(writer.run(end.clone()));
        let (_blocked, blocked) = watch::channel(blocked::interfaces());
        let control = tokio::spawn(control::run(Inputs {
            desired: receiver,
            trust_changes,
            blocked,
            workers,
            spawners,
            questions,
            preparer: Arc::new(preparer),
            documents: Store::new(documents),
            volumes,
            auditor: Auditor::new("node".into(), log, denied),
            refresh_every: config.refresh_every,
            back_off: node_agent::control::restart::BackOff::default(),
            statuses,
            ready: Arc::default(),
            worker_size: WorkerSize {
                guest_memory: 128 << 20,
                cores: 1,
                p3: false,
            },
            network: Network::default(),
            listen_address: config.listen_address,
            shutdown_delay: Duration::ZERO,
            stop: stop.clone(),
        }));
        Self {
            told,
            run_dir,
            state_dir,
            desired,
            trust,
            stop,
            end,
            control,
            children,
        }
    }

    pub(crate) fn kill_worker(&self) {
        let pid = worker_pid(self.run_dir.path()).expect("a worker runs");
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }

    /// What it leaves on the disk.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.control.await.unwrap();
        self.end.cancel();
        for child in self.children {
            child.await.unwrap();
        }
        self.state_dir
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_while_a_killed_worker_is_started_again() {
    let (shelf, port) = (Shelf::new(), free_port());
    let v1 = shelf.put(hello(1), 100);
    let node = ProcessNode::start(placement(port, vec![v1.clone()]), Arc::new(shelf));
    node.told.until_serving(&v1.name).await;
    assert_eq!(ask(&client(), port).await.unwrap().0, 200);

    for _ in 0..2 {
        node.kill_worker();
        // The listening socket is control's, so the connection is made; the answer comes when
        // the next worker is there.
        let asked = Instant::now();
        let (status, body) = loop {
            // One that was already accepted by the dead worker may be reset.
            match ask(&client(), port).await {
                Ok(answer) => break answer,
                Err(error) => assert!(
                    !error.contains("ConnectionRefused") && asked.elapsed().as_secs() < 30,
                    "{error}"
                ),
            }
        };
        assert_eq!(status, 200, "{body}");
        assert!(asked.elapsed() < Duration::from_secs(20));
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_runs_at_two_crashes_is_quarantined_also_after_a_restart() {
    let (shelf, port) = (Arc::new(Shelf::new()), free_port());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/probe/probe.wasm");
    let v1 = shelf.put(std::fs::read(path).unwrap().into(), 100);
    let state_dir = tempfile::tempdir().unwrap();
    let desired = placement(port, vec![v1.clone()]);
    let node = ProcessNode::start_again(state_dir, desired.clone(), Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;

    // Keeps the only thread of the worker busy with guest code, until the guest is stopped.
    let spinning = tokio::spawn(async move {
        let (client, url) = (client(), format!("http://127.0.0.1:{port}/spin"));
        loop {
            if client
                .get(&url)
                .send()
                .await
                .is_ok_and(|answer| answer.status() == 503)
            {
                break;
            }
        }
    });
    let quarantined = node.told.until("quarantined", is_quarantined);
    let kills = async {
        loop {
            // Longer than a suspect waits for its neighbours before it is started again.
            tokio::time::sleep(Duration::from_secs(3)).await;
            if worker_pid(node.run_dir.path()).is_some() {
                node.kill_worker();
            }
        }
    };
    tokio::select! {
        () = quarantined => {}
        () = kills => {}
    }
    spinning.abort();

    // A restart of control gives it no two fresh kills.
    let state_dir = node.stop().await;
    let node = ProcessNode::start_again(state_dir, desired, shelf);
    let never_served = node.told.until("quarantined at once", |status| {
        assert!(!status.ready, "it was started again: {status:#?}");
        is_quarantined(status)
    });
    never_served.await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_judged_again_when_a_policy_changes_and_goes_on() {
    let (shelf, port) = (Arc::new(Shelf::new()), free_port());
    let v1 = shelf.put(hello(1), 100);
    let desired = placement(port, vec![v1.clone()]);
    let state_dir = tempfile::tempdir().unwrap();
    let node = ProcessNode::start_again(state_dir, desired, Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;

    // The agent only says so: it is for the operator to stop it, wave by wave.
    let denied = [v1.digest.to_string()];
    shelf.tighten(json!({"deny": {"digests": denied}, "whenRunning": "Stop"}));
    node.trust.send_modify(|edition| *edition += 1);
    let doubted = |status: &ComponentPlacementStatus| {
        let verified = find(&status.conditions, ConditionType::Verified);
        verified.is_some_and(|verified| verified.reason == "DigestDenied")
    };
    let serves = |status: &ComponentPlacementStatus| status.ready && doubted(status);
    node.told.until("serving in doubt", serves).await;
    assert_eq!(ask(&client(), port).await.unwrap().0, 200);

    shelf.tighten(json!({}));
    node.trust.send_modify(|edition| *edition += 1);
    let cleared = |status: &ComponentPlacementStatus| status.ready && !doubted(status);
    node.told.until("serving without a doubt", cleared).await;
    node.stop().await;
}

fn is_quarantined(status: &ComponentPlacementStatus) -> bool {
    status.revisions.iter().any(|revision| {
        revision.phase == Phase::Failed && revision.reason == Some(Reason::CrashQuarantined)
    })
}

/// Where the kernel has the scan at all, confinement must not take it away: without it every
/// fresh instance costs about three times as much, and nothing but a line in the log says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_confined_worker_scans_pages_as_an_unconfined_process_does() {
    let sizes = runtime::Config::for_budget(64 << 20, 1);
    let output = runtime::Output::to_writer(std::io::sink()).unwrap();
    let unconfined = runtime::Runtime::new(sizes, output, runtime::AuditSink::discard()).unwrap();
    let (shelf, port) = (Shelf::new(), free_port());
    let v1 = shelf.put(hello(1), 100);
    let node = ProcessNode::start(placement(port, vec![v1.clone()]), Arc::new(shelf));
    node.told.until_serving(&v1.name).await;

    let worker = worker_pid(node.run_dir.path()).expect("a worker runs");
    assert_eq!(scans_pages(&worker.to_string()), scans_pages("self"));
    drop(unconfined);
    node.stop().await;
}
