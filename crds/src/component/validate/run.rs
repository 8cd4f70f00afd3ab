//! The rules of a component that runs by itself: nothing calls it, so what is said of calls and of
//! shares of requests is said of nothing; and what of a Service, where it has no ports.

use super::is_label;
use crate::bound;
use crate::component::{
    PortProtocol, Resources, RestartPolicy, RunPort, RunTrigger, ServiceSpec, Trigger,
    WasmComponentSpec,
};
use crate::problem::Problems;

/// What a trigger says of itself.
pub(super) fn trigger(problems: &mut Problems, field: &str, trigger: &Trigger) {
    let Some(RunTrigger {
        restart_policy,
        ports,
    }) = &trigger.run
    else {
        return;
    };
    if *restart_policy == RestartPolicy::Unknown {
        problems.add(
            format!("{field}.run.restartPolicy"),
            "is a policy that this version does not know",
            "write Always, OnFailure or Never",
        );
    }
    if trigger.from.is_some() && ports.is_empty() {
        problems.add(
            format!("{field}.from"),
            "says who may call, and nothing calls a component that runs without ports",
            "remove it, or add run.ports",
        );
    }
    if !ports.is_empty() && !matches!(restart_policy, RestartPolicy::Always) {
        problems.add(
            format!("{field}.run.restartPolicy"),
            "is that of a job, and a component with ports is a server",
            "write Always, or remove ports",
        );
    }
    self::ports(problems, &format!("{field}.run.ports"), ports);
}

fn ports(problems: &mut Problems, field: &str, ports: &[RunPort]) {
    problems.entries(field, ports.len(), bound::RUN_PORTS);
    let names = ports.iter().map(|port| port.name.as_str());
    problems.distinct(field, "name", names);
    let mut numbers = Vec::new();
    for (index, one) in ports.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let RunPort {
            name,
            port,
            protocol,
        } = one;
        if !is_label(name, bound::TRIGGER_NAME) {
            problems.add(
                format!("{field}.name"),
                format!("is `{name}`, which cannot be the name of a Service's port"),
                format!(
                    "write 1 to {} lower-case letters, digits and `-`, such as tcp",
                    bound::TRIGGER_NAME
                ),
            );
        }
        problems.within(&format!("{field}.port"), port, &1, &65_535);
        if numbers.contains(&port) {
            problems.add(
                format!("{field}.port"),
                format!("is {port}, as another one's"),
                "give each port a number of its own",
            );
        }
        numbers.push(port);
        if *protocol == PortProtocol::Unknown {
            problems.add(
                format!("{field}.protocol"),
                "is a protocol that this version does not know",
                "write TCP",
            );
        }
    }
}

/// What the rest of the spec says of a component with such a trigger.
pub(super) fn spec(problems: &mut Problems, spec: &WasmComponentSpec) {
    let health = spec.health.as_ref();
    let asks = health.is_some_and(|health| health.http_get.is_some());
    if !spec.is_run() {
        if health.is_some() && !asks {
            problems.add(
                "spec.health",
                "does not say what to ask",
                "add httpGet: {path: /healthz}, or remove health",
            );
        }
        return;
    }
    if spec.triggers.len() > 1 {
        problems.add(
            "spec.triggers",
            "has a run trigger beside another",
            "a run trigger stands alone; make a component of its own, of the same image, of each",
        );
    }
    let Resources {
        requests: _,
        per_replica,
        per_call,
    } = &spec.resources;
    let default = Resources::default();
    let calls = "is about calls, and nothing calls a component with a run trigger";
    let given = [
        ("spec.instances", spec.instances != Default::default()),
        ("spec.health.httpGet", asks),
        (
            "spec.resources.perCall.cpuTime",
            per_call.cpu_time != default.per_call.cpu_time,
        ),
        (
            "spec.resources.perCall.timeout",
            per_call.timeout != default.per_call.timeout,
        ),
        ("spec.resources.perCall.fuel", per_call.fuel.is_some()),
        ("spec.resources.perCall.io", per_call.io.is_some()),
        ("spec.rollout.canary", spec.rollout.canary.is_some()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(field, calls, "remove it");
    }
    let has_ports = spec.triggers.iter().any(|one| one.ports().next().is_some());
    if has_ports {
        return;
    }
    let given = [
        ("spec.service", spec.service != ServiceSpec::default()),
        (
            "spec.resources.perReplica.concurrency",
            per_replica.concurrency != default.per_replica.concurrency,
        ),
        ("spec.health", health.is_some() && !asks),
        ("spec.previews", !spec.previews.is_empty()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(
            field,
            "says how it is called, and nothing calls a component whose run trigger has no ports",
            "remove it, or add ports to the trigger",
        );
    }
}
