//! `lighterman suggest`: the smallest manifest and grant that cover what was seen.
//!
//! Exact paths, hosts and ports only. What a component did is no reason to let it, so the
//! answer says whom it was heard from, and leaves widening to whoever signs.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::BufReader;

use capability::judge::{Addition, Mend};
use capability::{Grant, Limits, Reach, Refusal, Request, judge};
use serde::Serialize;

use crate::args::Suggest;
use crate::failure::Failure;
use crate::observed::{self, Observed};
use crate::output::printable;

/// One proposal for each component.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Proposals(Vec<Proposal>);

/// What would cover one component.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Proposal {
    /// `namespace/name`.
    component: String,
    /// Where it comes from, for whoever reads only this.
    origin: &'static str,
    /// Records of things that it was let do.
    allowed: u64,
    /// Records of things that it was denied.
    denied: u64,
    /// Component.toml.
    manifest: String,
    /// YAML to go below `spec:`; absent when it needs none.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    /// What was seen and is not covered.
    notes: Vec<String>,
}

const ORIGIN: &str = "observed from untrusted code: read every line before you sign or apply it";
/// For the publisher to replace.
const VERSION: &str = "0.1.0";

/// Reads the file and proposes.
pub(crate) fn run(args: &Suggest) -> Result<Proposals, Failure> {
    let name = args.file.display();
    let file = File::open(&args.file).map_err(|error| Failure::file(&args.file, "read", &error))?;
    let mut components = observed::read(BufReader::new(file)).map_err(|(line, error)| {
        Failure::unavailable(
            format!("{name}, line {line}: {error}"),
            "name a file that `lighterman run --observe` or an agent wrote",
        )
    })?;
    if !args.component.is_empty() {
        components = chosen(components, &args.component)?;
    }
    if components.is_empty() {
        return Err(Failure::refused(
            format!("{name} has no records"),
            "use the component while `lighterman run --observe` runs",
        ));
    }
    Ok(Proposals(
        components
            .into_iter()
            .map(|(component, observed)| propose(component, observed))
            .collect(),
    ))
}

fn chosen(
    mut components: BTreeMap<String, Observed>,
    names: &[String],
) -> Result<BTreeMap<String, Observed>, Failure> {
    let mut chosen = BTreeMap::new();
    for name in names {
        let Some(observed) = components.remove(name) else {
            let there: Vec<_> = components.into_keys().collect();
            return Err(Failure::usage(
                format!("there are no records of {name}"),
                format!("name one of {}", there.join(", ")),
            ));
        };
        chosen.insert(name.clone(), observed);
    }
    Ok(chosen)
}

fn propose(component: String, observed: Observed) -> Proposal {
    let mut request = Request::default();
    request.component.name = component.rsplit('/').next().unwrap_or_default().to_owned();
    VERSION.clone_into(&mut request.component.version);
    request.filesystem.read = observed.read.into_iter().collect();
    request.filesystem.write = observed.write.into_iter().collect();
    request.network.hosts = observed.hosts.into_iter().collect();
    request.process.spawn = observed.spawn.into_iter().collect();
    request.process.signal = observed.signal;
    request.environment.variables = observed.variables.into_iter().collect();

    let mut missing = judge(
        std::slice::from_ref(&request),
        &Grant::default(),
        &[],
        &Limits::default(),
    );
    for refusal in &mut missing {
        if let Some(Mend::Component(Addition::Outbound(rule))) = &mut refusal.mend
            && observed.private.contains(&rule.host)
        {
            rule.reach = Reach::Private;
        }
    }
    Proposal {
        component,
        origin: ORIGIN,
        allowed: observed.allowed,
        denied: observed.denied,
        manifest: manifest(&request),
        grant: Refusal::component_yaml(&missing),
        notes: observed.notes.into_iter().collect(),
    }
}

/// The text of a Component.toml.
fn manifest(request: &Request) -> String {
    let mut toml = format!(
        "# {ORIGIN}.\n[component]\nname = {}\nversion = {}  # yours to say\n",
        quoted(&request.component.name),
        quoted(&request.component.version),
    );
    let files = &request.filesystem;
    section(
        &mut toml,
        "filesystem",
        &[
            ("readable_paths", texts(&files.read)),
            ("writable_paths", texts(&files.write)),
        ],
    );
    let hosts = texts(&request.network.hosts);
    section(&mut toml, "network", &[("allowed_hosts", hosts)]);
    let variables = texts(&request.environment.variables);
    section(&mut toml, "environment", &[("variables", variables)]);
    let process = &request.process;
    section(&mut toml, "process", &[("spawn", texts(&process.spawn))]);
    // Whoever sends signals has started something, unless that record was lost.
    if process.signal && !process.spawn.is_empty() {
        toml.push_str("signal = true\n");
    }
    toml
}

fn section(toml: &mut String, name: &str, lists: &[(&str, Vec<String>)]) {
    if lists.iter().all(|(_, entries)| entries.is_empty()) {
        return;
    }
    // Writing to a string does not fail.
    let _ = writeln!(toml, "\n[permissions.{name}]");
    for (key, entries) in lists.iter().filter(|(_, entries)| !entries.is_empty()) {
        let _ = writeln!(toml, "{key} = [");
        for entry in entries {
            let _ = writeln!(toml, "    {},", quoted(entry));
        }
        let _ = writeln!(toml, "]");
    }
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// A string of JSON is one of TOML, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl fmt::Display for Proposals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, proposal) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            proposal.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "# {}: {} uses and {} denials\n\n# ---- Component.toml",
            printable(&self.component),
            self.allowed,
            self.denied
        )?;
        f.write_str(&self.manifest)?;
        match &self.grant {
            None => write!(f, "\n# ---- WasmComponent: needs no grant")?,
            Some(grant) => write!(
                f,
                "\n# ---- WasmComponent\n# {ORIGIN}.\nspec:\n{}",
                grant.trim_end()
            )?,
        }
        for note in &self.notes {
            write!(f, "\n# not covered: {}", printable(note))?;
        }
        Ok(())
    }
}
