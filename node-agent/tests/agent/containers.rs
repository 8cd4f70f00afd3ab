//! Worker and compiler as the containers of a pod, where kubelet starts and signals them.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use node_agent::control::worker_link::{self, Peers};

use crate::rig::program;

const PATIENCE: Duration = Duration::from_secs(20);

/// A first process of a container; killed when the test ends.
struct Container(Child);

impl Container {
    fn start(arguments: &[&str], run_dir: &Path) -> Self {
        let child = Command::new(program())
            .args(arguments)
            .arg("--run-dir")
            .arg(run_dir)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its child, once there is one other than `before`.
    fn child(&self, before: Option<i32>) -> i32 {
        eventually(|| child_of(self.0.id()).filter(|pid| Some(*pid) != before))
    }

    /// What it ends with after SIGTERM, the only thing that kubelet sends first.
    fn told_to_leave(&mut self) -> ExitStatus {
        eventually(|| catches_term(self.0.id()).then_some(()));
        signal(
            self.0.id().try_into().unwrap(),
            rustix::process::Signal::TERM,
        );
        eventually(|| self.0.try_wait().unwrap())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn child_of(parent: u32) -> Option<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let children = tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok())
        .collect::<String>();
    children.split_whitespace().next()?.parse().ok()
}

/// Whether a process has come as far as to handle SIGTERM.
fn catches_term(pid: u32) -> bool {
    const TERM: u64 = 1 << 14;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & TERM != 0
}

fn signal(pid: i32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[test]
fn a_worker_that_is_killed_in_its_container_is_started_again_at_once() {
    let run_dir = tempfile::tempdir().unwrap();
    let mut container = Container::start(&["worker", "--keep-alive"], run_dir.path());
    let first = container.child(None);
    signal(first, rustix::process::Signal::KILL);
    let second = container.child(Some(first));
    assert!(second != first);
    assert!(container.told_to_leave().success());
}

#[test]
fn a_container_whose_control_is_gone_leaves_when_it_is_told() {
    for arguments in [&["worker"][..], &["worker", "--keep-alive"], &["compiler"]] {
        let run_dir = tempfile::tempdir().unwrap();
        let mut container = Container::start(arguments, run_dir.path());
        assert!(container.told_to_leave().success(), "{arguments:?}");
    }
}

#[tokio::test]
async fn a_volume_that_is_open_to_the_containers_of_the_pod_is_left_as_it_is() {
    let run_dir = tempfile::tempdir().unwrap();
    let socket = worker_link::worker_socket(run_dir.path());
    let volume = socket.parent().unwrap();
    std::fs::create_dir(volume).unwrap();
    std::fs::set_permissions(volume, std::fs::Permissions::from_mode(0o777)).unwrap();
    let _listener = worker_link::bind(&socket, Peers::User(65_533)).unwrap();
    let mode = volume.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o777);
}
