//! A TCP server: it answers every line with its name and the line, until the other end closes.
//! Of one that is `polite`, the listeners go when it is asked to end, and it returns with the last
//! connection. One that is not never ends by itself.
//!
//! | argument | what it does |
//! |---|---|
//! | `name=TEXT` | its name, `echo` by itself |
//! | `bind=ADDRESS:PORT` | listens there: once for each, and on `0.0.0.0:5000` without any |
//! | `try=ADDRESS:PORT` | prints what comes of listening there, and goes on |
//! | `connect=ADDRESS:PORT` | prints what comes of connecting there, and goes on |
//! | `late=MS` | waits before it listens |
//! | `tired=MS` | stops listening after so long, and goes on |
//!
//! | line | answer |
//! |---|---|
//! | `where` | both ends of the connection |
//! | `big=BYTES` | so many bytes before the line |
//! | `quit` | it exits with code 3 |
//! | any other | the line |

mod server;

#[cfg(feature = "polite")]
mod polite {
    wit_bindgen::generate!({
        path: "../../../wit/core",
        world: "imports",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });

    pub use lighterman::core::ending;
}

use server::Server;
use wasip2::cli::environment::get_arguments;
use wasip2::cli::stdout::get_stdout;
use wasip2::clocks::monotonic_clock::subscribe_duration;

const MILLISECOND: u64 = 1_000_000;

struct Echo;

wasip2::cli::command::export!(Echo);

impl wasip2::exports::cli::run::Guest for Echo {
    fn run() -> Result<(), ()> {
        let mut server = Server::new("echo");
        let mut binds = Vec::new();
        for argument in get_arguments() {
            let (order, value) = argument.split_once('=').unwrap_or((&argument, ""));
            let number = || value.parse::<u64>().expect("a number");
            match order {
                "name" => server.name = value.to_owned(),
                "bind" => binds.push(value.to_owned()),
                "try" => print(&format!("{value} {}", told(server::listen(value).map(drop)))),
                "connect" => print(&format!("{value} {}", told(server::connect(value)))),
                "late" => subscribe_duration(number() * MILLISECOND).block(),
                "tired" => server.tires_after(number() * MILLISECOND),
                other => panic!("{other} is no order"),
            }
        }
        if binds.is_empty() {
            binds.push("0.0.0.0:5000".to_owned());
        }
        for bind in &binds {
            match server::listen(bind) {
                Ok(listener) => server.listeners.push(listener),
                Err(code) => {
                    print(&format!("{bind} {}", told(Err(code))));
                    return Err(());
                }
            }
        }
        server.serve();
        Ok(())
    }
}

fn told(outcome: Result<(), wasip2::sockets::network::ErrorCode>) -> String {
    match outcome {
        Ok(()) => "ok".to_owned(),
        Err(code) => code.name().to_owned(),
    }
}

fn print(line: &str) {
    let _ = get_stdout().blocking_write_and_flush(format!("{line}\n").as_bytes());
}
