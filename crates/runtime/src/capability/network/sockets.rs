//! wasi:sockets as a component sees it: connects to what it is granted, and nothing else.
//!
//! The sockets themselves are wasmtime's; which of them are made, what they connect to and
//! how a name becomes addresses is decided here, for WASI 0.2 and 0.3 alike. None of these is
//! ever bound, listened on or accepted: in come only triggers, and to a component with ports what
//! `tcp` accepts. Linked by `link` over wasmtime's own interfaces.

use super::Network;
use super::dial::DialError;
use super::names::LookupError;
use super::places::Place;
use crate::caller::Caller;
use crate::guest::Guest;
use capability::{Protocol, Rule};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::vec;
use wasmtime::component::{HasData, Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddress, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{Pollable, TcpSocket, UdpSocket, subscribe};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsView};
use wasmtime_wasi::{WasiCtxBuilder, async_trait, p3};

/// As wasmtime links it; a guest may import any 0.2.
pub(super) const TCP_CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP_CREATE: &str = "wasi:sockets/udp-create-socket@0.2.12";
const IP_NAME_LOOKUP: &str = "wasi:sockets/ip-name-lookup@0.2.12";
const TYPES_P3: &str = "wasi:sockets/types@0.3.0";

/// The sockets that one store has made. They are given back with it: a stream may outlive
/// the socket that it came from.
#[derive(Debug, Default)]
pub(crate) struct Made(Vec<Place>);

/// Sockets and names for guests.
struct Sockets;

impl HasData for Sockets {
    type Data<'a> = &'a mut Guest;
}

/// What `resolve-addresses` gives, as it comes in.
enum Answers {
    Waiting(AbortOnDropJoinHandle<Result<Vec<IpAddr>, ErrorCode>>),
    Found(vec::IntoIter<IpAddr>),
    Failed(ErrorCode),
}

/// Lets a store's sockets be made and judged. Without a grant of one it has none.
pub(crate) fn allow(
    builder: &mut WasiCtxBuilder,
    network: &Arc<Network>,
    caller: Option<&Arc<Caller>>,
) {
    let tcp = network.may_have_sockets(Protocol::Tcp);
    let udp = network.may_have_sockets(Protocol::Udp);
    builder.allow_tcp(tcp).allow_udp(udp);
    if tcp || udp {
        let (network, caller) = (Arc::clone(network), caller.cloned());
        builder.socket_addr_check(move |address, used| {
            let allowed = judge(&network, address, used, caller.as_ref());
            Box::pin(async move { allowed })
        });
    }
}

fn judge(
    network: &Network,
    address: SocketAddr,
    used: SocketAddrUse,
    caller: Option<&Arc<Caller>>,
) -> bool {
    let bind = match used {
        SocketAddrUse::TcpConnect => {
            return network.dialer.admit_address(address, Protocol::Tcp, caller);
        }
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => {
            return network.dialer.admit_address(address, Protocol::Udp, caller);
        }
        // What the kernel does by itself before it connects.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind
            if address.ip().is_unspecified() && address.port() == 0 =>
        {
            return true;
        }
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => "bind",
        SocketAddrUse::TcpListen => "listen",
        SocketAddrUse::TcpAccept => "accept",
    };
    network
        .dialer
        .deny(&format!("{bind} {address}"), Rule::NotGranted, caller);
    false
}

/// Links WASI 0.2's over wasmtime's.
pub(crate) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    linker
        .instance(TCP_CREATE)?
        .func_wrap("create-tcp-socket", create_tcp)?;
    linker
        .instance(UDP_CREATE)?
        .func_wrap_async("create-udp-socket", |store, params| {
            Box::new(create_udp(store, params))
        })?;
    let mut names = linker.instance(IP_NAME_LOOKUP)?;
    names.resource(
        "resolve-address-stream",
        ResourceType::host::<Answers>(),
        |mut store, rep| {
            let answers = Resource::<Answers>::new_own(rep);
            store.data_mut().table().delete(answers)?;
            Ok(())
        },
    )?;
    names.func_wrap("resolve-addresses", resolve_addresses)?;
    names.func_wrap(
        "[method]resolve-address-stream.resolve-next-address",
        next_address,
    )?;
    names.func_wrap(
        "[method]resolve-address-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (answers,): (Resource<Answers>,)| {
            Ok((subscribe(store.data_mut().table(), answers)?,))
        },
    )
}

/// Links WASI 0.3's over wasmtime's.
pub(crate) fn link_p3(linker: &mut Linker<Guest>) -> Result<()> {
    use p3::bindings::sockets::ip_name_lookup;

    ip_name_lookup::add_to_linker::<Guest, Sockets>(linker, |guest| guest)?;
    let mut types = linker.instance(TYPES_P3)?;
    types.func_wrap("[static]tcp-socket.create", create_tcp_p3)?;
    types.func_wrap_async("[static]udp-socket.create", |store, params| {
        Box::new(create_udp_p3(store, params))
    })
}

impl Guest {
    /// A place for one more socket, if it may have any.
    fn take_socket(&mut self, protocol: Protocol) -> Result<(), ErrorCode> {
        let network = Arc::clone(self.network());
        let caller = self.call().caller().cloned();
        let deny = |rule: Rule| network.dialer.deny(protocol.name(), rule, caller.as_ref());
        if !network.may_have_sockets(protocol) {
            deny(Rule::NotGranted);
            return Err(ErrorCode::AccessDenied);
        }
        // What goes through wasmtime's own sockets nobody counts.
        if self.has_io_limit() {
            deny(Rule::LimitExceeded);
            return Err(ErrorCode::AccessDenied);
        }
        let Some(place) = network.dialer.sockets.try_take() else {
            deny(Rule::LimitExceeded);
            return Err(ErrorCode::NewSocketLimit);
        };
        self.sockets_made().0.push(place);
        Ok(())
    }
}

fn create_tcp(
    mut store: StoreContextMut<'_, Guest>,
    (family,): (IpAddressFamily,),
) -> Result<(Result<Resource<TcpSocket>, ErrorCode>,)> {
    use tcp_create_socket::Host;

    let guest = store.data_mut();
    if let Err(code) = guest.take_socket(Protocol::Tcp) {
        return Ok((Err(code),));
    }
    match guest.sockets().create_tcp_socket(family) {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn create_udp(
    mut store: StoreContextMut<'_, Guest>,
    (family,): (IpAddressFamily,),
) -> Result<(Result<Resource<UdpSocket>, ErrorCode>,)> {
    use udp_create_socket::Host;

    let guest = store.data_mut();
    if let Err(code) = guest.take_socket(Protocol::Udp) {
        return Ok((Err(code),));
    }
    match guest.sockets().create_udp_socket(family).await {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

type Created<T> = (Result<Resource<T>, p3::bindings::sockets::types::ErrorCode>,);

/// The table is full of what nobody dropped, or the guest may have none.
fn refused(code: ErrorCode) -> p3::bindings::sockets::types::ErrorCode {
    use p3::bindings::sockets::types::ErrorCode as Code;
    match code {
        ErrorCode::AccessDenied => Code::AccessDenied,
        _ => Code::Other(Some("too many sockets are open".to_owned())),
    }
}

fn create_tcp_p3(
    mut store: StoreContextMut<'_, Guest>,
    (family,): (p3::bindings::sockets::types::IpAddressFamily,),
) -> Result<Created<wasmtime_wasi::sockets::TcpSocket>> {
    use p3::bindings::sockets::types::HostTcpSocket;

    let guest = store.data_mut();
    if let Err(code) = guest.take_socket(Protocol::Tcp) {
        return Ok((Err(refused(code)),));
    }
    match HostTcpSocket::create(&mut guest.sockets(), family) {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

async fn create_udp_p3(
    mut store: StoreContextMut<'_, Guest>,
    (family,): (p3::bindings::sockets::types::IpAddressFamily,),
) -> Result<Created<wasmtime_wasi::sockets::UdpSocket>> {
    use p3::bindings::sockets::types::HostUdpSocket;

    let guest = store.data_mut();
    if let Err(code) = guest.take_socket(Protocol::Udp) {
        return Ok((Err(refused(code)),));
    }
    match HostUdpSocket::create(&mut guest.sockets(), family).await {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

fn resolve_addresses(
    mut store: StoreContextMut<'_, Guest>,
    (handle, name): (Resource<wasmtime_wasi::p2::Network>, String),
) -> Result<(Result<Resource<Answers>, ErrorCode>,)> {
    let guest = store.data_mut();
    guest.table().get(&handle)?;
    let network = Arc::clone(guest.network());
    let caller = guest.call().caller().cloned();
    let mut answers = Answers::Waiting(spawn(async move {
        let found = network.resolve(&name, caller).await;
        found.map_err(|error| error_code(&error))
    }));
    // Most refusals need no waiting.
    let ready = answers.poll(&mut Context::from_waker(Waker::noop()));
    if let (Poll::Ready(()), Answers::Failed(code)) = (ready, &answers) {
        return Ok((Err(*code),));
    }
    Ok((Ok(guest.table().push(answers)?),))
}

fn next_address(
    mut store: StoreContextMut<'_, Guest>,
    (handle,): (Resource<Answers>,),
) -> Result<(Result<Option<IpAddress>, ErrorCode>,)> {
    let answers = store.data_mut().table().get_mut(&handle)?;
    let _ = answers.poll(&mut Context::from_waker(Waker::noop()));
    Ok((match answers {
        Answers::Waiting(_) => Err(ErrorCode::WouldBlock),
        Answers::Found(addresses) => Ok(addresses.next().map(IpAddress::from)),
        Answers::Failed(code) => Err(*code),
    },))
}

impl Answers {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Answers::Waiting(task) = self {
            *self = match Pin::new(task).poll(context) {
                Poll::Ready(Ok(addresses)) => Answers::Found(addresses.into_iter()),
                Poll::Ready(Err(code)) => Answers::Failed(code),
                Poll::Pending => return Poll::Pending,
            };
        }
        Poll::Ready(())
    }
}

#[async_trait]
impl Pollable for Answers {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll(context)).await;
    }
}

fn error_code(error: &DialError) -> ErrorCode {
    match error {
        DialError::Denied | DialError::Prohibited => ErrorCode::AccessDenied,
        DialError::Lookup(LookupError::NotFound | LookupError::NoService) => {
            ErrorCode::NameUnresolvable
        }
        _ => ErrorCode::TemporaryResolverFailure,
    }
}

impl p3::bindings::sockets::ip_name_lookup::HostWithStore<Guest> for Sockets {
    async fn resolve_addresses(
        store: &wasmtime::component::Accessor<Guest, Self>,
        name: String,
    ) -> Result<
        Result<
            Vec<p3::bindings::sockets::types::IpAddress>,
            p3::bindings::sockets::ip_name_lookup::ErrorCode,
        >,
    > {
        use p3::bindings::sockets::ip_name_lookup::ErrorCode as Code;

        let (network, caller) = store.with(|mut view| {
            let guest = view.get();
            (Arc::clone(guest.network()), guest.call().caller().cloned())
        });
        let found = network.resolve(&name, caller).await;
        Ok(match found {
            Ok(addresses) => Ok(addresses.into_iter().map(Into::into).collect()),
            Err(error) => Err(match error_code(&error) {
                ErrorCode::AccessDenied => Code::AccessDenied,
                ErrorCode::NameUnresolvable => Code::NameUnresolvable,
                _ => Code::TemporaryResolverFailure,
            }),
        })
    }
}

impl p3::bindings::sockets::ip_name_lookup::Host for Guest {}
