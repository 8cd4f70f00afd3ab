//! `kubectl lm rollout status`: how far a rollout is, until it is over.
//!
//! Says each step once. Over means that the version serves everywhere, or that nothing moves
//! any more before somebody changes something.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use crds::WasmComponent;
use crds::condition::{self, ConditionType};
use kube::ResourceExt;
use serde::Serialize;

use super::print;
use crate::args::{Format, Progress};
use crate::failure::Failure;
use crate::printable;
use crate::sight::Cluster;

/// Between two looks: what a person does not notice, and an API server does not either.
const PAUSE: Duration = Duration::from_secs(1);

/// How far a rollout is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    namespace: String,
    name: String,
    state: State,
    /// The operator's word for it.
    reason: String,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// The version serves everywhere.
    Done,
    /// It is on its way.
    Moving,
    /// Nothing moves before somebody changes something.
    Stalled,
}

/// Says how far it is, and follows it to its end. 0 when it is done, else 1.
pub(super) async fn run(
    cluster: &Cluster,
    format: Format,
    args: &Progress,
) -> Result<ExitCode, Failure> {
    let mut said = None;
    loop {
        let step = step(&cluster.component(&args.name).await?);
        let state = step.state;
        if said.as_ref() != Some(&step) {
            print(format, &step)?;
            said = Some(step);
        }
        match state {
            State::Done => return Ok(ExitCode::SUCCESS),
            State::Moving if args.watch => tokio::time::sleep(PAUSE).await,
            State::Moving | State::Stalled => return Ok(ExitCode::FAILURE),
        }
    }
}

/// How far a component is, as its status says; pure.
fn step(component: &WasmComponent) -> Step {
    let status = component.status.clone().unwrap_or_default();
    let found = |kind| condition::find(&status.conditions, kind);
    let is_current = status.observed_generation == component.metadata.generation;
    let ready = found(ConditionType::Ready).filter(|_| is_current);
    let state = match ready {
        Some(ready) if ready.status == "True" => State::Done,
        Some(_) if found(ConditionType::Stalled).is_some() => State::Stalled,
        _ => State::Moving,
    };
    let (reason, message) = match ready {
        Some(ready) => (ready.reason.clone(), ready.message.clone()),
        None => (
            "Waiting".to_owned(),
            "the operator has not looked at this spec yet".to_owned(),
        ),
    };
    Step {
        namespace: component.namespace().unwrap_or_default(),
        name: component.name_any(),
        state,
        reason,
        message,
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            reason,
            message,
            ..
        } = self;
        write!(
            f,
            "{namespace}/{name}: {reason}: {}",
            printable::line(message)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sight::fixture::{self, UPDATING};

    #[test]
    fn what_failed_is_over_and_a_spec_that_nobody_has_seen_is_not() {
        let mut component = fixture::sight(UPDATING).component;
        assert_eq!(step(&component).state, State::Stalled);
        let status = component.status.as_mut().unwrap();
        for condition in &mut status.conditions {
            if condition.type_ == "Ready" {
                condition.status = "True".to_owned();
            }
        }
        status.observed_generation = component.metadata.generation;
        assert_eq!(step(&component).state, State::Done);
        component.metadata.generation = Some(99);
        assert_eq!(step(&component).state, State::Moving);
    }
}
