//! A component that runs listens on the sockets that it is handed, and on nothing else.

use crate::support::{ECHO, POLITE_ECHO, code, eventually, small_config, workload};
use capability::Bytes;
use runtime::{
    AuditLevel, AuditRecord, AuditRecords, AuditSink, Component, EngineClass, Listener, Outcome,
    Output, Ports, Runtime, Start, Stop, Workload,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// As long as nothing happens that should not.
const QUIET: Duration = Duration::from_millis(300);
/// More than fit into the buffers of the system.
const ANSWERS: usize = 20;

/// A socket that listens, and is never closed.
struct Door {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

/// A run, from outside.
struct Run {
    stop: Stop,
    ports: Ports,
    task: JoinHandle<runtime::Ended>,
}

/// A connection to a guest.
struct Caller(BufReader<TcpStream>);

impl Door {
    fn open() -> Door {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        Door { socket, address }
    }

    /// The socket for one more run.
    fn listener(&self) -> Listener {
        Listener::new(OwnedFd::from(self.socket.try_clone().unwrap())).unwrap()
    }

    async fn call(&self) -> Caller {
        Caller(BufReader::new(
            TcpStream::connect(self.address).await.unwrap(),
        ))
    }
}

impl Caller {
    async fn say(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.0.write_all(line.as_bytes()).await.unwrap();
    }

    async fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        timeout(Duration::from_secs(10), self.hear()).await.unwrap()
    }
}

impl Run {
    fn start(component: &Arc<Component>, listeners: BTreeMap<u16, Listener>) -> Run {
        let ports = component.ports(listeners);
        let stop = Stop::default();
        let start = Start {
            stop: stop.clone(),
            ports: ports.clone(),
            ..Start::default()
        };
        let component = Arc::clone(component);
        let task = tokio::spawn(async move { component.run(start, || {}).await });
        Run { stop, ports, task }
    }

    async fn listens(&self) {
        let mut silent = self.ports.silent();
        let listens = silent.wait_for(|silent| silent.is_empty());
        timeout(Duration::from_secs(10), listens)
            .await
            .unwrap()
            .unwrap();
    }
}

fn runtime() -> (Arc<Runtime>, AuditRecords) {
    let (sink, records) = AuditSink::channel(1000);
    let runtime = Runtime::new(small_config(), Output::discard(), sink).unwrap();
    (runtime, records)
}

fn server(
    runtime: &Arc<Runtime>,
    wasm: &[u8],
    args: &[&str],
    adjust: impl FnOnce(&mut Workload),
) -> Arc<Component> {
    let mut workload = workload("echo");
    workload.values.args = args.iter().map(|arg| (*arg).to_owned()).collect();
    workload.audit = AuditLevel::All;
    workload.listens = true;
    adjust(&mut workload);
    runtime
        .load_command(&code(EngineClass::SMALL, wasm), workload)
        .unwrap()
}

fn echo(args: &[&str]) -> (Arc<Runtime>, Arc<Component>) {
    let (runtime, _) = runtime();
    let component = server(&runtime, ECHO, args, |_| {});
    (runtime, component)
}

/// The next record of something with this in its name.
async fn recorded(records: &AuditRecords, object: &str) -> AuditRecord {
    loop {
        let next = timeout(Duration::from_secs(5), records.next(1));
        let next = next.await.expect("a record");
        let found = next.into_iter().find(|one| one.object.contains(object));
        if let Some(record) = found {
            return record;
        }
    }
}

#[tokio::test]
async fn a_guest_accepts_from_the_socket_that_it_is_handed_by_the_number_it_knows() {
    let (_runtime, component) = echo(&["name=one"]);
    let door = Door::open();
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    run.listens().await;
    let mut caller = door.call().await;
    assert_eq!(caller.ask("hello").await, "one hello");
    let from = caller.0.get_ref().local_addr().unwrap();
    let told = format!("one Ok(\"127.0.0.1:5000\") Ok(\"{from}\")");
    assert_eq!(caller.ask("where").await, told);
    let mut other = door.call().await;
    assert_eq!(other.ask("at the same time").await, "one at the same time");
}

#[tokio::test]
async fn connections_wait_while_nobody_accepts() {
    let (_runtime, component) = echo(&[]);
    let door = Door::open();
    let mut early = door.call().await;
    early.say("before").await;
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    assert_eq!(early.hear().await, "echo before");
    run.task.abort();
    assert!(run.task.await.unwrap_err().is_cancelled());
    let mut between = door.call().await;
    between.say("between").await;
    let _next = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    assert_eq!(between.hear().await, "echo between");
}

#[tokio::test]
async fn nothing_else_is_bound() {
    let (runtime, records) = runtime();
    let tried = [
        "0.0.0.0:5001",
        "127.0.0.1:5000",
        "0.0.0.0:0",
        "[::1]:5000",
        "192.0.2.1:5000",
    ];
    let args: Vec<String> = tried
        .iter()
        .map(|address| format!("try={address}"))
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let component = server(&runtime, ECHO, &args, |_| {});
    let door = Door::open();
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    for object in [
        "bind 0.0.0.0:5001",
        "bind 127.0.0.1:5000",
        "listen on any port",
        "bind [::1]:5000",
        "bind 192.0.2.1:5000",
    ] {
        let record = recorded(&records, object).await;
        assert!(!record.rule.allows(), "{record:?}");
    }
    let record = recorded(&records, "bind 0.0.0.0:5000").await;
    assert!(record.rule.allows(), "{record:?}");
    run.listens().await;
}

#[tokio::test]
async fn without_ports_of_its_own_a_run_listens_nowhere() {
    let (runtime, records) = runtime();
    let component = server(&runtime, ECHO, &[], |workload| workload.listens = false);
    let ended = component.run(Start::default(), || {}).await;
    assert_eq!(ended.exit_code, Some(1));
    assert!(!recorded(&records, "TCP").await.rule.allows());
    let component = server(&runtime, ECHO, &[], |_| {});
    let ended = component.run(Start::default(), || {}).await;
    assert_eq!(ended.exit_code, Some(1));
    assert!(!recorded(&records, "bind 0.0.0.0:5000").await.rule.allows());
}

#[tokio::test]
async fn both_families_bind_a_port_and_each_only_once() {
    let (_runtime, component) = echo(&["bind=[::]:5000", "bind=0.0.0.0:5001", "name=two"]);
    let doors = [Door::open(), Door::open()];
    let listeners = BTreeMap::from([(5000, doors[0].listener()), (5001, doors[1].listener())]);
    let run = Run::start(&component, listeners);
    run.listens().await;
    let mut six = doors[0].call().await;
    let from = six.0.get_ref().local_addr().unwrap().port();
    let told = format!("two Ok(\"[::ffff:127.0.0.1]:5000\") Ok(\"[::ffff:127.0.0.1]:{from}\")");
    assert_eq!(six.ask("where").await, told);
    assert_eq!(doors[1].call().await.ask("hello").await, "two hello");

    let (_runtime, component) = echo(&["bind=0.0.0.0:5000", "bind=[::]:5000"]);
    let run = Run::start(&component, BTreeMap::from([(5000, doors[0].listener())]));
    assert_eq!(run.task.await.unwrap().exit_code, Some(1));
}

#[tokio::test]
async fn it_connects_to_nothing_that_it_is_not_granted() {
    let (runtime, records) = runtime();
    let door = Door::open();
    let connect = format!("connect={}", door.address);
    let component = server(&runtime, ECHO, &[&connect], |_| {});
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    run.listens().await;
    let denied = recorded(&records, &door.address.to_string()).await;
    assert!(!denied.rule.allows(), "{denied:?}");
}

#[tokio::test]
async fn a_run_that_is_to_end_accepts_no_more_and_finishes_what_it_has() {
    let (_runtime, old) = echo(&["name=old"]);
    let (_other, new) = echo(&["name=new"]);
    let door = Door::open();
    let run = Run::start(&old, BTreeMap::from([(5000, door.listener())]));
    run.listens().await;
    let mut open = door.call().await;
    assert_eq!(open.ask("one").await, "old one");
    run.stop.ask(false);
    let idle = tokio::spawn({
        let ports = run.ports.clone();
        async move { ports.idle().await }
    });
    let mut late = door.call().await;
    late.say("who is there").await;
    assert!(timeout(QUIET, late.hear()).await.is_err());
    assert!(!idle.is_finished());
    assert_eq!(open.ask("two").await, "old two");
    // Its successor has the same socket, and what waits there.
    let _next = Run::start(&new, BTreeMap::from([(5000, door.listener())]));
    assert_eq!(late.hear().await, "new who is there");
    drop(open);
    timeout(Duration::from_secs(5), idle)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn one_that_looks_ends_with_its_last_connection() {
    let (runtime, _) = runtime();
    let component = server(&runtime, POLITE_ECHO, &[], |_| {});
    let door = Door::open();
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    run.listens().await;
    let mut open = door.call().await;
    assert_eq!(open.ask("one").await, "echo one");
    assert!(component.can_be_asked());
    run.stop.ask(false);
    assert_eq!(open.ask("two").await, "echo two");
    assert!(!run.task.is_finished());
    drop(open);
    let ended = timeout(Duration::from_secs(5), run.task).await.unwrap();
    assert_eq!(ended.unwrap().outcome, Outcome::Completed);
}

#[tokio::test]
async fn connections_are_bounded_by_concurrency_and_by_what_the_host_has() {
    let (runtime, _) = runtime();
    let component = server(&runtime, ECHO, &[], |workload| {
        workload.limits.per_replica.concurrency = 2;
    });
    let door = Door::open();
    let one = || Arc::new(Semaphore::new(1));
    for (bounds, most) in [(vec![], 2), (vec![one(), Arc::new(Semaphore::new(9))], 1)] {
        let listener = door.listener().bounded(bounds);
        let run = Run::start(&component, BTreeMap::from([(5000, listener)]));
        run.listens().await;
        let mut callers = Vec::new();
        for _ in 0..most {
            let mut caller = door.call().await;
            assert_eq!(caller.ask("in").await, "echo in");
            callers.push(caller);
        }
        let mut over = door.call().await;
        over.say("over").await;
        assert!(timeout(QUIET, over.hear()).await.is_err());
        callers.pop();
        assert_eq!(over.hear().await, "echo over");
        run.task.abort();
        let _ = run.task.await;
    }
}

#[tokio::test]
async fn it_is_known_which_port_nobody_listens_on() {
    let (_runtime, component) = echo(&["late=200", "tired=200"]);
    let doors = [Door::open(), Door::open()];
    let listeners = BTreeMap::from([(5000, doors[0].listener()), (5001, doors[1].listener())]);
    let run = Run::start(&component, listeners);
    let missing = timeout(
        Duration::from_secs(10),
        run.ports.silence(Duration::from_secs(1)),
    );
    assert!([5000, 5001].contains(&missing.await.unwrap()));
    let (_runtime, component) = echo(&["tired=1500"]);
    let run = Run::start(&component, BTreeMap::from([(5000, doors[0].listener())]));
    run.listens().await;
    let begun = Instant::now();
    let missing = timeout(Duration::from_secs(10), run.ports.silence(QUIET));
    assert_eq!(missing.await.unwrap(), 5000);
    assert!(begun.elapsed() > Duration::from_secs(1));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_no_memory_of_the_host() {
    let (runtime, _) = runtime();
    let component = server(&runtime, ECHO, &[], |workload| {
        workload.limits.per_replica.memory = Bytes::mib(32);
    });
    let door = Door::open();
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    run.listens().await;
    let mut deaf = door.call().await;
    for _ in 0..ANSWERS {
        deaf.say("big=2000000").await;
    }
    tokio::time::sleep(QUIET).await;
    // Now it reads, and all of it is there: more than the guest has memory for.
    let mut bytes = vec![0; ANSWERS * 2_000_000];
    let read = deaf.0.read_exact(&mut bytes);
    timeout(Duration::from_secs(30), read)
        .await
        .unwrap()
        .unwrap();
    eventually("it is no call in progress", || component.stats().live == 1).await;
}

#[tokio::test]
async fn what_a_guest_says_by_exiting_is_how_its_run_ends() {
    let (_runtime, component) = echo(&[]);
    let door = Door::open();
    let run = Run::start(&component, BTreeMap::from([(5000, door.listener())]));
    let mut caller = door.call().await;
    caller.say("quit").await;
    let ended = timeout(Duration::from_secs(5), run.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (ended.outcome, ended.exit_code),
        (Outcome::GuestError, Some(3))
    );
    assert_eq!(caller.hear().await, "");
}
