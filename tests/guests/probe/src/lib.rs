//! A component with a route for every way to misbehave, and one for every thing it may be given.
//!
//! | route | what it does |
//! |---|---|
//! | `/` | answers `probe` |
//! | `/spin` | loops for ever |
//! | `/grow` | holds more and more memory until there is no more, then aborts |
//! | `/grow?mib=N` | holds N MiB, answers how many it got |
//! | `/trap` | executes `unreachable` |
//! | `/exit` | calls `wasi:cli/exit` |
//! | `/silent` | returns without an answer |
//! | `/echo` | streams the request body back, chunk by chunk |
//! | `/sleep?ms=N` | waits, then answers |
//! | `/env`, `/args`, `/config?key=K` | what it was given, one a line |
//! | `/dirs` | how many directories it was given |
//! | `/connect?address=1.2.3.4:80` | opens a TCP socket |
//! | `/resolve?name=N` | looks a name up |
//! | `/fetch?authority=HOST` | sends an HTTP request |
//! | `/stdout?lines=N&size=M` | prints N lines of M bytes; `&text=T` prints T |
//! | `/dirty` | fills fresh memory, statics and stack with 0xA5 |
//! | `/clean` | counts the bytes that are not zero where they have to be |
//! | `/big?bytes=N` | answers with N bytes |
//! | `/slow?chunks=N&ms=M` | answers with N chunks, M ms apart |
//! | `/stall` | answers one chunk of a body and then nothing more |
//! | `/header?name=N&value=V` | sets a response header, answers whether it was allowed |
//! | `/headers` | the request headers, one a line |
//! | `/random?bytes=N` | asks for N random bytes in one call |
//! | `/handles` | makes pollables until there are no more |
//! | `/status?code=N` | answers with that status |

mod gift;
mod harm;
mod text;

use text::{answer, query};
use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Probe;

wasip2::http::proxy::export!(Probe);

impl wasip2::exports::http::incoming_handler::Guest for Probe {
    fn handle(request: IncomingRequest, outparam: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_else(|| "/".into());
        let (path, parameters) = target.split_once('?').unwrap_or((&target, ""));
        let number = |name: &str, otherwise: u64| {
            query(parameters, name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
        };
        let word = |name: &str| query(parameters, name).unwrap_or_default();
        match path {
            "/" => answer(outparam, 200, "probe\n"),
            "/spin" => harm::spin(),
            "/grow" => match query(parameters, "mib").and_then(|value| value.parse().ok()) {
                Some(mib) => answer(outparam, 200, &format!("{}\n", harm::hold(mib))),
                None => harm::grow(),
            },
            "/trap" => harm::trap(),
            "/exit" => wasip2::cli::exit::exit(Err(())),
            "/silent" => {}
            "/echo" => harm::echo(request, outparam),
            "/sleep" => {
                harm::sleep(number("ms", 100));
                answer(outparam, 200, "slept\n");
            }
            "/env" => answer(outparam, 200, &gift::env()),
            "/args" => answer(outparam, 200, &gift::args()),
            "/config" => answer(outparam, 200, &gift::config(&word("key"))),
            "/dirs" => answer(outparam, 200, &gift::directories()),
            "/connect" => answer(outparam, 200, &gift::connect(&word("address"))),
            "/resolve" => answer(outparam, 200, &gift::resolve(&word("name"))),
            "/fetch" => answer(outparam, 200, &gift::fetch(&word("authority"))),
            "/stdout" => {
                match query(parameters, "text") {
                    Some(text) => harm::print(text.as_bytes()),
                    None => harm::flood(number("lines", 1), number("size", 10)),
                }
                answer(outparam, 200, "printed\n");
            }
            "/dirty" => answer(outparam, 200, &harm::dirty()),
            "/clean" => answer(outparam, 200, &harm::clean()),
            "/big" => harm::big(outparam, number("bytes", 1 << 20)),
            "/slow" => harm::slow(outparam, number("chunks", 3), number("ms", 50)),
            "/stall" => harm::stall(outparam),
            "/header" => harm::header(outparam, &word("name"), &word("value")),
            "/headers" => answer(outparam, 200, &text::headers(&request)),
            "/random" => {
                let bytes = wasip2::random::random::get_random_bytes(number("bytes", 16));
                answer(outparam, 200, &format!("{}\n", bytes.len()));
            }
            "/handles" => harm::handles(),
            "/status" => answer(outparam, number("code", 200) as u16, "status\n"),
            _ => answer(outparam, 404, "no such route\n"),
        }
    }
}
