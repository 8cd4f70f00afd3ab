//! wasi:sockets/tcp 0.2 as a component with ports sees it: it connects to what it is granted,
//! and listens on its ports.
//!
//! Linked by `link` over wasmtime's, whose sockets can not be told to listen on a socket of the
//! host. A guest binds an unspecified address and the number of a port, and listens; what it
//! then accepts from is the host's (`run::Ports`), and no socket of its own is ever bound to a
//! port. `setting` has the options, `stream` the bytes.

mod setting;
mod stream;

use super::places::Place;
use super::sockets::TCP_CREATE;
use crate::capability::audit::Capability;
use crate::guest::Guest;
use crate::run::{Accepted, Listening, Ports, Stop};
use capability::{Protocol, Rule};
use setting::{Setting, Settings};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use stream::Connection;
use tokio::net::TcpStream;
use wasmtime::component::{
    ComponentNamedList, Lift, Linker, LinkerInstance, Lower, Resource, ResourceTable, ResourceType,
};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, Network, Pollable, subscribe,
};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

/// As wasmtime links it; a guest may import any 0.2.
const TCP: &str = "wasi:sockets/tcp@0.2.12";

/// A socket of a guest.
struct Socket {
    family: IpAddressFamily,
    state: State,
    /// What was started and is not finished.
    started: Option<Started>,
    /// What connections that it accepts get.
    settings: Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Started {
    Bind,
    Listen,
    Connect,
}

enum State {
    /// Not used yet.
    Idle(Own, Bound),
    Listening(Own, Listening),
    Connecting(AbortOnDropJoinHandle<io::Result<TcpStream>>, Place),
    Connected(Arc<Connection>),
    Closed(ErrorCode),
}

/// The guest's own socket. One that listens only keeps the options.
struct Own {
    socket: tokio::net::TcpSocket,
    place: Place,
}

/// What it was bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    Nothing,
    /// An address, to connect from.
    Anywhere,
    Port(u16),
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);
type Answer<T> = std::result::Result<T, ErrorCode>;

/// Links it.
pub(crate) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    linker
        .instance(TCP_CREATE)?
        .func_wrap("create-tcp-socket", |mut store: Store<'_>, (family,)| {
            Ok((create(store.data_mut(), family)?,))
        })?;
    let mut tcp = linker.instance(TCP)?;
    tcp.resource(
        "tcp-socket",
        ResourceType::host::<Socket>(),
        |mut store, rep| {
            let socket = Resource::<Socket>::new_own(rep);
            store.data_mut().table().delete(socket)?;
            Ok(())
        },
    )?;
    method(&mut tcp, "start-bind", start_bind)?;
    method(&mut tcp, "finish-bind", |guest, (this,)| {
        Ok(socket(guest, &this)?.finish(Started::Bind))
    })?;
    method(&mut tcp, "start-listen", start_listen)?;
    method(&mut tcp, "finish-listen", |guest, (this,)| {
        Ok(socket(guest, &this)?.finish(Started::Listen))
    })?;
    method(&mut tcp, "start-connect", start_connect)?;
    method(&mut tcp, "finish-connect", finish_connect)?;
    method(&mut tcp, "accept", accept)?;
    method(&mut tcp, "local-address", |guest, (this,)| {
        let local = socket(guest, &this)?.local_address();
        Ok(local.map(IpSocketAddress::from))
    })?;
    method(&mut tcp, "remote-address", |guest, (this,)| {
        let remote = socket(guest, &this)?.connection().map(|of| of.remote);
        Ok(remote.map(IpSocketAddress::from))
    })?;
    method(&mut tcp, "shutdown", |guest, (this, how)| {
        let connection = socket(guest, &this)?.connection();
        Ok(connection.map(|of| of.shut_down(how)))
    })?;
    method(
        &mut tcp,
        "set-listen-backlog-size",
        |guest, (this, size)| Ok(socket(guest, &this)?.set_backlog(size)),
    )?;
    setting::link(&mut tcp)?;
    tcp.func_wrap(
        "[method]tcp-socket.is-listening",
        |mut store: Store<'_>, (this,): (Resource<Socket>,)| {
            let socket = socket(store.data_mut(), &this)?;
            Ok((matches!(socket.state, State::Listening(..)),))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.address-family",
        |mut store: Store<'_>, (this,): (Resource<Socket>,)| {
            Ok((socket(store.data_mut(), &this)?.family,))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.subscribe",
        |mut store: Store<'_>, (this,): (Resource<Socket>,)| -> Result<(Resource<DynPollable>,)> {
            Ok((subscribe(store.data_mut().table(), this)?,))
        },
    )
}

type Store<'a> = StoreContextMut<'a, Guest>;

/// Links a method that may fail with a code.
fn method<P, T>(
    tcp: &mut LinkerInstance<'_, Guest>,
    name: &str,
    act: impl Fn(&mut Guest, P) -> Result<Answer<T>> + Send + Sync + 'static,
) -> Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    (Answer<T>,): ComponentNamedList + Lower + 'static,
    T: 'static,
{
    let name = format!("[method]tcp-socket.{name}");
    tcp.func_wrap(&name, move |mut store: Store<'_>, params: P| {
        Ok((act(store.data_mut(), params)?,))
    })
}

fn socket<'a>(guest: &'a mut Guest, this: &Resource<Socket>) -> Result<&'a mut Socket> {
    Ok(guest.table().get_mut(this)?)
}

fn create(guest: &mut Guest, family: IpAddressFamily) -> Result<Answer<Resource<Socket>>> {
    let Some(place) = guest.network().dialer.sockets.try_take() else {
        note(guest, Protocol::Tcp.name(), Rule::LimitExceeded);
        return Ok(Err(ErrorCode::NewSocketLimit));
    };
    let socket = match new_socket(family) {
        Ok(socket) => socket,
        Err(error) => return Ok(Err(ErrorCode::from(error))),
    };
    let socket = Socket {
        family,
        state: State::Idle(Own { socket, place }, Bound::Nothing),
        started: None,
        settings: Settings::default(),
    };
    Ok(Ok(guest.table().push(socket)?))
}

fn new_socket(family: IpAddressFamily) -> io::Result<tokio::net::TcpSocket> {
    match family {
        IpAddressFamily::Ipv4 => tokio::net::TcpSocket::new_v4(),
        IpAddressFamily::Ipv6 => {
            let socket = tokio::net::TcpSocket::new_v6()?;
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
            Ok(socket)
        }
    }
}

type BindParams = (Resource<Socket>, Resource<Network>, IpSocketAddress);

fn start_bind(guest: &mut Guest, (this, network, address): BindParams) -> Result<Answer<()>> {
    guest.table().get(&network)?;
    let address = SocketAddr::from(address);
    let ports = guest.ports();
    let socket = socket(guest, &this)?;
    let admitted = match socket.bind(address, &ports) {
        Ok(admitted) => admitted,
        Err(code) => return Ok(Err(code)),
    };
    let rule = match admitted {
        true => Rule::Granted,
        false => Rule::NotGranted,
    };
    // What a socket does that only connects, the connection says.
    if !admitted || address.port() != 0 {
        note(guest, &format!("bind {address}"), rule);
    }
    Ok(match admitted {
        true => Ok(()),
        false => Err(ErrorCode::AccessDenied),
    })
}

fn start_listen(guest: &mut Guest, (this,): (Resource<Socket>,)) -> Result<Answer<()>> {
    let (ports, stop) = (guest.ports(), guest.stop().clone());
    let socket = socket(guest, &this)?;
    if let State::Idle(_, Bound::Anywhere) = socket.state {
        note(guest, "listen on any port", Rule::NotGranted);
        return Ok(Err(ErrorCode::AccessDenied));
    }
    Ok(socket.listen(&ports, &stop))
}

fn start_connect(guest: &mut Guest, (this, network, address): BindParams) -> Result<Answer<()>> {
    guest.table().get(&network)?;
    let address = SocketAddr::from(address);
    if let Err(code) = socket(guest, &this)?.may_connect(address) {
        return Ok(Err(code));
    }
    let caller = guest.call().caller().cloned();
    let dialer = Arc::clone(&guest.network().dialer);
    if !dialer.admit_address(address, Protocol::Tcp, caller.as_ref()) {
        return Ok(Err(ErrorCode::AccessDenied));
    }
    socket(guest, &this)?.connect(address);
    Ok(Ok(()))
}

fn finish_connect(guest: &mut Guest, (this,): (Resource<Socket>,)) -> Result<Answer<Streams>> {
    let socket = socket(guest, &this)?;
    if socket.started != Some(Started::Connect) {
        return Ok(Err(ErrorCode::NotInProgress));
    }
    if socket.poll_connected(&mut now()).is_pending() {
        return Ok(Err(ErrorCode::WouldBlock));
    }
    socket.started = None;
    match socket.connection() {
        Ok(connection) => {
            let connection = Arc::clone(connection);
            streams(guest.table(), &connection).map(Ok)
        }
        Err(code) => Ok(Err(code)),
    }
}

type NewConnection = (
    Resource<Socket>,
    Resource<DynInputStream>,
    Resource<DynOutputStream>,
);

fn accept(guest: &mut Guest, (this,): (Resource<Socket>,)) -> Result<Answer<NewConnection>> {
    let accepted = match socket(guest, &this)?.accept() {
        Ok(accepted) => accepted,
        Err(code) => return Ok(Err(code)),
    };
    let connection = Arc::clone(match accepted.connection() {
        Ok(connection) => connection,
        Err(code) => return Ok(Err(code)),
    });
    let table = guest.table();
    // A server whose table is full closes the connection and goes on.
    let Ok(accepted) = table.push(accepted) else {
        return Ok(Err(ErrorCode::NewSocketLimit));
    };
    match streams(table, &connection) {
        Ok((input, output)) => Ok(Ok((accepted, input, output))),
        Err(_) => {
            table.delete(accepted)?;
            Ok(Err(ErrorCode::NewSocketLimit))
        }
    }
}

fn streams(table: &mut ResourceTable, connection: &Arc<Connection>) -> Result<Streams> {
    let (input, output) = connection.streams();
    let input = table.push(input)?;
    match table.push(output) {
        Ok(output) => Ok((input, output)),
        Err(error) => {
            table.delete(input)?;
            Err(error.into())
        }
    }
}

/// Records what it tried.
fn note(guest: &mut Guest, object: &str, rule: Rule) {
    let caller = guest.call().caller().cloned();
    let audit = &guest.network().dialer.audit;
    audit.note(Capability::Network, object, rule, caller.as_ref());
}

/// For one look that waits for nothing.
fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl Socket {
    /// Whether it may be bound to this; then it is.
    fn bind(&mut self, address: SocketAddr, ports: &Ports) -> Answer<bool> {
        let State::Idle(own, bound @ Bound::Nothing) = &mut self.state else {
            return Err(ErrorCode::InvalidState);
        };
        if self.started.is_some() {
            return Err(ErrorCode::ConcurrencyConflict);
        }
        let is_v4 = self.family == IpAddressFamily::Ipv4;
        if address.is_ipv4() != is_v4 {
            return Err(ErrorCode::InvalidArgument);
        }
        // A guest that binds loopback wants nobody from outside, and there is nobody inside.
        if !address.ip().is_unspecified() {
            return Ok(false);
        }
        *bound = match address.port() {
            0 => {
                own.socket.bind(address).map_err(ErrorCode::from)?;
                Bound::Anywhere
            }
            port if ports.has(port) => Bound::Port(port),
            _ => return Ok(false),
        };
        self.started = Some(Started::Bind);
        Ok(true)
    }

    fn listen(&mut self, ports: &Ports, stop: &Stop) -> Answer<()> {
        if self.started.is_some() {
            return Err(ErrorCode::ConcurrencyConflict);
        }
        let State::Idle(_, Bound::Port(port)) = self.state else {
            return Err(ErrorCode::InvalidState);
        };
        let listening = ports.listen(port, stop).ok_or(ErrorCode::AddressInUse)?;
        if let State::Idle(own, _) = self.take() {
            self.state = State::Listening(own, listening);
            self.started = Some(Started::Listen);
        }
        Ok(())
    }

    fn finish(&mut self, started: Started) -> Answer<()> {
        match self.started.take_if(|of| *of == started) {
            Some(_) => Ok(()),
            None => Err(ErrorCode::NotInProgress),
        }
    }

    /// A socket for the connection that is accepted.
    fn accept(&mut self) -> Answer<Socket> {
        let State::Listening(_, listening) = &self.state else {
            return Err(ErrorCode::InvalidState);
        };
        let accepted = listening.try_accept().map_err(ErrorCode::from)?;
        let Accepted {
            stream,
            peer,
            places,
        } = accepted.ok_or(ErrorCode::WouldBlock)?;
        self.settings.apply(&stream);
        let local = stream.local_addr().map_err(ErrorCode::from)?;
        let local = SocketAddr::new(local.ip(), listening.port());
        let connection = Connection::new(
            stream,
            (seen(local, self.family), seen(peer, self.family)),
            Box::new(places),
        );
        Ok(Socket {
            family: self.family,
            state: State::Connected(connection),
            started: None,
            settings: Settings::default(),
        })
    }

    fn may_connect(&self, address: SocketAddr) -> Answer<()> {
        if self.started.is_some() {
            return Err(ErrorCode::ConcurrencyConflict);
        }
        let State::Idle(_, Bound::Nothing | Bound::Anywhere) = self.state else {
            return Err(ErrorCode::InvalidState);
        };
        let is_v4 = self.family == IpAddressFamily::Ipv4;
        let ip = address.ip();
        let is_disguised = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if address.is_ipv4() != is_v4
            || address.port() == 0
            || ip.is_unspecified()
            || ip.is_multicast()
            || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
            || is_disguised
        {
            return Err(ErrorCode::InvalidArgument);
        }
        Ok(())
    }

    fn connect(&mut self, address: SocketAddr) {
        if let State::Idle(Own { socket, place }, _) = self.take() {
            let connecting = spawn(socket.connect(address));
            self.state = State::Connecting(connecting, place);
            self.started = Some(Started::Connect);
        }
    }

    /// Whether it is known what became of a connection.
    fn poll_connected(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let State::Connecting(connecting, _) = &mut self.state else {
            return Poll::Ready(());
        };
        let Poll::Ready(connected) = Pin::new(connecting).poll(context) else {
            return Poll::Pending;
        };
        let State::Connecting(_, place) = self.take() else {
            return Poll::Ready(());
        };
        let connection = connected.and_then(|stream| {
            let ends = (stream.local_addr()?, stream.peer_addr()?);
            Ok(Connection::new(stream, ends, Box::new(place)))
        });
        self.state = match connection {
            Ok(connection) => State::Connected(connection),
            Err(error) => State::Closed(ErrorCode::from(error)),
        };
        Poll::Ready(())
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Closed(ErrorCode::InvalidState))
    }

    fn connection(&self) -> Answer<&Arc<Connection>> {
        match &self.state {
            State::Connected(connection) => Ok(connection),
            State::Closed(code) => Err(*code),
            _ => Err(ErrorCode::InvalidState),
        }
    }

    fn local_address(&self) -> Answer<SocketAddr> {
        let own = |port| {
            let ip = match self.family {
                IpAddressFamily::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                IpAddressFamily::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            };
            SocketAddr::new(ip, port)
        };
        match &self.state {
            State::Idle(_, Bound::Port(port)) => Ok(own(*port)),
            State::Listening(_, listening) => Ok(own(listening.port())),
            State::Idle(of, Bound::Anywhere) => of.socket.local_addr().map_err(ErrorCode::from),
            State::Connected(connection) => Ok(connection.local),
            State::Closed(code) => Err(*code),
            State::Idle(_, Bound::Nothing) | State::Connecting(..) => Err(ErrorCode::InvalidState),
        }
    }

    /// How many wait is for whoever listens really; that it is said is right.
    fn set_backlog(&self, size: u64) -> Answer<()> {
        match &self.state {
            _ if size == 0 => Err(ErrorCode::InvalidArgument),
            State::Idle(..) | State::Listening(..) => Ok(()),
            State::Closed(code) => Err(*code),
            State::Connecting(..) | State::Connected(_) => Err(ErrorCode::InvalidState),
        }
    }

    /// What options are read and written of.
    fn descriptor(&self) -> Answer<BorrowedFd<'_>> {
        match &self.state {
            State::Idle(own, _) | State::Listening(own, _) => Ok(own.socket.as_fd()),
            State::Connected(connection) => Ok(connection.stream.as_fd()),
            State::Connecting(..) => Err(ErrorCode::InvalidState),
            State::Closed(code) => Err(*code),
        }
    }

    fn set(&mut self, setting: Setting, value: u64) -> Answer<()> {
        let value = setting.bounded(value).ok_or(ErrorCode::InvalidArgument)?;
        let set = setting.write(self.descriptor()?, value);
        set.map_err(ErrorCode::from)?;
        self.settings.remember(setting, value);
        Ok(())
    }
}

/// An address as a socket of this family has it, whatever the host's own is.
fn seen(address: SocketAddr, family: IpAddressFamily) -> SocketAddr {
    let ip = match (address.ip().to_canonical(), family) {
        (IpAddr::V4(ip), IpAddressFamily::Ipv6) => IpAddr::V6(ip.to_ipv6_mapped()),
        (ip, _) => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        match (&self.state, self.started) {
            (State::Connecting(..), _) => poll_fn(|context| self.poll_connected(context)).await,
            (State::Listening(_, listening), None) => listening.ready().await,
            _ => {}
        }
    }
}
