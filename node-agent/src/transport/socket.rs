//! Messages over a unix stream socket: a head of length and descriptor count, sent together
//! with the descriptors (SCM_RIGHTS), then the JSON of the message. Every length is checked
//! before anything is allocated, because the other end may run hostile code.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::{Link, WAITING};
use crate::message::Envelope;

/// The most descriptors of one message: a component has at most this many triggers.
pub const FDS_MAX: usize = 64;
/// The largest message. Values may hold several Secrets of 1 MiB each.
pub const MESSAGE_MAX: usize = 8 * 1024 * 1024;
/// Four bytes of length, four bytes of descriptor count, both big-endian.
const HEAD: usize = 8;

/// A conversation that ended other than by the other end closing it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The socket failed.
    #[error("the socket between the processes of the agent failed: {0}")]
    Io(#[from] io::Error),
    /// A message that is not one of ours.
    #[error("the other process said something that is not a message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A message over a bound.
    #[error("the other process sent {what} of {got}; the most is {most}")]
    TooLarge {
        /// What was over its bound.
        what: &'static str,
        /// What came.
        got: usize,
        /// The bound.
        most: usize,
    },
    /// The message announced other descriptors than came.
    #[error("the other process announced {announced} descriptors and sent {got}")]
    Descriptors {
        /// As the head says.
        announced: usize,
        /// As they came.
        got: usize,
    },
}

/// Turns a connected socket into a [`Link`] and the pump that moves it. The pump is to be
/// spawned by the caller; it ends when either end is gone.
pub fn link<Out, In>(
    stream: UnixStream,
) -> (
    Link<Out, In>,
    impl Future<Output = Result<(), TransportError>> + Send,
)
where
    Out: Serialize + Send + Sync + 'static,
    In: DeserializeOwned + Send + 'static,
{
    let (outgoing, to_send) = mpsc::channel(WAITING);
    let (received, incoming) = mpsc::channel(WAITING);
    let (reader, writer) = stream.into_split();
    let pump = async move {
        // Each direction is a task of its own; whichever ends first ends the conversation.
        tokio::select! {
            result = send_all(writer, to_send) => result,
            result = receive_all(reader, received) => result,
        }
    };
    (Link { outgoing, incoming }, pump)
}

/// Receives one message before there is a pump, and hands the stream back. Nothing after the
/// message is taken from it.
///
/// # Errors
/// As the pump.
pub async fn first<In: DeserializeOwned>(
    stream: UnixStream,
) -> Result<Option<(Envelope<In>, UnixStream)>, TransportError> {
    let (mut reader, writer) = stream.into_split();
    let Some(envelope) = receive(&mut reader).await? else {
        return Ok(None);
    };
    let stream = reader.reunite(writer).map_err(io::Error::other)?;
    Ok(Some((envelope, stream)))
}

async fn send_all<Out: Serialize>(
    mut writer: OwnedWriteHalf,
    mut messages: mpsc::Receiver<Envelope<Out>>,
) -> Result<(), TransportError> {
    while let Some(envelope) = messages.recv().await {
        send(&mut writer, &envelope).await?;
    }
    Ok(())
}

async fn receive_all<In: DeserializeOwned>(
    mut reader: OwnedReadHalf,
    messages: mpsc::Sender<Envelope<In>>,
) -> Result<(), TransportError> {
    while let Some(envelope) = receive(&mut reader).await? {
        if messages.send(envelope).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn send<Out: Serialize>(
    writer: &mut OwnedWriteHalf,
    envelope: &Envelope<Out>,
) -> Result<(), TransportError> {
    let body = serde_json::to_vec(&envelope.message)?;
    check("a message", body.len(), MESSAGE_MAX)?;
    check("a number of descriptors", envelope.fds.len(), FDS_MAX)?;
    let mut head = [0; HEAD];
    let (length, count) = head.split_at_mut(HEAD / 2);
    length.copy_from_slice(&big_endian(body.len()));
    count.copy_from_slice(&big_endian(envelope.fds.len()));

    // The descriptors travel with the first byte of the head, so they cannot be separated
    // from their message; the rest of the head may follow in pieces.
    let stream: &UnixStream = writer.as_ref();
    let sent = loop {
        stream.writable().await?;
        match stream.try_io(Interest::WRITABLE, || {
            send_head(stream.as_fd(), &head, &envelope.fds)
        }) {
            Ok(sent) => break sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    };
    writer
        .write_all(head.get(sent..).unwrap_or_default())
        .await?;
    writer.write_all(&body).await?;
    Ok(())
}

fn send_head(socket: BorrowedFd<'_>, head: &[u8], fds: &[OwnedFd]) -> io::Result<usize> {
    let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "too many descriptors",
        ));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket, &[IoSlice::new(head)], &mut control, flags)?)
}

async fn receive<In: DeserializeOwned>(
    reader: &mut OwnedReadHalf,
) -> Result<Option<Envelope<In>>, TransportError> {
    let mut head = [0; HEAD];
    let mut fds = Vec::new();
    let stream: &UnixStream = reader.as_ref();
    let got = loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || {
            receive_head(stream.as_fd(), &mut head, &mut fds)
        }) {
            Ok(got) => break got,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    };
    if got == 0 {
        return Ok(None);
    }
    reader
        .read_exact(head.get_mut(got..).unwrap_or_default())
        .await?;
    let (length, count) = head.split_at(HEAD / 2);
    let (length, count) = (from_big_endian(length), from_big_endian(count));
    check("a message", length, MESSAGE_MAX)?;
    if count != fds.len() {
        return Err(TransportError::Descriptors {
            announced: count,
            got: fds.len(),
        });
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(Some(Envelope {
        message: serde_json::from_slice(&body)?,
        fds,
    }))
}

fn receive_head(
    socket: BorrowedFd<'_>,
    head: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(head)], &mut control, flags)?;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    Ok(received.bytes)
}

fn check(what: &'static str, got: usize, most: usize) -> Result<(), TransportError> {
    if got > most {
        Err(TransportError::TooLarge { what, got, most })
    } else {
        Ok(())
    }
}

/// Both values are below their bounds, which fit four bytes.
fn big_endian(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap_or(u32::MAX).to_be_bytes()
}

fn from_big_endian(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |value, byte| (value << 8) | usize::from(*byte))
}
