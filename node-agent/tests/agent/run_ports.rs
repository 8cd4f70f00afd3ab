//! Components that run and listen on ports, on nodes of this test.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crds::{ComponentPlacementStatus, Reason};
use node_agent::{Desired, DesiredRevision};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::processes::ProcessNode;
use crate::rig::{LocalNode, Shelf, echo, free_port, key, placement, polite_echo};

/// The number by which the guests know their port.
const KNOWN: i32 = 5000;

struct Caller(BufReader<TcpStream>);

impl Caller {
    async fn connect(port: u16) -> std::io::Result<Caller> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(Caller(BufReader::new(stream)))
    }

    async fn ask(&mut self, line: &str) -> std::io::Result<String> {
        self.0.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        let heard = self.0.read_line(&mut answer);
        timeout(Duration::from_secs(20), heard).await??;
        match answer.trim_end() {
            "" => Err(std::io::ErrorKind::UnexpectedEof.into()),
            answer => Ok(answer.to_owned()),
        }
    }
}

async fn ask(port: u16, line: &str) -> std::io::Result<String> {
    Caller::connect(port).await?.ask(line).await
}

fn listening(port: u16, replicas: u32, revisions: Vec<DesiredRevision>) -> Desired {
    let mut desired = placement(port, revisions);
    for placement in desired.placements.values_mut() {
        placement.ports = [("tcp".to_owned(), port)].into();
        placement.replicas = replicas;
    }
    desired
}

fn serves(status: &ComponentPlacementStatus, revision: &DesiredRevision) -> bool {
    status.ready && status.serving.as_ref() == Some(&revision.name)
}

/// A version that answers with this name.
fn version(shelf: &Shelf, wasm: Bytes, name: &str) -> DesiredRevision {
    shelf.listen(KNOWN, &[&format!("name={name}")]);
    shelf.put(wasm, 100)
}

async fn takes_over_under_load(wasm: fn() -> Bytes, replicas: u32) {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    let old = version(&shelf, wasm(), "old");
    let port = free_port();
    let desired = listening(port, replicas, vec![old.clone()]);
    let node = LocalNode::start(state.path(), desired, Arc::clone(&shelf));
    let told = &node.told;
    told.until("the old one accepts", |status| serves(status, &old))
        .await;
    let mut open = Caller::connect(port).await.unwrap();
    assert_eq!(open.ask("open").await.unwrap(), "old open");

    let (stop, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let answer = ask(port, "hello").await.expect("no call fails");
                    assert!(answer.ends_with(" hello"), "{answer}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(200)).await;
    let turned_away = tokio::spawn(told.until_forever(|status| !status.ready));
    let new = version(&shelf, wasm(), "new");
    node.desired
        .send_replace(listening(port, replicas, vec![new.clone()]));
    sleep(Duration::from_millis(500)).await;
    assert_eq!(open.ask("still").await.unwrap(), "old still");
    drop(open);
    told.until("the new one accepts", |status| serves(status, &new))
        .await;
    assert!(!turned_away.is_finished(), "callers were sent elsewhere");
    turned_away.abort();
    sleep(Duration::from_millis(200)).await;
    assert_eq!(ask(port, "hello").await.unwrap(), "new hello");
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(asked.load(Ordering::Relaxed) > 20);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_takes_over_without_a_refused_connection() {
    takes_over_under_load(echo, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_does_one_that_looks_whether_it_is_to_end_on_two_replicas() {
    takes_over_under_load(polite_echo, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_listens_too_late_is_ended_and_says_which_port() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    shelf.listen(KNOWN, &["late=60000"]);
    let late = shelf.put(echo(), 100);
    let desired = listening(free_port(), 1, vec![late]);
    let node = LocalNode::start(state.path(), desired, Arc::clone(&shelf));
    node.told
        .until("it says that it does not listen yet", |status| {
            let ready = status.conditions.first();
            ready.is_some_and(|ready| ready.message.contains("port tcp"))
        })
        .await;
    node.told
        .until("it says that it did not listen", |status| {
            let run = status.run.as_ref();
            let end = run.and_then(|run| run.last_end.as_ref());
            !status.ready
                && end.is_some_and(|end| {
                    end.reason == Reason::NotListening && end.port.as_deref() == Some("tcp")
                })
        })
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_waits_while_a_killed_worker_is_started_again() {
    let shelf = Arc::new(Shelf::new());
    let server = version(&shelf, echo(), "echo");
    let port = free_port();
    let node = ProcessNode::start(listening(port, 1, vec![server.clone()]), Arc::clone(&shelf));
    node.told
        .until("it accepts", |status| serves(status, &server))
        .await;
    assert_eq!(ask(port, "before").await.unwrap(), "echo before");
    node.kill_worker();
    sleep(Duration::from_millis(50)).await;
    assert_eq!(ask(port, "after").await.unwrap(), "echo after");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_finishes_its_connections_and_then_refuses() {
    let (state, shelf) = (tempfile::tempdir().unwrap(), Arc::new(Shelf::new()));
    let server = version(&shelf, echo(), "echo");
    let port = free_port();
    let desired = listening(port, 1, vec![server.clone()]);
    let node = LocalNode::start(state.path(), desired, Arc::clone(&shelf));
    node.told
        .until("it accepts", |status| serves(status, &server))
        .await;
    let mut open = Caller::connect(port).await.unwrap();
    assert_eq!(open.ask("one").await.unwrap(), "echo one");
    node.desired.send_modify(|desired| {
        desired.placements.remove(&key());
    });
    sleep(Duration::from_millis(300)).await;
    assert_eq!(open.ask("two").await.unwrap(), "echo two");
    drop(open);
    let mut refused = false;
    for _ in 0..100 {
        refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .is_err();
        if refused {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    assert!(refused, "the port is free again");
    node.stop().await;
}
