//! The same with a life of its own: it counts, looks whether it is asked to end, and hands its
//! count on.

use crate::{NANOSECONDS, obey, print, spin};
use bindings::exports::lighterman::core::lifecycle::Guest as Lifecycle;
use bindings::exports::lighterman::core::state::{Guest as State, Snapshot};
use bindings::lighterman::core::ending;
use std::sync::atomic::{AtomicU64, Ordering};
use wasip2::cli::environment::get_arguments;
use wasip2::clocks::monotonic_clock::subscribe_duration;
use wasip2::io::poll::poll;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit/core",
        world: "worker",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
    });
}

/// The count, which begins with what was handed on.
static COUNT: AtomicU64 = AtomicU64::new(0);

struct Living;

bindings::export!(Living with_types_in bindings);

impl Lifecycle for Living {
    fn init() -> Result<(), String> {
        print(&format!("init {}", COUNT.load(Ordering::Relaxed)));
        match option("fail-init") {
            Some(_) => Err("it was told to".to_owned()),
            None => Ok(()),
        }
    }

    fn execute() -> Result<(), String> {
        let mut held = Vec::new();
        for argument in get_arguments() {
            let (order, value) = argument.split_once('=').unwrap_or((&argument, ""));
            match order {
                "count" => count(value.parse().expect("milliseconds")),
                "schema" | "bytes" | "deaf" | "bad-restore" | "bad-save" | "fail-init" => {}
                _ => obey(&argument, &mut held).map_err(|()| "it was told to".to_owned())?,
            }
        }
        Ok(())
    }

    fn shutdown() {
        print("shutdown");
    }
}

impl State for Living {
    fn save() -> Result<Snapshot, String> {
        misbehave("bad-save")?;
        let bytes = option("bytes").map_or(0, |bytes| bytes.parse().expect("bytes"));
        let mut data = COUNT.load(Ordering::Relaxed).to_le_bytes().to_vec();
        data.resize(data.len() + bytes, 0);
        Ok(Snapshot {
            schema: schema(),
            data,
        })
    }

    fn restore(snapshot: Snapshot) -> Result<(), String> {
        misbehave("bad-restore")?;
        if snapshot.schema != schema() {
            return Err(format!("schema {} is unknown", snapshot.schema));
        }
        let (count, _) = snapshot.data.split_first_chunk().ok_or("it is too short")?;
        COUNT.store(u64::from_le_bytes(*count), Ordering::Relaxed);
        Ok(())
    }
}

fn count(milliseconds: u64) {
    let end = ending::subscribe();
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
        print(&format!("count {count}"));
        let time = subscribe_duration(milliseconds * NANOSECONDS);
        match option("deaf") {
            Some(_) => time.block(),
            None => drop(poll(&[&time, &end])),
        }
        if option("deaf").is_none() && ending::is_asked() {
            return;
        }
    }
}

fn schema() -> u32 {
    option("schema").map_or(1, |schema| schema.parse().expect("a number"))
}

fn misbehave(order: &str) -> Result<(), String> {
    match option(order).as_deref() {
        None => Ok(()),
        Some("refuse") => Err("it was told to".to_owned()),
        Some("spin") => {
            spin(None);
            Ok(())
        }
        Some(_) => core::arch::wasm32::unreachable(),
    }
}

/// What an argument says behind its name.
fn option(name: &str) -> Option<String> {
    get_arguments().into_iter().find_map(|argument| {
        let (order, value) = argument.split_once('=').unwrap_or((&argument, ""));
        (order == name).then(|| value.to_owned())
    })
}
