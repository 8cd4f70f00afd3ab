//! `kubectl lm why`: why a component is not ready, what it was refused, and what to type next.
//!
//! Pure: a page of what was seen. The messages are the operator's and the agents' own, which
//! name the thing at fault and the mend; this page puts them in the order in which they matter.

mod advice;

use std::fmt;
use std::process::ExitCode;

use crds::Reason;
use crds::condition::{self, ConditionType};
use crds::placement::Phase;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use serde::Serialize;

use super::SUMMARIES;
use crate::printable;
use crate::sight::{Sight, last_seen};

/// The most Events that are shown: what happened before these is another story.
const EVENTS: usize = 5;

/// The page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    namespace: String,
    name: String,
    ready: bool,
    /// The step that explains it, when it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    reason: String,
    message: String,
    /// Revisions that a node could not take.
    nodes: Vec<Trouble>,
    /// What is asked for or granted, and refused.
    refused: Vec<String>,
    /// What policies in audit would refuse it for.
    would_refuse: Vec<String>,
    /// What happened lately, latest first.
    events: Vec<String>,
    /// What to type next.
    next: Vec<String>,
    /// What could not be read, in the API server's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<String>,
}

/// A revision that a node could not take.
#[derive(Debug, Serialize)]
struct Trouble {
    node: String,
    revision: String,
    reason: String,
    message: String,
}

/// The page of what was seen.
pub(super) fn page(sight: &Sight) -> Page {
    let component = &sight.component;
    let status = component.status.clone().unwrap_or_default();
    let (namespace, name) = (
        component.namespace().unwrap_or_default(),
        component.name_any(),
    );
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    let is_current = status.observed_generation == component.metadata.generation;
    let (is_ready, reason, message) = match ready {
        Some(ready) if is_current => {
            (ready.status == "True", ready.reason.clone(), ready.message.clone())
        }
        Some(_) => (
            false,
            "Unobserved".to_owned(),
            "the operator has not looked at the last change yet; if this lasts, look at its Pods"
                .to_owned(),
        ),
        None => (
            false,
            "Unobserved".to_owned(),
            "no operator has looked at it yet; if this lasts, look whether the chart lighterman is installed and its operator runs".to_owned(),
        ),
    };
    let step = status
        .conditions
        .iter()
        .filter(|condition| !SUMMARIES.contains(&condition.type_.as_str()))
        .find(|condition| !is_ready && condition.reason == reason);
    let known = Reason::named(&reason);
    let hidden = [sight.placements.hidden(), sight.events.hidden()];
    Page {
        ready: is_ready,
        step: step.map(|step| step.type_.clone()),
        message,
        nodes: troubles(sight),
        refused: status.capabilities.map(|of| of.refused).unwrap_or_default(),
        would_refuse: status
            .would_refuse
            .iter()
            .map(|of| format!("{}: {}: {}", of.policy, of.reason, of.message))
            .collect(),
        events: sight
            .events
            .known()
            .iter()
            .take(EVENTS)
            .map(event)
            .collect(),
        next: advice::next(is_ready, known, &namespace, &name, &component.spec.image),
        reason,
        hidden: hidden.into_iter().flatten().collect(),
        namespace,
        name,
    }
}

fn troubles(sight: &Sight) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    for placement in sight.placements.known() {
        let statuses = placement.status.iter().flat_map(|status| &status.revisions);
        for revision in statuses.filter(|of| of.phase == Phase::Failed || of.reason.is_some()) {
            troubles.push(Trouble {
                node: placement.spec.node_name.clone(),
                revision: revision.name.clone(),
                reason: revision.reason.unwrap_or(Reason::Unknown).to_string(),
                message: revision.message.clone().unwrap_or_default(),
            });
        }
    }
    troubles
}

fn event(event: &Event) -> String {
    let when = last_seen(event).map_or_else(String::new, |time| format!("{time:.0} "));
    let count = event.series.as_ref().map_or(1, |series| series.count);
    let times = if count > 1 {
        format!(" ({count} times)")
    } else {
        String::new()
    };
    format!(
        "{when}{}{times}: {}",
        event.reason.as_deref().unwrap_or_default(),
        event.note.as_deref().unwrap_or_default()
    )
}

impl Page {
    /// 1 when the component is not ready, so that a script can ask.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self.ready {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace, name, ..
        } = self;
        match (self.ready, &self.step) {
            (true, _) => write!(f, "{namespace}/{name} is ready")?,
            (false, Some(step)) => {
                write!(
                    f,
                    "{namespace}/{name} is not ready: {step} says {}",
                    self.reason
                )?;
            }
            (false, None) => write!(f, "{namespace}/{name} is not ready: {}", self.reason)?,
        }
        for line in printable::lines(&self.message) {
            write!(f, "\n  {line}")?;
        }
        for Trouble {
            node,
            revision,
            reason,
            message,
        } in &self.nodes
        {
            write!(f, "\n\non {node}, {revision}: {reason}")?;
            for line in printable::lines(message) {
                write!(f, "\n  {line}")?;
            }
        }
        let lists = [
            ("refused", &self.refused),
            (
                "would be refused, were the policies in audit to decide",
                &self.would_refuse,
            ),
            ("lately", &self.events),
            ("not shown", &self.hidden),
            ("next", &self.next),
        ];
        for (heading, lines) in lists {
            if !lines.is_empty() {
                write!(f, "\n\n{heading}:")?;
            }
            for line in lines {
                write!(f, "\n  {}", printable::line(line))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
