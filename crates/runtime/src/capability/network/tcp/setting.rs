//! Options of sockets, by what WASI calls them.

use super::{Socket, Store, socket};
use crate::guest::Guest;
use rustix::net::{AddressFamily, sockopt};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use tokio::net::TcpStream;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    KeepAlive,
    IdleTime,
    Interval,
    Count,
    HopLimit,
    ReceiveBuffer,
    SendBuffer,
}

/// Those that a guest has set on a socket that listens: what it accepts gets them, too. The
/// socket that really listens is everybody's.
#[derive(Debug, Default)]
pub(super) struct Settings(Vec<(Setting, u64)>);

/// The bounds of Linux; less and more is taken for the nearest.
const TIME_MAX: Duration = Duration::from_secs(32_767);
const COUNT_MAX: u64 = 127;

/// How a value is written in WIT.
trait Word: ComponentType + Lift + Lower + Send + Sync + 'static {
    fn number(self) -> u64;
    fn of(number: u64) -> Self;
}

impl Word for bool {
    fn number(self) -> u64 {
        self.into()
    }

    fn of(number: u64) -> bool {
        number != 0
    }
}

impl Word for u8 {
    fn number(self) -> u64 {
        self.into()
    }

    fn of(number: u64) -> u8 {
        number.try_into().unwrap_or(u8::MAX)
    }
}

impl Word for u32 {
    fn number(self) -> u64 {
        self.into()
    }

    fn of(number: u64) -> u32 {
        number.try_into().unwrap_or(u32::MAX)
    }
}

impl Word for u64 {
    fn number(self) -> u64 {
        self
    }

    fn of(number: u64) -> u64 {
        number
    }
}

/// Links what reads and writes them.
pub(super) fn link(tcp: &mut LinkerInstance<'_, Guest>) -> Result<()> {
    pair::<bool>(tcp, "keep-alive-enabled", Setting::KeepAlive)?;
    pair::<u64>(tcp, "keep-alive-idle-time", Setting::IdleTime)?;
    pair::<u64>(tcp, "keep-alive-interval", Setting::Interval)?;
    pair::<u32>(tcp, "keep-alive-count", Setting::Count)?;
    pair::<u8>(tcp, "hop-limit", Setting::HopLimit)?;
    pair::<u64>(tcp, "receive-buffer-size", Setting::ReceiveBuffer)?;
    pair::<u64>(tcp, "send-buffer-size", Setting::SendBuffer)
}

fn pair<T: Word>(tcp: &mut LinkerInstance<'_, Guest>, name: &str, setting: Setting) -> Result<()> {
    type Read<T> = std::result::Result<T, ErrorCode>;
    tcp.func_wrap(
        &format!("[method]tcp-socket.{name}"),
        move |mut store: Store<'_>, (this,): (Resource<Socket>,)| -> Result<(Read<T>,)> {
            let socket = socket(store.data_mut(), &this)?;
            let read = socket
                .descriptor()
                .and_then(|socket| setting.read(socket).map_err(ErrorCode::from));
            Ok((read.map(T::of),))
        },
    )?;
    tcp.func_wrap(
        &format!("[method]tcp-socket.set-{name}"),
        move |mut store: Store<'_>, (this, value): (Resource<Socket>, T)| {
            Ok((socket(store.data_mut(), &this)?.set(setting, value.number()),))
        },
    )
}

impl Setting {
    /// What a value comes to, if it is one.
    pub(super) fn bounded(self, value: u64) -> Option<u64> {
        match self {
            Setting::KeepAlive => Some(value),
            _ if value == 0 => None,
            Setting::IdleTime | Setting::Interval => {
                let time = Duration::from_nanos(value);
                let time = time.clamp(Duration::from_secs(1), TIME_MAX);
                Some(nanoseconds(time))
            }
            Setting::Count => Some(value.min(COUNT_MAX)),
            Setting::HopLimit => Some(value.min(u8::MAX.into())),
            // The kernel has a bound of its own, and takes no more for the whole.
            Setting::ReceiveBuffer | Setting::SendBuffer => Some(value.min(i32::MAX as u64)),
        }
    }

    pub(super) fn write(self, socket: BorrowedFd<'_>, value: u64) -> io::Result<()> {
        let size = usize::try_from(value).unwrap_or(usize::MAX);
        match self {
            Setting::KeepAlive => sockopt::set_socket_keepalive(socket, value != 0)?,
            Setting::IdleTime => sockopt::set_tcp_keepidle(socket, Duration::from_nanos(value))?,
            Setting::Interval => sockopt::set_tcp_keepintvl(socket, Duration::from_nanos(value))?,
            Setting::Count => sockopt::set_tcp_keepcnt(socket, u32::of(value))?,
            Setting::HopLimit if is_v6(socket)? => {
                sockopt::set_ipv6_unicast_hops(socket, Some(u8::of(value)))?;
            }
            Setting::HopLimit => sockopt::set_ip_ttl(socket, u32::of(value))?,
            Setting::ReceiveBuffer => sockopt::set_socket_recv_buffer_size(socket, size)?,
            Setting::SendBuffer => sockopt::set_socket_send_buffer_size(socket, size)?,
        }
        Ok(())
    }

    pub(super) fn read(self, socket: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(match self {
            Setting::KeepAlive => sockopt::socket_keepalive(socket)?.into(),
            Setting::IdleTime => nanoseconds(sockopt::tcp_keepidle(socket)?),
            Setting::Interval => nanoseconds(sockopt::tcp_keepintvl(socket)?),
            Setting::Count => sockopt::tcp_keepcnt(socket)?.into(),
            Setting::HopLimit if is_v6(socket)? => sockopt::ipv6_unicast_hops(socket)?.into(),
            Setting::HopLimit => sockopt::ip_ttl(socket)?.into(),
            // Linux counts its own books in, and says twice of what was asked.
            Setting::ReceiveBuffer => sockopt::socket_recv_buffer_size(socket)? as u64 / 2,
            Setting::SendBuffer => sockopt::socket_send_buffer_size(socket)? as u64 / 2,
        })
    }
}

impl Settings {
    pub(super) fn remember(&mut self, setting: Setting, value: u64) {
        self.0.retain(|(of, _)| *of != setting);
        self.0.push((setting, value));
    }

    /// What the system does not take, it does not take: the connection is there.
    pub(super) fn apply(&self, stream: &TcpStream) {
        for (setting, value) in &self.0 {
            let _ = setting.write(stream.as_fd(), *value);
        }
    }
}

fn is_v6(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(sockopt::socket_domain(socket)? == AddressFamily::INET6)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
