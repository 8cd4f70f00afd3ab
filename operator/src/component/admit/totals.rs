//! Whether the components of a namespace would take more together than a policy allows.
//!
//! Pure; `admit` calls it. Those that came first keep what they have, since each is
//! compared with what the others take already.

use capability::Bytes;
use crds::Reason;
use crds::capability_policy::Totals;

use crate::ceilings::{Policy, Usage};
use crate::component::Validated;
use crate::component::observe::{Blocked, Observed};
use crate::component::plan::assigned_replicas;
use crate::placement::Mode;

/// The first total of `policy` that the component does not fit under.
pub(super) fn exceeded(
    policy: &Policy,
    observed: &Observed,
    validated: &Validated,
) -> Option<Blocked> {
    let totals = &policy.totals;
    if *totals == Totals::default() {
        return None;
    }
    let replicas = match validated.demand.mode {
        Mode::Spread { replicas } => replicas,
        Mode::EveryNode => assigned_replicas(observed, validated),
    };
    let own = Usage::of_one(&observed.component, replicas);
    let all = observed.usage.and(own);
    let one = |field: &str, wanted: String, most: String| Blocked {
        reason: Reason::TotalsExceeded,
        message: format!(
            "with this component, those of namespace {} would take {wanted}, and CapabilityPolicy {} admits {most}: remove or shrink one, or ask the platform team to raise spec.totals.{field} of that policy",
            validated.key.namespace,
            policy.name()
        ),
    };
    let components = totals.components.filter(|most| all.components > *most);
    let memory = totals.memory.filter(|most| all.memory > *most);
    let ports = totals.ports.filter(|most| all.ports > *most);
    components
        .map(|most| {
            one(
                "components",
                counted(all.components, "component"),
                most.to_string(),
            )
        })
        .or_else(|| {
            memory.map(|most: Bytes| {
                one(
                    "memory",
                    format!("{} of memory", all.memory),
                    most.to_string(),
                )
            })
        })
        .or_else(|| ports.map(|most| one("ports", counted(all.ports, "port"), most.to_string())))
}

fn counted(count: u32, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{count} {what}s"),
    }
}
