//! What a component asks for, is granted and is refused, as lines of its status.
//!
//! Pure; `admit` calls it. Texts come from manifests: lines are bounded in number and
//! length.

use capability::{Ask, Grant, Refusal, Request};
use crds::bound;
use crds::component::CapabilitiesStatus;
use crds::condition::bounded;

/// What the status says. `strictly` are the refusals there would be if nothing were
/// optional: what a component may do without is not refused, but not had either.
pub(super) fn status(
    requests: &[Request],
    grant: &Grant,
    refusals: &[Refusal],
    strictly: impl FnOnce() -> Vec<Refusal>,
) -> CapabilitiesStatus {
    let asks = asks(requests);
    let requested = asks.iter().map(|(ask, optional)| {
        let optional = if *optional { " (optional)" } else { "" };
        format!("{ask}{optional}")
    });
    let mut refused: Vec<String> = refusals.iter().map(line).collect();
    if asks.iter().any(|(_, optional)| *optional) {
        let missing = strictly();
        let missing = missing.iter().filter(|refusal| !refusals.contains(refusal));
        refused.extend(missing.map(|refusal| format!("{} (optional)", line(refusal))));
    }
    CapabilitiesStatus {
        requested: some(requested.collect()),
        granted: some(granted(grant)),
        refused: some(refused),
        approval: None,
    }
}

/// A request whose every section is needed.
pub(super) fn demanding(request: &Request) -> Request {
    let mut request = request.clone();
    request.filesystem.optional = false;
    request.network.optional = false;
    request.environment.optional = false;
    request.storage.optional = false;
    request.messaging.optional = false;
    request.components.optional = false;
    request.process.optional = false;
    request
}

/// What all manifests ask for together, each once.
fn asks(requests: &[Request]) -> Vec<(Ask, bool)> {
    let by_all = |ask: &Ask| {
        let covered = |request: &Request| request.asks().any(|(asked, _)| asked.covers(ask));
        requests.iter().all(covered)
    };
    let mut found: Vec<(Ask, bool)> = Vec::new();
    for (ask, optional) in requests.iter().flat_map(Request::asks) {
        if by_all(&ask) && !found.iter().any(|(known, _)| *known == ask) {
            found.push((ask, optional));
        }
    }
    found
}

fn granted(grant: &Grant) -> Vec<String> {
    match grant {
        Grant::Listed {
            filesystem,
            outbound,
            process,
        } => {
            let files = filesystem.iter().flat_map(|entry| {
                let read = entry.read.iter().map(|glob| format!("read {glob}"));
                read.chain(entry.write.iter().map(|glob| format!("write {glob}")))
            });
            let connections = outbound.iter().map(|rule| format!("connect {rule}"));
            let executables = process.spawn.iter().map(|path| format!("spawn {path}"));
            let signal = process.signal.then(|| "signal".to_owned());
            files
                .chain(connections)
                .chain(executables)
                .chain(signal)
                .collect()
        }
        Grant::Requested { .. } => vec!["all that is requested".to_owned()],
    }
}

fn line(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.subject, super::reason(refusal.kind))
}

/// As many lines as the status has room for.
fn some(mut lines: Vec<String>) -> Vec<String> {
    let most = bound::CAPABILITY_LINES as usize;
    if lines.len() > most {
        let rest = lines.len() - (most - 1);
        lines.truncate(most - 1);
        lines.push(format!("and {rest} more"));
    }
    lines
        .into_iter()
        .map(|line| bounded(line, bound::CAPABILITY_LINE))
        .collect()
}
