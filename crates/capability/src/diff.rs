//! What a new version asks for beyond the last one that was approved, and the name of an
//! approval.
//!
//! Compare with what was *approved*, not with what ran before: many small steps would
//! otherwise lead anywhere. Called by the operator and by the command line.

use std::fmt;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::ask::Ask;
use crate::request::Request;

/// One thing that is asked for now and was not before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Increase {
    /// There is no manifest any more, so that the grant alone decides.
    NoManifest,
    /// A capability.
    Asks(Ask),
    /// A limit of its own that it raises or gives up.
    Limit {
        /// Key in the manifest.
        key: &'static str,
        /// What it was.
        from: String,
        /// What it is now. None: no limit of its own.
        to: Option<String>,
    },
}

/// A limit that a manifest sets itself: its key, and how to read it.
type Limit = (&'static str, fn(&Request) -> Option<u64>);

/// Bytes of the hash that name an approval: nobody can find another pair of artifact and
/// requests with the same 128 bits.
const APPROVAL_BYTES: usize = 16;

/// What `new` asks for and `old` did not, each once and in order. Manifests of one side hold
/// together; no manifest asks for everything.
#[must_use]
pub fn increases(old: &[Request], new: &[Request]) -> Vec<Increase> {
    if old.is_empty() {
        return Vec::new();
    }
    if new.is_empty() {
        return vec![Increase::NoManifest];
    }
    let mut found: Vec<Increase> = Vec::new();
    for (ask, _) in new.iter().flat_map(Request::asks) {
        let asked_by_all = asked_for(new, &ask);
        if asked_by_all && !asked_for(old, &ask) {
            found.push(Increase::Asks(ask));
        }
    }
    let limits: [Limit; 3] = [
        ("max_memory_bytes", |request| {
            request.limits.memory.map(|memory| memory.0)
        }),
        ("max_time_ms", |request| {
            request.limits.cpu_time.map(milliseconds)
        }),
        ("max_fuel", |request| request.limits.fuel),
    ];
    for (key, limit) in limits {
        let least = |requests: &[Request]| requests.iter().filter_map(limit).min();
        let Some(from) = least(old) else {
            continue;
        };
        let to = least(new);
        if to.is_none_or(|to| to > from) {
            found.push(Increase::Limit {
                key,
                from: from.to_string(),
                to: to.map(|to| to.to_string()),
            });
        }
    }
    found.sort();
    found.dedup();
    found
}

/// The name of an approval: of this artifact with these requests, and of no other. Hex.
#[must_use]
pub fn approval_hash(digest: &str, requests: &[Request]) -> String {
    let mut requests: Vec<String> = requests.iter().map(lines).collect();
    // The order of manifests and of their lists changes nothing that is approved.
    requests.sort();
    let hash = Sha256::digest(format!("{digest}\n\n{}", requests.join("\n\n")));
    let mut name = String::new();
    for byte in hash.iter().take(APPROVAL_BYTES) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether every manifest of one side asks for it. What cannot be proven is not.
pub(crate) fn asked_for(requests: &[Request], ask: &Ask) -> bool {
    requests
        .iter()
        .all(|request| request.asks().any(|(asked, _)| asked.covers(ask)))
}

/// Everything a person approves of a manifest, a line each.
fn lines(request: &Request) -> String {
    let mut lines: Vec<String> = request.asks().map(|(ask, _)| ask.to_string()).collect();
    let limits = &request.limits;
    lines.extend(limits.memory.map(|memory| format!("memory {memory}")));
    lines.extend(limits.cpu_time.map(|time| format!("cpu {time}")));
    lines.extend(limits.fuel.map(|fuel| format!("fuel {fuel}")));
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

fn milliseconds(span: crate::Span) -> u64 {
    u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Increase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoManifest => f.write_str("no manifest any more"),
            Self::Asks(ask) => ask.fmt(f),
            Self::Limit { key, from, to } => {
                let to = to.as_deref().unwrap_or("none");
                write!(f, "{key} from {from} to {to}")
            }
        }
    }
}
