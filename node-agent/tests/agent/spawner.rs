//! The real spawner as a process: what it starts, what that can do, and when it ends.
//!
//! The executable is a shell, which a platform would never name: it tries everything that a
//! tool could be talked into.

use std::io::{Read, Write, pipe};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use capability::{Allow, Ceiling, GuestPath, ProcessRights};
use crds::Reason;
use crds::component::Processes;
use crds::placement::Phase;
use node_agent::args::SpawnArgs;
use node_agent::config::{Program, SpawnerConfig};
use node_agent::control::worker_link::{self, Peers};
use node_agent::message::{ChildId, Envelope, FromSpawner, StartOrder, ToSpawner};
use node_agent::supervisor::{self, Child};
use node_agent::transport::{Link, socket};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::rig::{LocalNode, Shelf, client, config, free_port, placement, program};

const PATIENCE: Duration = Duration::from_secs(30);
const SHELL: &str = "/bin/sh";

/// The end of a child: its code, its signal.
type End = (Option<u8>, Option<u8>);

/// The place of the worker, opposite a spawner.
struct Desk {
    link: Link<ToSpawner, FromSpawner>,
    run_dir: tempfile::TempDir,
    end: CancellationToken,
    last: u64,
}

fn path(text: &str) -> GuestPath {
    text.parse().unwrap()
}

fn spawns() -> SpawnArgs {
    SpawnArgs {
        executables: vec![path(SHELL)],
        files: ["/lib", "/lib64", "/usr/lib"].map(PathBuf::from).into(),
        ..SpawnArgs::default()
    }
}

impl Desk {
    async fn open() -> Self {
        let run_dir = tempfile::tempdir().unwrap();
        let socket = worker_link::spawner_socket(run_dir.path());
        let listener = worker_link::bind(&socket, Peers::Own).unwrap();
        let (connections, mut connected) = mpsc::channel(1);
        tokio::spawn(worker_link::accept_spawners(
            listener,
            Peers::Own,
            connections,
        ));
        let mut arguments = vec![
            "spawner".into(),
            "--run-dir".into(),
            run_dir.path().as_os_str().to_owned(),
        ];
        arguments.extend(spawns().arguments());
        let child = Child {
            name: "spawner",
            program: program(),
            arguments,
        };
        let end = CancellationToken::new();
        tokio::spawn(supervisor::keep(child, end.clone()));
        let connection: OwnedFd = connected.recv().await.unwrap();
        let stream = std::os::unix::net::UnixStream::from(connection);
        let stream = UnixStream::from_std(stream).unwrap();
        let (link, pump) = socket::link(stream);
        tokio::spawn(pump);
        let mut desk = Self {
            link,
            run_dir,
            end,
            last: 0,
        };
        let hello = desk.hear().await;
        assert!(matches!(hello, FromSpawner::Hello { .. }), "{hello:?}");
        desk
    }

    async fn hear(&mut self) -> FromSpawner {
        let heard = tokio::time::timeout(PATIENCE, self.link.incoming.recv()).await;
        heard
            .expect("an answer in time")
            .expect("a spawner")
            .message
    }

    /// Orders a start and gives what the child writes.
    async fn order(
        &mut self,
        executable: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> (ChildId, std::io::PipeReader) {
        let (stdin, mut filling) = pipe().unwrap();
        filling.write_all(b"input").unwrap();
        let (output, stdout) = pipe().unwrap();
        let stderr = stdout.try_clone().unwrap();
        self.last += 1;
        let id = ChildId(self.last);
        let owned = |text: &&str| (*text).to_owned();
        let order = StartOrder {
            id,
            executable: path(executable),
            arguments: arguments.iter().map(owned).collect(),
            environment: environment
                .iter()
                .map(|(name, value)| (owned(name), owned(value)))
                .collect(),
        };
        let envelope = Envelope {
            message: ToSpawner::Start(order),
            fds: vec![stdin.into(), stdout.into(), stderr.into()],
        };
        self.link.outgoing.send(envelope).await.unwrap();
        (id, output)
    }

    async fn started(&mut self, script: &str) -> (ChildId, std::io::PipeReader) {
        let (id, output) = self.order(SHELL, &["-c", script], &[]).await;
        assert_eq!(self.hear().await, FromSpawner::Started { id });
        (id, output)
    }

    /// Runs a script to its end: how it ended, and all that it wrote.
    async fn run(&mut self, script: &str) -> (End, String) {
        let (id, output) = self.started(script).await;
        let end = self.ended(id).await;
        (end, all(output).await)
    }

    async fn ended(&mut self, id: ChildId) -> End {
        match self.hear().await {
            FromSpawner::Ended {
                id: ended,
                code,
                signal,
            } if ended == id => (code, signal),
            other => panic!("{other:?}"),
        }
    }

    async fn say(&self, message: ToSpawner) {
        self.link.outgoing.send(message.into()).await.unwrap();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Everything up to the end: nobody holds the other end of the pipe any more.
async fn all(mut output: std::io::PipeReader) -> String {
    let read = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    });
    let text = tokio::time::timeout(PATIENCE, read).await;
    text.expect("the pipe is closed in time").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executable_runs_with_its_arguments_its_input_and_no_variable_but_its_own() {
    let mut desk = Desk::open().await;
    let script = "read -r line; echo \"$0 $1 $line\"; set; exit 7";
    let arguments = ["-c", script, "name", "; exit 3 $(id)"];
    let environment = [("GIVEN", "yes")];
    let (id, output) = desk.order(SHELL, &arguments, &environment).await;
    assert_eq!(desk.hear().await, FromSpawner::Started { id });
    assert_eq!(desk.ended(id).await, (Some(7), None));
    let text = all(output).await;
    assert!(text.starts_with("name ; exit 3 $(id) input\n"), "{text}");
    assert!(
        text.contains("GIVEN='yes'") || text.contains("GIVEN=yes"),
        "{text}"
    );
    for leaked in ["RUST_LOG", "CARGO", "HOME=", "NODE_NAME", "KUBERNETES"] {
        assert!(!text.contains(leaked), "{leaked} leaks: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_agent_was_not_told_of_is_not_started_however_it_is_spelt() {
    let mut desk = Desk::open().await;
    for executable in [
        "/bin/cat",
        "/usr/bin/env",
        "/bin",
        "/bin/sh/x",
        "/proc/self/exe",
    ] {
        let (id, _output) = desk.order(executable, &[], &[]).await;
        let refused = FromSpawner::NotStarted { id, no_room: false };
        assert_eq!(desk.hear().await, refused, "{executable}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_reads_nothing_writes_nothing_starts_nothing_and_reaches_nothing() {
    let mut desk = Desk::open().await;
    let outside = desk.run_dir.path().join("secret");
    std::fs::write(&outside, "the key").unwrap();
    let outside = outside.display();
    for (attempt, script) in [
        (
            "read a file",
            format!("read -r key < {outside} && echo \"$key\""),
        ),
        (
            "read its user's",
            "read -r line < /etc/passwd && echo \"$line\"".to_owned(),
        ),
        ("write a file", format!("echo x > {outside}.new")),
        ("write over a file", format!("echo x > {outside}")),
        (
            "look at processes",
            "read -r line < /proc/self/environ && echo \"$line\"".to_owned(),
        ),
        (
            "look at its parent",
            "read -r line < /proc/$PPID/cmdline && echo x".to_owned(),
        ),
        (
            "become another executable",
            "exec /bin/cat /etc/passwd".to_owned(),
        ),
        (
            "have its loader run another",
            "for it in /lib64/ld-linux-*; do exec $it /bin/cat /etc/passwd; done".to_owned(),
        ),
        ("start another process", "(echo x)".to_owned()),
        ("leave one behind", "sleep 60 & echo x".to_owned()),
        ("kill the spawner", "kill -9 $PPID && echo x".to_owned()),
        ("kill everybody", "kill -9 -1 && echo x".to_owned()),
        (
            "hold memory without end",
            "a=x; while :; do a=$a$a; done; echo x".to_owned(),
        ),
        ("raise its limits", "ulimit -n 100000 && echo x".to_owned()),
    ] {
        let (end, text) = desk.run(&script).await;
        assert_ne!(end, (Some(0), None), "{attempt}: {text}");
        let gained = text.lines().any(|line| line == "x") || text.contains("the key");
        assert!(!gained && !text.contains("root:"), "{attempt}: {text}");
    }
    let outside = desk.run_dir.path().join("secret");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "the key");
    assert!(!outside.with_extension("new").exists());
    // It is still there, and does what it should.
    assert_eq!(
        desk.run("echo alive").await,
        ((Some(0), None), "alive\n".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_nobody_wants_any_more_is_killed() {
    let mut desk = Desk::open().await;
    let endless = "echo on; while :; do :; done";
    let (dropped, output) = desk.started(endless).await;
    desk.say(ToSpawner::Drop { id: dropped }).await;
    assert_eq!(desk.ended(dropped).await, (None, Some(9)));
    drop(output);

    let (told, _output) = desk.started(endless).await;
    // SIGSTOP is not among what a guest can send, and an unknown child is nobody.
    for (id, signal) in [(told, 19), (told, 0), (told, -1), (ChildId(99), 15)] {
        desk.say(ToSpawner::Signal { id, signal }).await;
    }
    desk.say(ToSpawner::Signal {
        id: told,
        signal: 15,
    })
    .await;
    assert_eq!(desk.ended(told).await, (None, Some(15)));
}

#[tokio::test(flavor = "multi_thread")]
async fn children_end_with_the_worker_and_with_a_spawner_that_is_killed() {
    let mut desk = Desk::open().await;
    let (_, of_worker) = desk
        .started("trap '' TERM HUP INT; while :; do :; done")
        .await;
    // The pipe closes with the last process that holds it.
    drop(std::mem::replace(
        &mut desk.link,
        node_agent::transport::pair().0,
    ));
    assert_eq!(all(of_worker).await, "");

    let mut desk = Desk::open().await;
    let (_, of_spawner) = desk.started("echo $PPID; while :; do :; done").await;
    let (mut first, mut output) = (String::new(), of_spawner);
    let mut byte = [0];
    while output.read_exact(&mut byte).is_ok() && byte != *b"\n" {
        first.push(char::from(byte[0]));
    }
    let spawner = rustix::process::Pid::from_raw(first.parse().unwrap()).unwrap();
    rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
    assert_eq!(all(output).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_children_than_a_node_has_room_for() {
    let mut desk = Desk::open().await;
    let mut held = Vec::new();
    let refused = loop {
        let (id, output) = desk.order(SHELL, &["-c", "while :; do :; done"], &[]).await;
        held.push(output);
        match desk.hear().await {
            FromSpawner::Started { .. } => {}
            other => break other == FromSpawner::NotStarted { id, no_room: true },
        }
    };
    assert!(refused);
    assert_eq!(held.len(), 8, "2 GiB are seven at their limit");
}

fn starter() -> bytes::Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/starter/starter.wasm");
    std::fs::read(path).unwrap().into()
}

/// A shelf whose component may start a shell, and a policy that allows it.
fn shelf(executable: &str) -> Arc<Shelf> {
    let shelf = Shelf::new();
    shelf.give(|spec| {
        spec.capabilities.process = Processes {
            spawn: vec![executable.to_owned()],
            signal: false,
        };
    });
    shelf.allow(vec![Ceiling {
        policy: "tools".into(),
        allow: Allow {
            process: ProcessRights {
                spawn: vec![path(executable)],
                signal: false,
            },
            ..Allow::default()
        },
        ..Ceiling::default()
    }]);
    Arc::new(shelf)
}

fn spawner() -> SpawnerConfig {
    let program = Program {
        path: program(),
        arguments: vec!["spawner".into()],
    };
    spawns().config(program).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_starts_what_it_is_granted_and_hears_its_output_and_its_end() {
    let (shelf, port) = (shelf(SHELL), free_port());
    let state_dir = tempfile::tempdir().unwrap();
    let v1 = shelf.put(starter(), 100);
    let mut config = config(state_dir.path());
    config.spawner = Some(spawner());
    let desired = placement(port, vec![v1.clone()]);
    let node = LocalNode::start_with(config, desired, shelf);
    node.told.until_serving(&v1.name).await;
    let url = format!("http://127.0.0.1:{port}/");
    let order = format!(
        "do=run&executable={SHELL}&argument=-c&argument=read+-r+a;echo+$a+$B>%262;echo+out;exit+3&input=in&env=B:b\ndo=run&executable=/bin/cat"
    );
    let answer = client().post(&url).body(order).send().await.unwrap();
    let told = answer.text().await.unwrap();
    assert_eq!(told, "exited 3 out!in b\naccess-denied\n");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_refuses_what_its_own_flags_do_not_name() {
    for (executable, spawner) in [(SHELL, None), ("/bin/cat", Some(spawner()))] {
        let (shelf, port) = (shelf(executable), free_port());
        let state_dir = tempfile::tempdir().unwrap();
        let v1 = shelf.put(starter(), 100);
        let mut config = config(state_dir.path());
        config.spawner = spawner;
        let node = LocalNode::start_with(config, placement(port, vec![v1]), shelf);
        node.told
            .until("refused", |status| {
                status.revisions.iter().any(|one| {
                    let says = |message: &String| message.contains("--spawner-executable");
                    one.phase == Phase::Failed
                        && one.reason == Some(Reason::FeatureMissing)
                        && one.message.as_ref().is_some_and(says)
                })
            })
            .await;
        node.stop().await;
    }
}
