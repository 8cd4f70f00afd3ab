//! Whether a component may start with what it asks for and is granted, and if not, what would
//! mend it.
//!
//! Pure, and run by the operator, by the agent and by the command line over the same values.
//! What is judged here ahead is only what can be seen ahead; every call is judged again by
//! [`crate::Effective`]. What cannot be proven covered is not.

mod mend;
mod snippet;

use crate::ask::Ask;
use crate::ceiling::Ceiling;
use crate::diff::asked_for;
use crate::effective::is_read_only;
use crate::grant::{Grant, MountPoint};
use crate::host::{HostName, HostPattern};
use crate::limits::Limits;
use crate::outbound::{HostRequest, OutboundRule, Protocol, Reach};
use crate::path::PathGlob;
use crate::process::ProcessRights;
use crate::reach::{Class, classify};
use crate::request::Request;
pub use mend::{Addition, Mend};

/// Why a component may not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The class of it.
    pub kind: RefusalKind,
    /// What it is about, in a few words: `connect api.example.com`.
    pub subject: String,
    /// The thing at fault and what mends it, in one sentence.
    pub message: String,
    /// The YAML that mends it, where YAML does.
    pub mend: Option<Mend>,
}

/// The class of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalKind {
    /// A policy wants a manifest and there is none.
    ManifestRequired,
    /// Asked for, and nothing here can give it.
    NotSupported,
    /// Asked for and not granted.
    NotGranted,
    /// Granted, and a policy does not admit it.
    AboveCeiling,
    /// A limit that a policy does not admit.
    LimitAboveCeiling,
}

/// Judges a component before it starts. Nothing found: it may.
///
/// `requests` are its manifests, which hold together; none when it has none.
#[must_use]
pub fn judge(
    requests: &[Request],
    grant: &Grant,
    ceilings: &[Ceiling],
    limits: &Limits,
) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if requests.is_empty() {
        refusals.extend(manifest_required(grant, ceilings));
    }
    for request in requests {
        judge_request(request, requests, grant, ceilings, &mut refusals);
    }
    let reuses = limits.instances.max_requests > 1;
    if ceilings.is_empty() && (reuses || wants_something(requests, grant)) {
        refusals.push(no_ceiling());
    }
    judge_grant(grant, ceilings, &mut refusals);
    judge_reuse(limits, ceilings, &mut refusals);
    let limits = effective_limits(requests, limits);
    refusals.extend(judge_uncounted(&limits, grant));
    for ceiling in ceilings {
        judge_limits(&limits, ceiling, &mut refusals);
    }
    let mut unique: Vec<Refusal> = Vec::new();
    for refusal in refusals {
        if !unique.contains(&refusal) {
            unique.push(refusal);
        }
    }
    unique
}

/// The limits that hold for a component: its own, and no more than its manifests ask for.
#[must_use]
pub fn effective_limits(requests: &[Request], limits: &Limits) -> Limits {
    let mut lowered = limits.clone();
    for request in requests {
        let asked = &request.limits;
        let per_call = &mut lowered.per_call;
        per_call.memory = asked.memory.unwrap_or(per_call.memory).min(per_call.memory);
        per_call.cpu_time = asked
            .cpu_time
            .unwrap_or(per_call.cpu_time)
            .min(per_call.cpu_time);
        let fuel = [asked.fuel, per_call.fuel];
        per_call.fuel = fuel.into_iter().flatten().min();
    }
    lowered
}

/// The limits of a component that runs by itself: one run holds as much as a replica may, or what
/// its manifests say themselves, and nothing else of a call's limits is about it.
#[must_use]
pub fn run_limits(requests: &[Request], limits: &Limits) -> Limits {
    let mut of_run = limits.clone();
    let asked = requests.iter().filter_map(|request| request.limits.memory);
    let most = limits.per_replica.memory;
    let per_call = &mut of_run.per_call;
    per_call.memory = asked.fold(most, |most, asked| most.min(asked));
    (per_call.fuel, per_call.io) = (None, None);
    of_run
}

impl Refusal {
    /// What several refusals want of the component's own object, in one piece of YAML to be
    /// pasted under its `spec:`. None when it cannot mend them.
    #[must_use]
    pub fn component_yaml(refusals: &[Self]) -> Option<String> {
        let additions: Vec<&Addition> = refusals
            .iter()
            .filter_map(|refusal| match &refusal.mend {
                Some(Mend::Component(addition)) => Some(addition),
                Some(Mend::Policy(..)) | None => None,
            })
            .collect();
        (!additions.is_empty()).then(|| snippet::component(&additions))
    }
}

fn manifest_required(grant: &Grant, ceilings: &[Ceiling]) -> Option<Refusal> {
    let embed = "embed one with `lighterman push --manifest Component.toml`, or attach it as a signed attestation";
    let message = match ceilings.iter().find(|ceiling| ceiling.require_manifest) {
        Some(ceiling) => format!(
            "the component has no manifest, and CapabilityPolicy {} requires one: {embed}",
            ceiling.policy
        ),
        None if matches!(grant, Grant::Requested { .. }) => format!(
            "the component has no manifest, so `capabilities.grant: Requested` gives it nothing: {embed}, or list what it needs with `grant: Listed`"
        ),
        None => return None,
    };
    Some(Refusal {
        kind: RefusalKind::ManifestRequired,
        subject: "manifest".to_owned(),
        message,
        mend: None,
    })
}

fn judge_request(
    request: &Request,
    all: &[Request],
    grant: &Grant,
    ceilings: &[Ceiling],
    refusals: &mut Vec<Refusal>,
) {
    for (ask, optional) in request.asks() {
        // What another manifest leaves out is not asked for.
        if optional || !asked_for(all, &ask) {
            continue;
        }
        if let Some(reason) = ask.unsupported() {
            refusals.push(Refusal {
                kind: RefusalKind::NotSupported,
                subject: ask.to_string(),
                message: format!(
                    "the manifest asks to {ask}, and {reason}; leave it out of Component.toml, or write `optional = true` in its section if the component works without it"
                ),
                mend: None,
            });
            continue;
        }
        let refusal = match &ask {
            Ask::Read(glob) => judge_files(&ask, glob, false, grant),
            Ask::Write(glob) => judge_files(&ask, glob, true, grant),
            Ask::Connect(host) => judge_connection(&ask, host, grant, ceilings),
            Ask::Spawn(executable) => {
                let starts = |rights: &ProcessRights| rights.starts(executable);
                let addition = Addition::Spawn(executable.clone());
                judge_process(&ask, starts, addition, grant, ceilings)
            }
            Ask::Signal => {
                let signals = |rights: &ProcessRights| rights.signal;
                judge_process(&ask, signals, Addition::Signal, grant, ceilings)
            }
            // A variable that is not given is not there; components start without.
            _ => None,
        };
        refusals.extend(refusal);
    }
}

fn judge_files(ask: &Ask, glob: &PathGlob, writes: bool, grant: &Grant) -> Option<Refusal> {
    let usable = |mount: &MountPoint| !(writes && is_read_only(mount.source.kind()));
    let granted = match grant {
        Grant::Requested { mounts } => mounts
            .iter()
            .any(|mount| usable(mount) && PathGlob::below(&mount.path).covers(glob)),
        Grant::Listed { filesystem, .. } => filesystem.iter().any(|entry| {
            let globs = if writes { &entry.write } else { &entry.read };
            usable(&entry.mount)
                && PathGlob::below(&entry.mount.path).covers(glob)
                && globs.iter().any(|granted| granted.covers(glob))
        }),
    };
    (!granted).then(|| {
        let addition = snippet::mount_for(glob, writes, grant);
        not_granted(ask, addition.map(Mend::Component))
    })
}

fn judge_connection(
    ask: &Ask,
    host: &HostRequest,
    grant: &Grant,
    ceilings: &[Ceiling],
) -> Option<Refusal> {
    match grant {
        Grant::Listed { outbound, .. } => {
            let granted = host
                .alternatives()
                .any(|wanted| outbound.iter().any(|rule| rule.covers(&wanted)));
            if granted {
                return None;
            }
            let mend = host.alternatives().next().map(|wanted| {
                let reach = likely_reach(&wanted.host);
                Addition::Outbound(OutboundRule { reach, ..wanted })
            });
            Some(not_granted(ask, mend.map(Mend::Component)))
        }
        Grant::Requested { .. } => {
            let refusing = |wanted: &OutboundRule| {
                ceilings
                    .iter()
                    .find(|ceiling| !ceiling.allow.admits_outbound(wanted))
            };
            if host
                .alternatives()
                .any(|wanted| refusing(&wanted).is_none())
            {
                return None;
            }
            let wanted = host.alternatives().next()?;
            let policy = &refusing(&wanted)?.policy;
            Some(above_ceiling(
                ask.to_string(),
                policy,
                Addition::Outbound(wanted),
            ))
        }
    }
}

fn judge_process(
    ask: &Ask,
    allowed: impl Fn(&ProcessRights) -> bool,
    addition: Addition,
    grant: &Grant,
    ceilings: &[Ceiling],
) -> Option<Refusal> {
    match grant {
        Grant::Listed { process, .. } => {
            (!allowed(process)).then(|| not_granted(ask, Some(Mend::Component(addition))))
        }
        Grant::Requested { .. } => {
            let refuses = |ceiling: &&Ceiling| !allowed(&ceiling.allow.process);
            let policy = &ceilings.iter().find(refuses)?.policy;
            Some(above_ceiling(ask.to_string(), policy, addition))
        }
    }
}

/// What a person would have to write for this host: nothing else tells them before the first
/// call that an address of their own network needs more than the default.
fn likely_reach(host: &HostPattern) -> Reach {
    let private = match host.as_exact().and_then(HostName::address) {
        Some(address) => classify(address) == Class::Private,
        None => {
            let name = host.to_string();
            name.ends_with(".svc") || name.ends_with(".cluster.local")
        }
    };
    match private {
        true => Reach::Private,
        false => Reach::Public,
    }
}

fn not_granted(ask: &Ask, mend: Option<Mend>) -> Refusal {
    Refusal {
        kind: RefusalKind::NotGranted,
        subject: ask.to_string(),
        message: format!(
            "the manifest asks to {ask}, and spec.capabilities does not grant it: add it there, or write `optional = true` in its section of Component.toml if the component works without it"
        ),
        mend,
    }
}

/// Whether anything is granted that needs a policy to admit it.
fn wants_something(requests: &[Request], grant: &Grant) -> bool {
    let asks = |request: &Request| {
        let process = &request.process;
        !request.network.hosts.is_empty() || !process.spawn.is_empty() || process.signal
    };
    match grant {
        Grant::Listed {
            filesystem,
            outbound,
            process,
        } => !filesystem.is_empty() || !outbound.is_empty() || !process.is_empty(),
        Grant::Requested { mounts } => !mounts.is_empty() || requests.iter().any(asks),
    }
}

fn no_ceiling() -> Refusal {
    Refusal {
        kind: RefusalKind::AboveCeiling,
        subject: "capabilities".to_owned(),
        message: "no CapabilityPolicy with mode: Enforce selects the namespace, so nothing can be granted: ask the platform team for one, or take spec.capabilities and spec.instances out".to_owned(),
        mend: None,
    }
}

fn judge_grant(grant: &Grant, ceilings: &[Ceiling], refusals: &mut Vec<Refusal>) {
    if let Grant::Listed { filesystem, .. } = grant {
        for entry in filesystem {
            if is_read_only(entry.mount.source.kind()) && !entry.write.is_empty() {
                refusals.push(Refusal {
                    kind: RefusalKind::NotSupported,
                    subject: format!("write {}", entry.mount.path),
                    message: format!(
                        "volume {} is a {} and cannot be written to: take `write` out of its entry in spec.capabilities.filesystem, or use an emptyDir",
                        entry.mount.volume,
                        entry.mount.source.kind()
                    ),
                    mend: None,
                });
            }
        }
    }
    for ceiling in ceilings {
        for mount in grant.mounts() {
            if !ceiling.allow.admits_volume(&mount.source) {
                refusals.push(above_ceiling(
                    format!("volume {} ({})", mount.volume, mount.source.kind()),
                    &ceiling.policy,
                    Addition::Volume(mount.source.clone()),
                ));
            }
        }
        for rule in grant.outbound() {
            if !ceiling.allow.admits_outbound(rule) {
                refusals.push(above_ceiling(
                    rule.to_string(),
                    &ceiling.policy,
                    Addition::Outbound(rule.clone()),
                ));
            }
        }
        let Some(process) = grant.process() else {
            continue;
        };
        let admitted = &ceiling.allow.process;
        for executable in &process.spawn {
            if !admitted.starts(executable) {
                refusals.push(above_ceiling(
                    format!("spawn {executable}"),
                    &ceiling.policy,
                    Addition::Spawn(executable.clone()),
                ));
            }
        }
        if process.signal && !admitted.signal {
            refusals.push(above_ceiling(
                "signal".to_owned(),
                &ceiling.policy,
                Addition::Signal,
            ));
        }
    }
}

fn above_ceiling(subject: String, policy: &str, addition: Addition) -> Refusal {
    Refusal {
        kind: RefusalKind::AboveCeiling,
        message: format!(
            "CapabilityPolicy {policy} does not admit {subject}: take it out of spec.capabilities, or ask the platform team to add it to spec.allow of that policy"
        ),
        subject,
        mend: Some(Mend::Policy(policy.to_owned(), addition)),
    }
}

fn judge_reuse(limits: &Limits, ceilings: &[Ceiling], refusals: &mut Vec<Refusal>) {
    if limits.instances.max_requests <= 1 {
        return;
    }
    let refusing = |ceiling: &&Ceiling| !ceiling.allow.instance_reuse;
    for Ceiling { policy, .. } in ceilings.iter().filter(refusing) {
        refusals.push(Refusal {
            kind: RefusalKind::AboveCeiling,
            subject: "instances.maxRequests".to_owned(),
            message: format!(
                "CapabilityPolicy {policy} does not admit that an instance answers more than one request, because callers would share its memory: take out spec.instances, or ask the platform team for allow.instanceReuse in that policy"
            ),
            mend: Some(Mend::Policy(policy.clone(), Addition::InstanceReuse)),
        });
    }
}

/// Bytes through raw sockets are not counted, so a limit of them would not hold.
fn judge_uncounted(limits: &Limits, grant: &Grant) -> Option<Refusal> {
    limits.per_call.io?;
    let Grant::Listed { outbound, .. } = grant else {
        return None;
    };
    let is_raw = |rule: &&OutboundRule| matches!(rule.protocol, Protocol::Tcp | Protocol::Udp);
    let raw = outbound.iter().find(is_raw)?;
    Some(Refusal {
        kind: RefusalKind::NotSupported,
        subject: "perCall.io".to_owned(),
        message: format!(
            "spec.resources.perCall.io limits bytes, and those of raw {} sockets are not counted: take it out, or grant HTTP or HTTPS in place of {}",
            raw.protocol, raw.protocol
        ),
        mend: None,
    })
}

fn judge_limits(limits: &Limits, ceiling: &Ceiling, refusals: &mut Vec<Refusal>) {
    for excess in ceiling.limits.exceeded_by(limits) {
        refusals.push(Refusal {
            kind: RefusalKind::LimitAboveCeiling,
            subject: excess.field.to_owned(),
            message: format!(
                "spec.resources.{} is {}, and CapabilityPolicy {} admits at most {}: write that or less, or ask the platform team to raise spec.limits of that policy",
                excess.field, excess.found, ceiling.policy, excess.most
            ),
            mend: Some(Mend::Component(Addition::Limit {
                field: excess.field,
                value: excess.most,
            })),
        });
    }
}
