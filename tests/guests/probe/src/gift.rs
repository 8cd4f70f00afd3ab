//! What the component was given, and what it gets when it asks for more.

use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, Scheme};
use wasip2::sockets::network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};

#[cfg(feature = "config")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wasi:config@0.2.0-rc.1;
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
            world reader { import store; }
        ",
    });
}

pub fn env() -> String {
    let lines = wasip2::cli::environment::get_environment();
    lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

pub fn args() -> String {
    let lines = wasip2::cli::environment::get_arguments();
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(feature = "config")]
pub fn config(key: &str) -> String {
    use bindings::wasi::config::store;
    if key.is_empty() {
        let mut all = store::get_all().expect("a readable store");
        all.sort();
        return all.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    }
    match store::get(key).expect("a readable store") {
        Some(value) => format!("{value}\n"),
        None => "none\n".into(),
    }
}

#[cfg(not(feature = "config"))]
pub fn config(_key: &str) -> String {
    "built without wasi:config\n".into()
}

pub fn directories() -> String {
    format!("{}\n", wasip2::filesystem::preopens::get_directories().len())
}

/// `connected`, or the WASI error code.
pub fn connect(address: &str) -> String {
    match try_connect(address) {
        Ok(()) => "connected\n".into(),
        Err(code) => format!("{code}\n"),
    }
}

fn try_connect(address: &str) -> Result<(), String> {
    let (host, port) = address.split_once(':').ok_or("no port")?;
    let mut parts = host.split('.').map(|part| part.parse::<u8>());
    let mut part = || parts.next().and_then(Result::ok).ok_or("no IPv4 address");
    let remote = IpSocketAddress::Ipv4(Ipv4SocketAddress {
        port: port.parse().map_err(|_| "no port")?,
        address: (part()?, part()?, part()?, part()?),
    });
    let code = |code: wasip2::sockets::network::ErrorCode| code.name().to_string();
    let network = wasip2::sockets::instance_network::instance_network();
    let socket = wasip2::sockets::tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4)
        .map_err(code)?;
    socket.start_connect(&network, remote).map_err(code)?;
    socket.subscribe().block();
    socket.finish_connect().map_err(code).map(drop)
}

/// `resolved`, or the WASI error code.
pub fn resolve(name: &str) -> String {
    let network = wasip2::sockets::instance_network::instance_network();
    let answers = match wasip2::sockets::ip_name_lookup::resolve_addresses(&network, name) {
        Ok(answers) => answers,
        Err(code) => return format!("{}\n", code.name()),
    };
    answers.subscribe().block();
    match answers.resolve_next_address() {
        Ok(_) => "resolved\n".into(),
        Err(code) => format!("{}\n", code.name()),
    }
}

/// The status that came back, or the WASI error code.
pub fn fetch(authority: &str) -> String {
    match try_fetch(authority) {
        Ok(status) => format!("{status}\n"),
        Err(code) => format!("{code:?}\n"),
    }
}

fn try_fetch(authority: &str) -> Result<u16, ErrorCode> {
    let request = OutgoingRequest::new(Fields::new());
    let refused = |()| ErrorCode::HttpRequestUriInvalid;
    request.set_scheme(Some(&Scheme::Http)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some("/")).map_err(refused)?;
    let future = wasip2::http::outgoing_handler::handle(request, None)?;
    future.subscribe().block();
    let response = future.get().expect("ready").expect("the first look")?;
    Ok(response.status())
}
