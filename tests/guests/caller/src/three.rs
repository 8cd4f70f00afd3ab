//! The orders over WASI 0.3.

use crate::order::{Order, code, told};
use core::net::IpAddr;
use wasip3::http::client;
use wasip3::http::types::{ErrorCode, Fields, Method, Request, Response, Scheme};
use wasip3::sockets::ip_name_lookup::resolve_addresses;
use wasip3::sockets::types::{
    IpAddress, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, TcpSocket,
    UdpSocket,
};
use wasip3::{wit_bindgen, wit_future, wit_stream};

struct Caller;

wasip3::http::service::export!(Caller);

impl wasip3::exports::http::handler::Guest for Caller {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (_done, done) = wit_future::new(|| Ok(()));
        let (body, _trailers) = Request::consume_body(request, done);
        let text = body.collect().await;
        let mut lines = String::new();
        for order in Order::all(core::str::from_utf8(&text).unwrap_or_default()) {
            lines += &(carry_out(&order).await + "\n");
        }
        let (mut body, receiver) = wit_stream::new();
        let (trailers, trailers_receiver) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(receiver), trailers_receiver);
        wit_bindgen::spawn(async move {
            body.write_all(lines.into_bytes()).await;
            drop(body);
            drop(trailers);
        });
        Ok(response)
    }
}

async fn carry_out(order: &Order) -> String {
    match order.get("do") {
        "fetch" => fetch(order).await,
        "resolve" => match resolve(order.get("name")).await {
            Ok(addresses) => join(&addresses),
            Err(code) => code,
        },
        "connect" => connect(order).await.unwrap_or_else(|code| code),
        "bind" => bind(order).await.unwrap_or_else(|code| code),
        "sockets" => sockets(order),
        "udp" => udp(order).await.unwrap_or_else(|code| code),
        other => format!("no such order: {other}"),
    }
}

/// The name of any error code: `TimedOut` as `timed-out`.
fn named(error: &impl core::fmt::Debug) -> String {
    code(&format!("{error:?}"))
}

async fn fetch(order: &Order) -> String {
    let mut told = Vec::new();
    for _ in 0..order.number("times", 1) {
        told.push(exchange(order).await.unwrap_or_else(|error| named(&error)));
    }
    told.join(" | ")
}

async fn exchange(order: &Order) -> Result<String, ErrorCode> {
    let refused = |()| ErrorCode::HttpRequestUriInvalid;
    let headers = Fields::from_list(&order.fields("header"))
        .map_err(|_| ErrorCode::InternalError(Some("a header was refused".into())))?;
    let (mut body, receiver) = wit_stream::new();
    let (trailers, trailers_receiver) = wit_future::new(|| Ok(None));
    let (request, _sent) = Request::new(headers, Some(receiver), trailers_receiver, None);
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
    let text = order.get("body").as_bytes().to_vec();
    let fields = order.fields("trailer");
    wit_bindgen::spawn(async move {
        body.write_all(text).await;
        drop(body);
        let last = (!fields.is_empty())
            .then(|| Fields::from_list(&fields).expect("trailers that may be set"));
        let _ = trailers.write(Ok(last)).await;
    });
    let response = client::send(request).await?;
    let status = response.get_status_code();
    let headers = response.get_headers().copy_all();
    let (_done, done) = wit_future::new(|| Ok(()));
    let (body, trailers) = Response::consume_body(response, done);
    let text = body.collect().await;
    let mut line = told(status, &headers, order, &text);
    if let Ok(Some(trailers)) = trailers.await {
        for (name, value) in trailers.copy_all() {
            line += &format!(" trailer {name}={}", String::from_utf8_lossy(&value));
        }
    }
    Ok(line)
}

async fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let found = resolve_addresses(name.to_owned()).await.map_err(|error| named(&error))?;
    let plain = found.into_iter().map(|address| match address {
        IpAddress::Ipv4((a, b, c, d)) => IpAddr::from([a, b, c, d]),
        IpAddress::Ipv6((a, b, c, d, e, f, g, h)) => IpAddr::from([a, b, c, d, e, f, g, h]),
    });
    Ok(plain.collect())
}

fn join(addresses: &[IpAddr]) -> String {
    let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_string).collect();
    addresses.sort();
    addresses.join(",")
}

async fn target(order: &Order) -> Result<(IpAddressFamily, IpSocketAddress), String> {
    let address = match order.address() {
        Some(address) => address,
        None => *resolve(order.get("name")).await?.first().ok_or("no address")?,
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

async fn connect(order: &Order) -> Result<String, String> {
    let (family, remote) = target(order).await?;
    let socket = TcpSocket::create(family).map_err(|error| named(&error))?;
    socket.connect(remote).await.map_err(|error| named(&error))?;
    let text = order.get("send");
    if text.is_empty() {
        return Ok("connected".into());
    }
    let (mut sender, data) = wit_stream::new();
    let _sent = socket.send(data);
    sender.write_all(text.as_bytes().to_vec()).await;
    let (mut heard, _received) = socket.receive();
    let (_, heard) = heard.read(Vec::with_capacity(4096)).await;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

async fn bind(order: &Order) -> Result<String, String> {
    let (family, local) = target(order).await?;
    let socket = TcpSocket::create(family).map_err(|error| named(&error))?;
    socket.bind(local).map_err(|error| named(&error))?;
    if order.get("listen").is_empty() {
        return Ok("bound".into());
    }
    socket.listen().map_err(|error| named(&error))?;
    Ok("listening".into())
}

fn sockets(order: &Order) -> String {
    let mut held = Vec::new();
    for _ in 0..order.number("count", 1) {
        match TcpSocket::create(IpAddressFamily::Ipv4) {
            Ok(socket) => held.push(socket),
            Err(error) => return format!("{} {}", held.len(), named(&error)),
        }
    }
    held.len().to_string()
}

async fn udp(order: &Order) -> Result<String, String> {
    let (family, remote) = target(order).await?;
    let socket = UdpSocket::create(family).map_err(|error| named(&error))?;
    let data = order.get("send").as_bytes().to_vec();
    socket.send(data, Some(remote)).await.map_err(|error| named(&error))?;
    Ok("sent".into())
}
