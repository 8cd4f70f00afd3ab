//! Every rule that the API server applies to a `CapabilityPolicy` through its schema
//! and CEL, in plain Rust and each with its mend. Pure; for files, which meet no API
//! server, and for the operator, which reports a policy that it cannot apply whole.

use capability::{Bytes, Limits};

use super::{
    Allow, AllowNetwork, AllowOutbound, CapabilityPolicy, CapabilityPolicySpec, LimitCeilings,
    OnIncrease, PerCallCeiling, PerReplicaCeiling, Totals, VolumeKind,
};
use crate::bound;
use crate::component::validate::{outbound, process};
use crate::problem::{Problem, Problems};
use crate::trust_policy::PolicyMode;

/// Every fault of a policy that the schema and its CEL rules would refuse.
pub fn problems(policy: &CapabilityPolicy) -> Vec<Problem> {
    let mut problems = Problems::default();
    let CapabilityPolicySpec {
        namespace_selector: _,
        mode,
        allow,
        limits,
        totals,
        require_manifest: _,
        on_increase,
    } = &policy.spec;
    if *mode == PolicyMode::Unknown {
        problems.add("spec.mode", "is not known", "write Enforce or Audit");
    }
    self::allow(&mut problems, allow);
    self::limits(&mut problems, limits);
    self::totals(&mut problems, totals);
    if *on_increase == OnIncrease::Unknown {
        problems.add("spec.onIncrease", "is not known", "write Hold or Allow");
    }
    problems.into_vec()
}

fn allow(problems: &mut Problems, allow: &Allow) {
    let Allow {
        volumes,
        host_paths,
        network: AllowNetwork { outbound: places },
        process,
        instance_reuse: _,
    } = allow;
    process::check(problems, "spec.allow.process", process);
    problems.entries("spec.allow.volumes", volumes.len(), VolumeKind::COUNT);
    for (index, kind) in volumes.iter().enumerate() {
        let field = format!("spec.allow.volumes[{index}]");
        if *kind == VolumeKind::Unknown {
            problems.add(
                &field,
                "is a kind of volume that this version does not know",
                "write emptyDir, configMap, secret or hostPath",
            );
        }
    }
    outbound::unrepeated(problems, "spec.allow.volumes", volumes);
    outbound::path_globs(problems, "spec.allow.hostPaths", host_paths);
    if !host_paths.is_empty() && !volumes.contains(&VolumeKind::HostPath) {
        problems.add(
            "spec.allow.hostPaths",
            "has no effect while spec.allow.volumes does not allow hostPath",
            "add hostPath to volumes, or remove hostPaths",
        );
    }
    let list = "spec.allow.network.outbound";
    problems.entries(list, places.len(), bound::OUTBOUND);
    for (index, place) in places.iter().enumerate() {
        let AllowOutbound {
            host,
            port,
            protocol,
            reach,
        } = place;
        let field = format!("{list}[{index}]");
        outbound::host(problems, &field, host, true);
        outbound::port(problems, &field, port.as_ref());
        outbound::protocol(problems, &field, *protocol, *reach);
    }
}

fn limits(problems: &mut Problems, limits: &LimitCeilings) {
    let LimitCeilings {
        per_call:
            PerCallCeiling {
                memory,
                cpu_time,
                timeout,
                fuel,
                io,
            },
        per_replica:
            PerReplicaCeiling {
                concurrency,
                memory: replica_memory,
            },
    } = limits;
    let list = "spec.limits";
    for (name, found, most) in [
        ("perCall.memory", memory, Limits::PER_CALL_MEMORY_MAX),
        (
            "perReplica.memory",
            replica_memory,
            Limits::PER_REPLICA_MEMORY_MAX,
        ),
    ] {
        if let Some(found) = found {
            problems.within(&format!("{list}.{name}"), found, &Limits::MEMORY_MIN, &most);
        }
    }
    for (name, found) in [("perCall.cpuTime", cpu_time), ("perCall.timeout", timeout)] {
        if let Some(found) = found {
            let (least, most) = (Limits::TIME_MIN, Limits::TIMEOUT_MAX);
            problems.within(&format!("{list}.{name}"), found, &least, &most);
        }
    }
    if let Some(fuel) = fuel {
        let (least, most) = (Limits::FUEL_MIN, Limits::FUEL_MAX);
        problems.within("spec.limits.perCall.fuel", fuel, &least, &most);
    }
    if let Some(io) = io {
        let (least, most) = (Limits::IO_MIN, Limits::IO_MAX);
        problems.within("spec.limits.perCall.io", io, &least, &most);
    }
    if let Some(concurrency) = concurrency {
        problems.within(
            "spec.limits.perReplica.concurrency",
            concurrency,
            &1,
            &Limits::CONCURRENCY_MAX,
        );
    }
}

fn totals(problems: &mut Problems, totals: &Totals) {
    let Totals {
        components,
        memory,
        ports,
    } = totals;
    if let Some(components) = components {
        problems.within(
            "spec.totals.components",
            components,
            &0,
            &bound::TOTAL_COMPONENTS,
        );
    }
    if let Some(memory) = memory {
        problems.within(
            "spec.totals.memory",
            memory,
            &Bytes(0),
            &bound::TOTAL_MEMORY_MAX,
        );
    }
    if let Some(ports) = ports {
        problems.within("spec.totals.ports", ports, &0, &bound::TOTAL_PORTS);
    }
}
