//! The rules of functions that are called over the network: what is open, and to whom.

use crate::bound;
use crate::component::invoke::is_interface;
use crate::component::{Instances, InvokeAuth, InvokeTrigger, Trigger, WasmComponentSpec};
use crate::problem::Problems;

/// What a trigger says of itself.
pub(super) fn trigger(problems: &mut Problems, field: &str, trigger: &Trigger) {
    let Some(InvokeTrigger {
        port,
        interfaces,
        max_request_body,
        auth: InvokeAuth { none },
    }) = &trigger.invoke
    else {
        return;
    };
    let field = format!("{field}.invoke");
    problems.within(&format!("{field}.port"), port, &1, &65_535);
    if interfaces.is_empty() {
        problems.add(format!("{field}.interfaces"), "is empty", "add at least 1");
    }
    problems.entries(
        &format!("{field}.interfaces"),
        interfaces.len(),
        bound::INTERFACES,
    );
    for (index, interface) in interfaces.iter().enumerate() {
        let field = format!("{field}.interfaces[{index}]");
        problems.length(&field, interface, bound::INTERFACE);
        if !is_interface(interface) {
            problems.add(
                field,
                format!("is `{interface}`, which names no interface"),
                "write it as the component exports it, with a version or a part of one, such as acme:math/tools@1",
            );
        }
    }
    if *max_request_body > bound::INVOKE_BODY_MAX {
        problems.add(
            format!("{field}.maxRequestBody"),
            format!("is {max_request_body}"),
            format!("write at most {}", bound::INVOKE_BODY_MAX),
        );
    }
    if none.is_none() {
        problems.add(
            format!("{field}.auth"),
            "does not say how callers show who they are",
            "write auth: {none: {}} to let in whoever reaches the port, and from to say who does",
        );
    }
}

/// What the rest of the spec says, where functions are all that is called.
pub(super) fn spec(problems: &mut Problems, spec: &WasmComponentSpec) {
    let mut triggers = spec.triggers.iter();
    let has_handler = triggers.any(|trigger| trigger.http.is_some());
    let mut triggers = spec.triggers.iter();
    if has_handler || !triggers.any(|trigger| trigger.invoke.is_some()) {
        return;
    }
    let given = [
        ("spec.health", spec.health.is_some()),
        ("spec.instances", spec.instances != Instances::default()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        problems.add(
            field,
            "is about an http trigger, and there is none",
            "remove it, or add one",
        );
    }
}
