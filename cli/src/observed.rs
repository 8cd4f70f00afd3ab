//! What components were seen to do, gathered from audit records.
//!
//! The records tell of untrusted code, in words that it chose: whatever cannot be taken
//! letter for letter is told and not used, and nothing here is ever widened to a pattern.
//! Knows the lines of an audit file; `suggest` makes manifest and grant of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;

use capability::outbound::HostRequest;
use capability::path::{GuestPath, PathGlob};
use capability::request::VariablePattern;
use capability::{HostName, HostPattern, Ports, Protocol};
use serde::Deserialize;

/// What one component was seen to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Records of things that it was let do.
    pub(crate) allowed: u64,
    /// Records of things that it was denied.
    pub(crate) denied: u64,
    /// What it read and listed.
    pub(crate) read: BTreeSet<PathGlob>,
    /// What it wrote, made and removed.
    pub(crate) write: BTreeSet<PathGlob>,
    /// Where it connected to.
    pub(crate) hosts: BTreeSet<HostRequest>,
    /// Hosts of these that stand for private addresses.
    pub(crate) private: BTreeSet<HostPattern>,
    /// Variables that it is given and does not ask for.
    pub(crate) variables: BTreeSet<VariablePattern>,
    /// What it started.
    pub(crate) spawn: BTreeSet<GuestPath>,
    /// Whether it sent signals.
    pub(crate) signal: bool,
    /// What no manifest and no grant can make of it, each once.
    pub(crate) notes: BTreeSet<String>,
}

/// One line of an audit file, as far as it is needed here.
#[derive(Deserialize)]
struct Record {
    namespace: String,
    component: String,
    capability: String,
    object: String,
    allowed: bool,
    #[serde(default)]
    rule: String,
}

/// A line with every field at its longest is far below it.
const LINE_MAX: u64 = 64 << 10;
/// Different things of one component; a guest that makes up paths must not fill the memory.
const OBJECTS_MAX: usize = 2_000;

/// Records of the component itself and not of what it did.
const RUNNING: [&str; 2] = ["lifecycle", "usage"];
/// Denials that request, grant and policy can turn into permissions.
const GRANTABLE: [&str; 4] = ["NotRequested", "NotGranted", "NoCeiling", "AboveCeiling"];
/// The denial that `reach: Private` mends.
const PRIVATE: &str = "PrivateAddress";

/// Reads an audit file: what each component did, by `namespace/name`.
///
/// # Errors
/// The number of the first line that is no audit record, and what is wrong with it.
pub(crate) fn read(mut file: impl BufRead) -> Result<BTreeMap<String, Observed>, (u64, String)> {
    let mut components: BTreeMap<String, Observed> = BTreeMap::new();
    let mut line = String::new();
    for number in 1.. {
        line.clear();
        let mut bounded = std::io::Read::take(&mut file, LINE_MAX);
        let length = bounded
            .read_line(&mut line)
            .map_err(|error| (number, error.to_string()))?;
        if length == 0 {
            break;
        }
        if line.trim().is_empty() {
            continue;
        }
        let record: Record =
            serde_json::from_str(&line).map_err(|error| (number, error.to_string()))?;
        let component = format!("{}/{}", record.namespace, record.component);
        components.entry(component).or_default().add(&record);
    }
    Ok(components)
}

impl Observed {
    fn add(&mut self, record: &Record) {
        if RUNNING.contains(&record.capability.as_str()) {
            return;
        }
        if record.allowed {
            self.allowed = self.allowed.saturating_add(1);
        } else {
            self.denied = self.denied.saturating_add(1);
        }
        if self.objects() >= OBJECTS_MAX {
            self.notes.insert(format!(
                "more than {OBJECTS_MAX} different things were seen; the rest is left out"
            ));
            return;
        }
        // `AboveCeiling of CapabilityPolicy …`: the first word is the rule's own name.
        let rule = record.rule.split(' ').next().unwrap_or_default();
        let is_private = rule == PRIVATE;
        if !record.allowed && !is_private && !GRANTABLE.contains(&rule) {
            self.note(record, format!("nothing grants it ({rule})"));
            return;
        }
        let taken = match record.capability.as_str() {
            "file-read" => path(&record.object).map(|path| self.read.insert(path)),
            "file-write" => path(&record.object).map(|path| self.write.insert(path)),
            "network" => destination(&record.object).map(|host| {
                if is_private {
                    self.private.insert(host.host.clone());
                }
                self.hosts.insert(host)
            }),
            "environment" => variable(&record.object).map(|name| self.variables.insert(name)),
            "spawn" => executable(&record.object).map(|path| self.spawn.insert(path)),
            "signal" => {
                self.signal = true;
                return;
            }
            "name-lookup" if !record.allowed => {
                self.note(
                    record,
                    "name the port and protocol that it is meant for".to_owned(),
                );
                return;
            }
            // A lookup that was allowed, a credential: nothing of their own to grant.
            _ => return,
        };
        if taken.is_none() {
            self.note(record, "it cannot be written as it is".to_owned());
        }
    }

    fn objects(&self) -> usize {
        self.read.len()
            + self.write.len()
            + self.hosts.len()
            + self.variables.len()
            + self.spawn.len()
            + self.notes.len()
    }

    fn note(&mut self, record: &Record, why: String) {
        self.notes
            .insert(format!("{} {}: {why}", record.capability, record.object));
    }
}

/// The glob of one path and no other.
fn path(object: &str) -> Option<PathGlob> {
    // A `*` in a name would become a pattern, and what was cut or escaped is another name.
    if object.contains(['*', '…', '\\']) {
        return None;
    }
    let path: GuestPath = object.parse().ok()?;
    path.as_str().parse().ok()
}

/// One executable, as it stands.
fn executable(object: &str) -> Option<GuestPath> {
    if object.contains(['*', '…', '\\']) {
        return None;
    }
    let path: GuestPath = object.parse().ok()?;
    (path.as_str() == object).then_some(path)
}

/// `HTTPS api.example.com:443`, with the address it stood for or without.
fn destination(object: &str) -> Option<HostRequest> {
    let (protocol, rest) = object.split_once(' ')?;
    let protocol = Protocol::ALL
        .into_iter()
        .find(|known| known.name() == protocol)?;
    let place = rest.split_once(" at ").map_or(rest, |(place, _)| place);
    let (host, port) = place.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let ports = Ports::one(port);
    Some(HostRequest {
        host: HostPattern::exact(HostName::parse(host).ok()?),
        ports: (protocol.default_ports() != Some(ports)).then_some(ports),
        protocol: Some(protocol),
    })
}

fn variable(object: &str) -> Option<VariablePattern> {
    if object.contains(['*', '…', '\\']) {
        return None;
    }
    object.parse().ok()
}
