//! The orders over WASI 0.2.

use crate::order::{Order, code, told};
use core::net::IpAddr;
use wasip2::http::outgoing_handler::{FutureIncomingResponse, handle};
use wasip2::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingRequest,
    OutgoingResponse, ResponseOutparam, Scheme,
};
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode as SocketError, IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
    Ipv6SocketAddress,
};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::OutgoingDatagram;
use wasip2::sockets::udp_create_socket::create_udp_socket;

struct Caller;

wasip2::http::proxy::export!(Caller);

impl wasip2::exports::http::incoming_handler::Guest for Caller {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let body = request.consume().expect("the first look at the body");
        let text = read_all(&body.stream().expect("the first look at the stream"));
        let orders = Order::all(core::str::from_utf8(&text).unwrap_or_default());
        let lines: String = orders.iter().map(|order| carry_out(order) + "\n").collect();
        answer(outparam, &lines);
    }
}

fn carry_out(order: &Order) -> String {
    match order.get("do") {
        "fetch" => fetch(order),
        "resolve" => match resolve(order.get("name")) {
            Ok(addresses) => join(&addresses),
            Err(code) => code,
        },
        "connect" => connect(order).unwrap_or_else(|code| code),
        "bind" => bind(order).unwrap_or_else(|code| code),
        "sockets" => sockets(order),
        "udp" => udp(order).unwrap_or_else(|code| code),
        other => format!("no such order: {other}"),
    }
}

fn fetch(order: &Order) -> String {
    let sent: Vec<_> = (0..order.number("times", 1)).map(|_| send(order)).collect();
    let told = sent.into_iter().map(|sent| {
        let received = sent.and_then(|future| receive(order, future));
        received.unwrap_or_else(|error| code(&format!("{error:?}")))
    });
    told.collect::<Vec<_>>().join(" | ")
}

fn send(order: &Order) -> Result<FutureIncomingResponse, ErrorCode> {
    let refused = |()| ErrorCode::HttpRequestUriInvalid;
    let headers = Fields::from_list(&order.fields("header"))
        .map_err(|_| ErrorCode::InternalError(Some("a header was refused".into())))?;
    let request = OutgoingRequest::new(headers);
    let method = match order.get("method") {
        "" | "GET" => Method::Get,
        "POST" => Method::Post,
        "CONNECT" => Method::Connect,
        "TRACE" => Method::Trace,
        other => Method::Other(other.into()),
    };
    request.set_method(&method).map_err(refused)?;
    let scheme = match order.get("scheme") {
        "http" => Scheme::Http,
        _ => Scheme::Https,
    };
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(order.get("authority"))).map_err(refused)?;
    let path = order.values("path").next().unwrap_or("/");
    request.set_path_with_query(Some(path)).map_err(refused)?;
    let body = request.body().expect("the first use of the body");
    let future = handle(request, None)?;
    let stream = body.write().expect("the first use of the stream");
    for chunk in order.get("body").as_bytes().chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            break;
        }
    }
    drop(stream);
    let trailers = order.fields("trailer");
    let trailers = (!trailers.is_empty())
        .then(|| Fields::from_list(&trailers).expect("trailers that may be set"));
    let _ = OutgoingBody::finish(body, trailers);
    Ok(future)
}

fn receive(order: &Order, future: FutureIncomingResponse) -> Result<String, ErrorCode> {
    future.subscribe().block();
    let response = future.get().expect("ready").expect("the first look")?;
    let headers = response.headers().entries();
    let body = response.consume().expect("the first look at the body");
    let text = read_all(&body.stream().expect("the first look at the stream"));
    let mut line = told(response.status(), &headers, order, &text);
    let trailers = IncomingBody::finish(body);
    trailers.subscribe().block();
    if let Some(Ok(Ok(Some(trailers)))) = trailers.get() {
        for (name, value) in trailers.entries() {
            line += &format!(" trailer {name}={}", String::from_utf8_lossy(&value));
        }
    }
    Ok(line)
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let code = |code: SocketError| code.name().to_owned();
    let answers = resolve_addresses(&instance_network(), name).map_err(code)?;
    let mut addresses = Vec::new();
    loop {
        answers.subscribe().block();
        match answers.resolve_next_address().map_err(code)? {
            Some(IpAddress::Ipv4((a, b, c, d))) => addresses.push([a, b, c, d].into()),
            Some(IpAddress::Ipv6((a, b, c, d, e, f, g, h))) => {
                addresses.push([a, b, c, d, e, f, g, h].into());
            }
            None => return Ok(addresses),
        }
    }
}

fn join(addresses: &[IpAddr]) -> String {
    let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    addresses.sort();
    addresses.join(",")
}

fn target(order: &Order) -> Result<(IpAddressFamily, IpSocketAddress), String> {
    let address = match order.address() {
        Some(address) => address,
        None => *resolve(order.get("name"))?.first().ok_or("no address")?,
    };
    let port = order.number("port", 0);
    Ok(match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            let address = Ipv4SocketAddress { port, address: (a, b, c, d) };
            (IpAddressFamily::Ipv4, IpSocketAddress::Ipv4(address))
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h] = address.segments();
            let address = (a, b, c, d, e, f, g, h);
            let address = Ipv6SocketAddress { port, address, flow_info: 0, scope_id: 0 };
            (IpAddressFamily::Ipv6, IpSocketAddress::Ipv6(address))
        }
    })
}

fn connect(order: &Order) -> Result<String, String> {
    let code = |code: SocketError| code.name().to_owned();
    let (family, remote) = target(order)?;
    let socket = create_tcp_socket(family).map_err(code)?;
    socket.start_connect(&instance_network(), remote).map_err(code)?;
    socket.subscribe().block();
    let (input, output) = socket.finish_connect().map_err(code)?;
    let text = order.get("send");
    if text.is_empty() {
        return Ok("connected".into());
    }
    write(&output, text.as_bytes());
    input.subscribe().block();
    let heard = input.blocking_read(4096).map_err(|_| "closed".to_owned())?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

fn bind(order: &Order) -> Result<String, String> {
    let code = |code: SocketError| code.name().to_owned();
    let (family, local) = target(order)?;
    let socket = create_tcp_socket(family).map_err(code)?;
    socket.start_bind(&instance_network(), local).map_err(code)?;
    socket.subscribe().block();
    socket.finish_bind().map_err(code)?;
    if order.get("listen").is_empty() {
        return Ok("bound".into());
    }
    socket.start_listen().map_err(code)?;
    socket.subscribe().block();
    socket.finish_listen().map_err(code)?;
    Ok("listening".into())
}

fn sockets(order: &Order) -> String {
    let mut held = Vec::new();
    for _ in 0..order.number("count", 1) {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => held.push(socket),
            Err(code) => return format!("{} {}", held.len(), code.name()),
        }
    }
    held.len().to_string()
}

fn udp(order: &Order) -> Result<String, String> {
    let code = |code: SocketError| code.name().to_owned();
    let (family, remote) = target(order)?;
    let socket = create_udp_socket(family).map_err(code)?;
    let any = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) });
    socket.start_bind(&instance_network(), any).map_err(code)?;
    socket.subscribe().block();
    socket.finish_bind().map_err(code)?;
    let (_input, output) = socket.stream(None).map_err(code)?;
    output.subscribe().block();
    output.check_send().map_err(code)?;
    let datagram = OutgoingDatagram {
        data: order.get("send").as_bytes().to_vec(),
        remote_address: Some(remote),
    };
    output.send(&[datagram]).map_err(code)?;
    Ok("sent".into())
}

fn read_all(stream: &InputStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(bytes) = stream.blocking_read(16 << 10) {
        all.extend(bytes);
    }
    all
}

fn write(stream: &OutputStream, bytes: &[u8]) {
    for chunk in bytes.chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
}

fn answer(outparam: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first use of the body");
    ResponseOutparam::set(outparam, Ok(response));
    let stream = body.write().expect("the first use of the stream");
    write(&stream, text.as_bytes());
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
