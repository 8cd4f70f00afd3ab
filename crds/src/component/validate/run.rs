//! The rules of a component that runs by itself: nothing calls it, so what is said of calls, of
//! a Service and of shares of requests is said of nothing.

use crate::component::{
    Resources, RestartPolicy, RunTrigger, ServiceSpec, Trigger, WasmComponentSpec,
};
use crate::problem::Problems;

/// What a trigger says of itself.
pub(super) fn trigger(problems: &mut Problems, field: &str, trigger: &Trigger) {
    let Some(RunTrigger { restart_policy }) = &trigger.run else {
        return;
    };
    if *restart_policy == RestartPolicy::Unknown {
        problems.add(
            format!("{field}.run.restartPolicy"),
            "is a policy that this version does not know",
            "write Always, OnFailure or Never",
        );
    }
    if trigger.from.is_some() {
        problems.add(
            format!("{field}.from"),
            "says who may call, and nothing calls a component that runs by itself",
            "remove it",
        );
    }
}

/// What the rest of the spec says of a component with such a trigger.
pub(super) fn spec(problems: &mut Problems, spec: &WasmComponentSpec) {
    if !spec.is_run() {
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
        ("spec.service", spec.service != ServiceSpec::default()),
        ("spec.instances", spec.instances != Default::default()),
        (
            "spec.resources.perReplica.concurrency",
            per_replica.concurrency != default.per_replica.concurrency,
        ),
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
        ("spec.health", spec.health.is_some()),
        ("spec.rollout.canary", spec.rollout.canary.is_some()),
        ("spec.previews", !spec.previews.is_empty()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(field, calls, "remove it");
    }
}
