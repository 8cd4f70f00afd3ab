//! `lighterman compose`: one component out of several, whose imports others of them export.
//!
//! What is joined calls without a host between, and is pushed, signed and granted as one.
//! Knows bytes only: which export fits which import is decided by name, semver and type
//! (`wac_graph::plug`), and a part that fits nowhere is an error that says what does.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::slice;

use artifact::component::{self, Facts};
use bytes::Bytes;
use serde::Serialize;
use wac_graph::types::Package;
use wac_graph::{CompositionGraph, EncodeOptions, PackageId, PlugError};

use super::push::{self, Ready};
use crate::args::Compose;
use crate::failure::Failure;
use crate::output::printable;

/// What was composed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Composed {
    file: PathBuf,
    /// Bytes.
    size: usize,
    /// What a host must still give it.
    imports: Vec<String>,
    exports: Vec<String>,
    /// Parts whose manifest asks for something: a whole is not asked for by its parts.
    manifests: Vec<PathBuf>,
}

/// One of the components.
struct Part<'a> {
    file: &'a Path,
    wasm: Bytes,
    facts: Facts,
}

/// Joins the parts and writes the whole.
pub(crate) fn run(args: &Compose) -> Result<Composed, Failure> {
    let socket = Part::read(&args.file)?;
    let plugs = args.plug.iter().map(|file| Part::read(file));
    let plugs = plugs.collect::<Result<Vec<_>, _>>()?;
    // Each by itself first: in company, one that fits nowhere would be left out in silence.
    for plug in &plugs {
        join(&socket, slice::from_ref(plug))?;
    }
    let wasm = join(&socket, &plugs)?;
    let whole = component::inspect(&wasm)
        .map_err(|refusal| Failure::refused(format!("{}: {refusal}", args.to.display()), ""))?;
    std::fs::write(&args.to, &wasm).map_err(|error| Failure::file(&args.to, "write", &error))?;
    let asking = |part: &&Part<'_>| part.facts.request.is_some();
    Ok(Composed {
        file: args.to.clone(),
        size: wasm.len(),
        imports: whole.imports,
        exports: whole.exports,
        manifests: std::iter::once(&socket)
            .chain(&plugs)
            .filter(asking)
            .map(|part| part.file.to_path_buf())
            .collect(),
    })
}

impl Part<'_> {
    fn read(file: &Path) -> Result<Part<'_>, Failure> {
        let Ready { wasm, facts, .. } = push::read(file, None)?;
        Ok(Part { file, wasm, facts })
    }

    fn register(&self, graph: &mut CompositionGraph, name: &str) -> Result<PackageId, Failure> {
        let package = Package::from_bytes(name, None, &*self.wasm, graph.types_mut())
            .map_err(|error| self.failed(error.as_ref()))?;
        graph
            .register_package(package)
            .map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &(dyn Error + 'static)) -> Failure {
        let what = format!(
            "{} cannot be composed: {}",
            self.file.display(),
            chain(error)
        );
        Failure::refused(what, "build it again, or leave it out")
    }
}

/// The bytes of the socket with the plugs in it.
fn join(socket: &Part<'_>, plugs: &[Part<'_>]) -> Result<Vec<u8>, Failure> {
    let mut graph = CompositionGraph::new();
    let into = socket.register(&mut graph, "lighterman:socket")?;
    let ids = plugs
        .iter()
        .enumerate()
        .map(|(index, plug)| plug.register(&mut graph, &format!("lighterman:plug{index}")))
        .collect::<Result<Vec<_>, _>>()?;
    match wac_graph::plug(&mut graph, ids, into) {
        Ok(()) => {}
        Err(PlugError::NoPlugHappened) => return Err(unfit(socket, plugs)),
        Err(PlugError::GraphError { source }) => {
            return Err(Failure::refused(
                format!(
                    "the parts do not go together: {}",
                    chain(source.as_ref() as &(dyn Error + 'static))
                ),
                "give one --plug for each import, and leave out those that export the same",
            ));
        }
    }
    graph
        .encode(EncodeOptions::default())
        .map_err(|error| socket.failed(&error))
}

/// Nothing that the plugs export is what the socket imports.
fn unfit(socket: &Part<'_>, plugs: &[Part<'_>]) -> Failure {
    let wanted: BTreeSet<&String> = socket.facts.imports.iter().collect();
    let (mut files, mut offered) = (Vec::new(), Vec::new());
    for plug in plugs {
        files.push(plug.file.display().to_string());
        offered.extend(&plug.facts.exports);
    }
    let what = format!(
        "{} has no import for {}",
        socket.file.display(),
        files.join(", ")
    );
    let same: Vec<_> = offered
        .iter()
        .filter(|name| wanted.contains(*name))
        .collect();
    let mend = match same.as_slice() {
        [] => format!(
            "it imports {}; exported is {}",
            list(&wanted),
            list(&offered)
        ),
        _ => format!(
            "both name {}, with other types; build both with one version of its WIT",
            list(&same)
        ),
    };
    Failure::refused(what, mend)
}

fn list(names: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| name.to_string()).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        names => printable(&names.join(", ")),
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| (**error).source());
    let causes: Vec<_> = causes.map(ToString::to_string).collect();
    printable(&causes.join(": "))
}

impl fmt::Display for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "composed {} ({} bytes)", self.file.display(), self.size)?;
        writeln!(f, "exports  {}", list(&self.exports))?;
        write!(f, "imports  {}", list(&self.imports))?;
        for part in &self.manifests {
            write!(
                f,
                "\nthe manifest of {} asks for itself alone: write one for the whole and put it in \
                 with `lighterman push --manifest Component.toml`",
                part.display()
            )?;
        }
        Ok(())
    }
}
