//! Messages and descriptors across a socket, and what happens to liars.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use node_agent::control::worker_link::{self, Peers};
use node_agent::memfd::Sealed;
use node_agent::message::{CompileOrder, Compiled, Envelope, FromWorker, SlotId, ToWorker};
use node_agent::transport::{self, Link, socket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

fn connected() -> (Link<ToWorker, FromWorker>, Link<FromWorker, ToWorker>) {
    let (left, right) = UnixStream::pair().unwrap();
    let (left, left_pump) = socket::link(left);
    let (right, right_pump) = socket::link(right);
    tokio::spawn(left_pump);
    tokio::spawn(right_pump);
    (left, right)
}

fn open(slot: u64, triggers: usize) -> Envelope<ToWorker> {
    let message = ToWorker::Open {
        slot: SlotId(slot),
        triggers: (0..triggers).map(|n| format!("trigger-{n}")).collect(),
    };
    let fd = |n: usize| {
        Sealed::of("test", format!("{slot}/{n}").as_bytes())
            .unwrap()
            .into_fd()
    };
    Envelope {
        message,
        fds: (0..triggers).map(fd).collect(),
    }
}

#[tokio::test]
async fn descriptors_arrive_with_their_message_and_in_order() {
    let (control, mut worker) = connected();
    for slot in 1..=20 {
        control
            .outgoing
            .send(open(slot, usize::try_from(slot % 5).unwrap()))
            .await
            .unwrap();
    }
    for slot in 1..=20 {
        let Envelope { message, fds } = worker.incoming.recv().await.unwrap();
        assert_eq!(
            message,
            open(slot, usize::try_from(slot % 5).unwrap()).message
        );
        for (n, fd) in fds.into_iter().enumerate() {
            let mut text = String::new();
            let mut file = File::from(Sealed::received(fd).unwrap().into_stream().unwrap());
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("{slot}/{n}"));
        }
    }
}

#[tokio::test]
async fn a_message_larger_than_the_sockets_buffer_arrives_whole() {
    let (control, mut worker) = connected();
    let names: Vec<String> = (0..60).map(|n| format!("{n}").repeat(40_000)).collect();
    let message = ToWorker::Open {
        slot: SlotId(1),
        triggers: names,
    };
    control.outgoing.send(message.clone().into()).await.unwrap();
    assert_eq!(worker.incoming.recv().await.unwrap().message, message);
}

#[tokio::test]
async fn the_link_ends_when_the_other_end_is_gone() {
    let (control, mut worker) = connected();
    drop(control);
    assert!(worker.incoming.recv().await.is_none());
}

#[tokio::test]
async fn a_length_over_the_bound_ends_the_link_before_anything_is_read() {
    assert_ended(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]).await;
}

#[tokio::test]
async fn descriptors_that_were_announced_and_did_not_come_end_the_link() {
    assert_ended(&[0, 0, 0, 2, 0, 0, 0, 1, b'{', b'}']).await;
}

#[tokio::test]
async fn what_is_no_message_ends_the_link() {
    assert_ended(&[0, 0, 0, 2, 0, 0, 0, 0, b'{', b'}']).await;
}

async fn assert_ended(bytes: &[u8]) {
    let (mut liar, victim) = UnixStream::pair().unwrap();
    let (mut link, pump) = socket::link::<CompileOrder, Compiled>(victim);
    let pump = tokio::spawn(pump);
    liar.write_all(bytes).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), pump)
        .await
        .unwrap()
        .unwrap();
    assert!(ended.is_err());
    assert!(link.incoming.recv().await.is_none());
}

#[tokio::test]
async fn both_ends_in_one_process_speak_the_same() {
    let (control, mut worker) = transport::pair::<ToWorker, FromWorker>();
    control.outgoing.send(open(1, 1)).await.unwrap();
    let Envelope { message, fds } = worker.incoming.recv().await.unwrap();
    assert_eq!((message, fds.len()), (open(1, 1).message, 1));
}

#[tokio::test]
async fn a_process_of_another_user_is_sent_away() {
    let (directory, own) = (tempfile::tempdir().unwrap(), rustix::process::geteuid());
    for (peers, is_admitted) in [
        (Peers::Own, true),
        (Peers::User(own.as_raw()), true),
        (Peers::User(own.as_raw() + 1), false),
        (Peers::Pod, true),
    ] {
        let path = worker_link::worker_socket(directory.path());
        let listener = worker_link::bind(&path, peers).unwrap();
        let (links, mut accepted) = mpsc::channel::<Link<ToWorker, FromWorker>>(1);
        let accepting = tokio::spawn(worker_link::accept(listener, peers, links));
        let mut stream = UnixStream::connect(&path).await.unwrap();
        if is_admitted {
            assert!(accepted.recv().await.is_some(), "{peers:?}");
        } else {
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "{peers:?}");
            assert!(accepted.try_recv().is_err(), "{peers:?}");
        }
        accepting.abort();
    }
}
