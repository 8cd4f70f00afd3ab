//! `make bench`: starts each server in turn, loads it with public tools, and
//! prints one line per figure. Every comparison is a ratio within this run,
//! because machines differ and drift. Called by `bench/run`, which builds what
//! it needs and passes the paths.

mod apply;
mod enforcement;
mod figure;
mod fleet;
mod load;
mod server;
mod update;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::figure::{Bar, Figures};
use crate::load::{Load, Tools};
use crate::server::{Server, Subjects};

/// Rounds of the alternation; the median of each subject's rounds is its figure.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let subjects = Subjects::from_environment(&root)?;
    let tools = Tools::from_environment(&root.join("target"));
    let mut figures = Figures::default();

    let mut agent = Vec::new();
    let mut wasmtime = Vec::new();
    let mut native = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("bench: round {round} of {ROUNDS}");
        wasmtime.push(measure(&subjects, "wasmtime", &tools)?);
        agent.push(measure(&subjects, "lighterman", &tools)?);
        native.push(measure(&subjects, "native", &tools)?);
    }
    let (agent, wasmtime, native) = (median(agent), median(wasmtime), median(native));

    figures.add("http_fresh", agent.rate, "req/s", Bar::None);
    figures.add("http_wasmtime_serve", wasmtime.rate, "req/s", Bar::None);
    figures.add("http_native_hyper", native.rate, "req/s", Bar::None);
    figures.add(
        "http_fresh_vs_wasmtime_serve",
        agent.rate / wasmtime.rate,
        "ratio",
        Bar::AtLeast(4.0),
    );
    figures.add(
        "http_fresh_vs_hyper",
        agent.rate / native.rate,
        "ratio",
        Bar::None,
    );
    figures.add(
        "http_fresh_p99_at_half",
        agent.p99_ms,
        "ms",
        Bar::AtMost(wasmtime.p99_ms),
    );
    figures.add(
        "http_wasmtime_serve_p99_at_half",
        wasmtime.p99_ms,
        "ms",
        Bar::None,
    );
    figures.add("agent_memory_idle", agent.idle_mib, "MiB", Bar::None);
    figures.add(
        "wasmtime_serve_memory_idle",
        wasmtime.idle_mib,
        "MiB",
        Bar::None,
    );

    eprintln!("bench: enforcement against plain wasmtime-wasi");
    for (name, ratio) in enforcement::measure(&root)? {
        let bar = match name.as_str() {
            "hello_enforced_vs_plain" => Bar::AtMost(1.03),
            _ => Bar::AtMost(1.25),
        };
        figures.add(&name, ratio, "ratio", bar);
    }

    eprintln!("bench: from kubectl apply to the first answer");
    let applied = apply::measure()?;
    figures.add("apply_to_200_cold", applied.cold, "s", Bar::None);
    figures.add("apply_to_200_warm", applied.warm, "s", Bar::None);

    eprintln!("bench: components that change their version");
    let updated = update::measure()?;
    for (components, seconds) in updated.seconds {
        figures.add(&format!("update_{components}"), seconds, "s", Bar::None);
    }
    figures.add("update_swap", updated.swap_millis, "ms", Bar::None);
    figures.add(
        "worker_100_components",
        updated.one_version,
        "MiB",
        Bar::None,
    );
    figures.add(
        "worker_100_both_versions",
        updated.both_versions,
        "MiB",
        Bar::None,
    );

    eprintln!("bench: fleets of simulated agents");
    let fleet = fleet::measure()?;
    for (nodes, seconds) in fleet.every_node {
        let name = format!("fleet_every_node_{nodes}");
        figures.add(&name, seconds, "s", Bar::None);
    }
    figures.add("fleet_1000_on_20_converge", fleet.converge, "s", Bar::None);
    figures.add(
        "fleet_1000_on_20_writes",
        fleet.writes_per_second,
        "writes/s",
        Bar::None,
    );
    figures.add(
        "fleet_1000_on_20_operator_memory",
        fleet.operator_mib,
        "MiB",
        Bar::None,
    );

    figures.write(&root.join("target/bench.json"))
}

/// What one subject did in one round.
#[derive(Clone, Copy)]
struct Measured {
    rate: f64,
    p99_ms: f64,
    idle_mib: f64,
}

fn measure(subjects: &Subjects, name: &str, tools: &Tools) -> Result<Measured> {
    let server = Server::start(subjects.command(name)?).with_context(|| format!("start {name}"))?;
    let idle_mib = server.resident_mib()?;
    let load = Load::new(tools, server.url());
    load.warm_up()?;
    let rate = load.capacity()?;
    let p99_ms = load.p99_at(rate / 2.0)?;
    eprintln!(
        "bench:   {name}: {rate:.0} req/s, p99 at half {p99_ms:.2} ms, idle {idle_mib:.0} MiB"
    );
    Ok(Measured {
        rate,
        p99_ms,
        idle_mib,
    })
}

fn median(mut rounds: Vec<Measured>) -> Measured {
    let middle = rounds.len() / 2;
    let pick = |rounds: &mut Vec<Measured>, key: fn(&Measured) -> f64| {
        rounds.sort_by(|a, b| key(a).total_cmp(&key(b)));
        rounds.get(middle).map_or(f64::NAN, key)
    };
    Measured {
        rate: pick(&mut rounds, |one| one.rate),
        p99_ms: pick(&mut rounds, |one| one.p99_ms),
        idle_mib: pick(&mut rounds, |one| one.idle_mib),
    }
}
