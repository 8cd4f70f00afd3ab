//! Listeners and connections, all of which are waited for at once.

use wasip2::cli::exit::exit_with_code;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::{Pollable, poll};
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress,
};
use wasip2::sockets::tcp::TcpSocket;
use wasip2::sockets::tcp_create_socket::create_tcp_socket;

/// What may be written at once.
const CHUNK: usize = 4096;

pub struct Server {
    pub name: String,
    pub listeners: Vec<TcpSocket>,
    connections: Vec<Connection>,
    tires: Option<Pollable>,
}

struct Connection {
    input: InputStream,
    output: OutputStream,
    line: Vec<u8>,
    socket: TcpSocket,
}

/// What there is to wait for.
enum Event {
    End,
    Tired,
    Listener(usize),
    Connection(usize),
}

impl Server {
    pub fn new(name: &str) -> Server {
        Server {
            name: name.to_owned(),
            listeners: Vec::new(),
            connections: Vec::new(),
            tires: None,
        }
    }

    pub fn tires_after(&mut self, nanoseconds: u64) {
        self.tires = Some(subscribe_duration(nanoseconds));
    }

    /// Until it is asked to end, and then until nobody is connected.
    pub fn serve(&mut self) {
        let mut end = end();
        loop {
            if end.is_none() && self.connections.is_empty() {
                return;
            }
            for event in self.wait(end.as_ref().and_then(Option::as_ref)) {
                match event {
                    Event::End => {
                        end = None;
                        self.listeners.clear();
                    }
                    Event::Tired => {
                        self.tires = None;
                        self.listeners.clear();
                    }
                    Event::Listener(index) => self.accept(index),
                    Event::Connection(index) => {
                        if self.connections[index].answer(&self.name).is_none() {
                            self.connections.remove(index);
                        }
                    }
                }
            }
        }
    }

    /// What has happened, the last connection first.
    fn wait(&self, end: Option<&Pollable>) -> Vec<Event> {
        let mut events = Vec::new();
        let mut pollables = Vec::new();
        let listeners: Vec<Pollable> = self.listeners.iter().map(TcpSocket::subscribe).collect();
        let inputs: Vec<Pollable> = self.connections.iter().map(|one| one.input.subscribe()).collect();
        for (index, input) in inputs.iter().enumerate().rev() {
            pollables.push(input);
            events.push(Event::Connection(index));
        }
        for (index, listener) in listeners.iter().enumerate() {
            pollables.push(listener);
            events.push(Event::Listener(index));
        }
        if let Some(tires) = &self.tires {
            pollables.push(tires);
            events.push(Event::Tired);
        }
        if let Some(end) = end {
            pollables.push(end);
            events.push(Event::End);
        }
        if pollables.is_empty() {
            subscribe_duration(1_000_000_000).block();
            return events;
        }
        let ready = poll(&pollables);
        let mut index = 0;
        events.retain(|_| {
            index += 1;
            ready.contains(&(index - 1))
        });
        events
    }

    fn accept(&mut self, index: usize) {
        match self.listeners[index].accept() {
            Ok((socket, input, output)) => self.connections.push(Connection {
                input,
                output,
                line: Vec::new(),
                socket,
            }),
            Err(ErrorCode::WouldBlock | ErrorCode::ConnectionAborted) => {}
            Err(code) => panic!("{}", code.name()),
        }
    }
}

impl Connection {
    /// Answers the lines that are there; `None` when the other end has closed.
    fn answer(&mut self, name: &str) -> Option<()> {
        let read = self.input.read(CHUNK as u64).ok()?;
        for byte in read {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            let answer = match line.split_once('=').unwrap_or((&line, "")) {
                ("where", _) => format!(
                    "{:?} {:?}",
                    self.socket.local_address().map(text),
                    self.socket.remote_address().map(text)
                ),
                ("quit", _) => {
                    exit_with_code(3);
                    return None;
                }
                ("big", bytes) => format!("{}{line}", "x".repeat(bytes.parse().expect("bytes"))),
                _ => line,
            };
            for chunk in format!("{name} {answer}\n").as_bytes().chunks(CHUNK) {
                self.output.blocking_write_and_flush(chunk).ok()?;
            }
        }
        Some(())
    }
}

/// `Some` while it has not been asked to end.
#[cfg(feature = "polite")]
fn end() -> Option<Option<Pollable>> {
    Some(Some(crate::polite::ending::subscribe()))
}

#[cfg(not(feature = "polite"))]
fn end() -> Option<Option<Pollable>> {
    Some(None)
}

/// A socket that listens.
pub fn listen(address: &str) -> Result<TcpSocket, ErrorCode> {
    let (family, address) = parse(address);
    let socket = create_tcp_socket(family)?;
    socket.start_bind(&instance_network(), address)?;
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()?;
    assert!(socket.is_listening());
    Ok(socket)
}

/// Whether a connection comes to be.
pub fn connect(address: &str) -> Result<(), ErrorCode> {
    let (family, address) = parse(address);
    let socket = create_tcp_socket(family)?;
    socket.start_connect(&instance_network(), address)?;
    loop {
        match socket.finish_connect() {
            Err(ErrorCode::WouldBlock) => socket.subscribe().block(),
            connected => return connected.map(drop),
        }
    }
}

fn parse(address: &str) -> (IpAddressFamily, IpSocketAddress) {
    match address.parse().expect("ADDRESS:PORT") {
        std::net::SocketAddr::V4(of) => {
            let [a, b, c, d] = of.ip().octets();
            let address = Ipv4SocketAddress {
                port: of.port(),
                address: (a, b, c, d),
            };
            (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(address))
        }
        std::net::SocketAddr::V6(of) => {
            let [a, b, c, d, e, f, g, h] = of.ip().segments();
            let address = Ipv6SocketAddress {
                port: of.port(),
                flow_info: 0,
                address: (a, b, c, d, e, f, g, h),
                scope_id: 0,
            };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    }
}

fn text(address: IpSocketAddress) -> String {
    match address {
        IpSocketAddress::Ipv4(of) => {
            let (a, b, c, d) = of.address;
            format!("{a}.{b}.{c}.{d}:{}", of.port)
        }
        IpSocketAddress::Ipv6(of) => {
            let (a, b, c, d, e, f, g, h) = of.address;
            let ip = std::net::Ipv6Addr::new(a, b, c, d, e, f, g, h);
            format!("[{ip}]:{}", of.port)
        }
    }
}
