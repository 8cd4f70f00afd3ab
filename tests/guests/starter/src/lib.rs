//! A component that is told what to start, in the body of the request, one order a line.
//!
//! An order is a form: `do=run&executable=/tools/a&argument=x`. The answer has one line for
//! each order: what came of it, or the error's name in kebab case. Children have names, given
//! by `as`.
//!
//! | order | what it does |
//! |---|---|
//! | `do=run&executable=P` | starts it with each `argument`, each `env=name:value` and `input`, reads both outputs and waits: its end, what it said, and `!` with what it complained |
//! | `do=start&executable=P&as=C` | starts it and goes on |
//! | `do=signal&to=C&signal=term` | sends a signal |
//! | `do=wait&to=C` | waits for its end |
//! | `do=drop&to=C` | lets go of it |
//! | `do=many&executable=P&count=N` | how many of N can be there at once, and the error of the next |
//! | `do=trap` | traps |

#[path = "../../caller/src/order.rs"]
#[allow(dead_code)]
mod order;

use bindings::lighterman::ext_process::process::{
    Child, ErrorCode, ExitStatus, Options, Signal, spawn,
};
use order::Order;
use std::collections::BTreeMap;
use wasip2::http::types::{
    Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
};
use wasip2::io::streams::InputStream;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/ext-process",
        world: "imports",
        with: {
            "wasi:io/error@0.2.0": wasip2::io::error,
            "wasi:io/poll@0.2.0": wasip2::io::poll,
            "wasi:io/streams@0.2.0": wasip2::io::streams,
        },
    });
}

struct Starter;

wasip2::http::proxy::export!(Starter);

impl wasip2::exports::http::incoming_handler::Guest for Starter {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let body = request.consume().expect("the first look at the body");
        let text = read_all(&body.stream().expect("the first look at the stream"));
        let orders = Order::all(core::str::from_utf8(&text).unwrap_or_default());
        let mut children = BTreeMap::new();
        let lines: String = orders
            .iter()
            .map(|order| carry_out(&mut children, order).unwrap_or_else(named) + "\n")
            .collect();
        answer(outparam, &lines);
    }
}

fn carry_out(
    children: &mut BTreeMap<String, Child>,
    order: &Order,
) -> Result<String, ErrorCode> {
    let child = children.get(order.get("to"));
    match (order.get("do"), child) {
        ("run", _) => {
            let child = start(order)?;
            let output = child.stdout().map(|stream| text(&stream));
            let complaint = child.stderr().map(|stream| text(&stream));
            let end = told(child.wait());
            Ok(format!("{end} {}!{}", output.unwrap_or_default(), complaint.unwrap_or_default()))
        }
        ("start", _) => {
            children.insert(order.get("as").to_owned(), start(order)?);
            Ok("started".to_owned())
        }
        ("signal", Some(child)) => {
            let signal = match order.get("signal") {
                "int" => Signal::Interrupt,
                "hup" => Signal::HangUp,
                "kill" => Signal::Kill,
                _ => Signal::Terminate,
            };
            child.signal(signal).map(|()| "sent".to_owned())
        }
        ("wait", Some(child)) => Ok(told(child.wait())),
        ("drop", Some(_)) => {
            children.remove(order.get("to"));
            Ok("dropped".to_owned())
        }
        ("many", _) => {
            let mut held = Vec::new();
            for _ in 0..order.number("count", 1) {
                match start(order) {
                    Ok(child) => held.push(child),
                    Err(error) => return Ok(format!("{} {}", held.len(), named(error))),
                }
            }
            Ok(held.len().to_string())
        }
        ("trap", _) => core::arch::wasm32::unreachable(),
        (other, _) => Ok(format!("no such order or child: {other}")),
    }
}

fn start(order: &Order) -> Result<Child, ErrorCode> {
    let arguments: Vec<String> = order.values("argument").map(str::to_owned).collect();
    let environment = order.fields("env").into_iter();
    let options = Options {
        environment: environment
            .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()))
            .collect(),
        input: match order.number("size", 0) {
            0 => order.get("input").as_bytes().to_vec(),
            size => vec![b'x'; size],
        },
    };
    spawn(order.get("executable"), &arguments, &options)
}

fn told(end: ExitStatus) -> String {
    match end {
        ExitStatus::Exited(code) => format!("exited {code}"),
        ExitStatus::Signalled(signal) => format!("signalled {signal}"),
        ExitStatus::Lost => "lost".to_owned(),
    }
}

fn named(error: ErrorCode) -> String {
    error.name().to_owned()
}

fn text(stream: &InputStream) -> String {
    let all = read_all(stream);
    match all.len() {
        // The beginning of a flood is as good as all of it.
        ..=4096 => String::from_utf8_lossy(&all).trim_end().replace('\n', "\\n"),
        many => format!("{many} bytes"),
    }
}

fn read_all(stream: &InputStream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Ok(bytes) = stream.blocking_read(16 << 10) {
        all.extend(bytes);
    }
    all
}

fn answer(outparam: ResponseOutparam, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    let body = response.body().expect("the first use of the body");
    ResponseOutparam::set(outparam, Ok(response));
    let stream = body.write().expect("the first use of the stream");
    for chunk in text.as_bytes().chunks(4096) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
