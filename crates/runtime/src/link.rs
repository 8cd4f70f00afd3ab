//! What a component's imports are connected to: the WASI basics, and what was granted.
//!
//! The basics always link, because toolchains import them unused; they give nothing that
//! was not granted. Everything else links only with its grant, and an import without one is
//! refused here, by name, before anything of the component runs. Called by `runtime`.

use crate::capability::filesystem;
use crate::capability::network::{sockets, tcp};
use crate::capability::process;
use crate::engine::EngineClass;
use crate::error::LoadError;
use crate::guest::Guest;
use crate::run;
use crate::workload::Workload;
use capability::Values;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasData, InstancePre, Linker, ResourceTable};
use wasmtime_wasi_config::WasiConfig;

/// Interfaces with something behind them, by the start of their name, and what to write to
/// get them.
const GRANTABLE: [(&str, &str); 2] = [
    (
        "wasi:config/",
        "grant values in spec.config, or build the component without it",
    ),
    (
        process::INTERFACE,
        "grant executables in spec.capabilities.process.spawn, or build the component without it",
    ),
];
/// Granted, and there is nobody to do it.
const NO_SPAWNER: &str = "this node has no spawner: start the agent with --spawner-executable (agent.spawner of the chart), or build the component without it";
const NOT_GRANTABLE: &str = "nothing can grant it here; build the component without it";

/// Links one component.
pub(crate) fn link(
    engine: &Engine,
    class: EngineClass,
    component: &Component,
    workload: &Workload,
    has_spawner: bool,
) -> Result<InstancePre<Guest>, LoadError> {
    let values = &workload.values;
    let spawns = !workload.effective.executables().is_empty();
    let mut linker = Linker::new(engine);
    basics(&mut linker, workload.listens).map_err(LoadError::Link)?;
    if class.is_p3() {
        basics_p3(&mut linker).map_err(LoadError::Link)?;
    }
    run::link(&mut linker).map_err(LoadError::Link)?;
    if !values.config.is_empty() {
        wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut Guest| {
            WasiConfig::from(guest.config())
        })
        .map_err(LoadError::Link)?;
    }
    if spawns && has_spawner {
        process::link(&mut linker).map_err(LoadError::Link)?;
    }
    refuse_ungranted(engine, component, values, spawns, has_spawner)?;
    linker.instantiate_pre(component).map_err(LoadError::Link)
}

/// The interfaces of `wasi:cli/imports` and `wasi:http/imports`, version 0.2.
fn basics(linker: &mut Linker<Guest>, listens: bool) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    // Streams need the table alone. Linked over the ones above, which would make a whole
    // WASI context for the first byte of a body.
    linker.allow_shadowing(true);
    streams(linker)?;
    filesystem::link(linker)?;
    sockets::link(linker)?;
    if listens {
        tcp::link(linker)?;
    }
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

fn streams(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::io;
    io::error::add_to_linker::<Guest, Table>(linker, Guest::table)?;
    io::poll::add_to_linker::<Guest, Table>(linker, Guest::table)?;
    io::streams::add_to_linker::<Guest, Table>(linker, Guest::table)
}

/// The same of version 0.3.
fn basics_p3(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    linker.allow_shadowing(true);
    filesystem::link_p3(linker)?;
    sockets::link_p3(linker)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p3::add_to_linker(linker)
}

struct Table;

impl HasData for Table {
    type Data<'a> = &'a mut ResourceTable;
}

/// Names the first import that is neither basic nor granted.
fn refuse_ungranted(
    engine: &Engine,
    component: &Component,
    values: &Values,
    spawns: bool,
    has_spawner: bool,
) -> Result<(), LoadError> {
    let ty = component.component_type();
    for (name, import) in ty.imports(engine) {
        let granted = (name.starts_with("wasi:config/") && !values.config.is_empty())
            || (name.starts_with(process::INTERFACE) && spawns && has_spawner);
        // Types and resources alone ask for nothing.
        if granted || is_basic(name) || matches!(import.ty, ComponentItem::Type(_)) {
            continue;
        }
        let mend = GRANTABLE
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix));
        return Err(LoadError::ImportNotGranted {
            import: name.to_owned(),
            mend: match mend {
                Some((process::INTERFACE, _)) if spawns => NO_SPAWNER,
                Some((_, mend)) => mend,
                None => NOT_GRANTABLE,
            },
        });
    }
    Ok(())
}

fn is_basic(import: &str) -> bool {
    const BASICS: [&str; 8] = [
        "lighterman:core/ending@",
        "wasi:cli/",
        "wasi:clocks/",
        "wasi:filesystem/",
        "wasi:http/",
        "wasi:io/",
        "wasi:random/",
        "wasi:sockets/",
    ];
    BASICS.iter().any(|basic| import.starts_with(basic))
}
