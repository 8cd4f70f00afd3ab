//! `kubectl lm status`: what a component is, where it runs, and which version serves.
//!
//! Pure: a page of what was seen. Why something does not hold is `why`'s to tell.

use std::collections::BTreeMap;
use std::fmt;

use crds::component::{ActiveRevision, PreviewStatus, RunPort, TriggerStatus, UpdatingRevision};
use crds::condition::{self, ConditionType};
use crds::{ComponentPlacement, WasmComponent, WasmComponentSpec};
use kube::ResourceExt;
use serde::Serialize;

use super::SUMMARIES;
use crate::printable;
use crate::sight::Sight;
use crate::table::Table;

/// The page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    namespace: String,
    name: String,
    /// `True`, `False` or `Unknown`; `Unknown` too while the operator has said nothing.
    ready: String,
    reason: String,
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// How its replicas are, of a component that runs by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<String>,
    /// The ports that it then listens on, with those of the nodes that lead to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    replicas: i32,
    ready_replicas: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<ActiveRevision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updating: Option<UpdatingRevision>,
    /// The revision that an undo holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pinned: Option<String>,
    /// One that an undo held before the spec changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    void_pin: Option<String>,
    /// The image that failed and is not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_digest: Option<String>,
    steps: Vec<Step>,
    nodes: Vec<Node>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    previews: Vec<PreviewStatus>,
    /// What could not be read, in the API server's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hidden: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Step {
    step: String,
    status: String,
    reason: String,
}

/// What a node holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    node: String,
    replicas: i32,
    ready: bool,
    revisions: Vec<OnNode>,
}

#[derive(Debug, Serialize)]
struct OnNode {
    revision: String,
    /// Its share of the requests in percent.
    weight: u32,
    /// How far it is; absent until the agent has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    phase: Option<String>,
    serves: bool,
}

/// The page of what was seen.
pub(super) fn page(sight: &Sight) -> Page {
    let component = &sight.component;
    let status = component.status.clone().unwrap_or_default();
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    let is_current = status.observed_generation == component.metadata.generation;
    let pin = component.spec.rollout.pin.as_ref();
    let pin = pin.map(|pin| pin.revision.clone());
    let pinned = status.pinned.map(|pinned| pinned.revision);
    Page {
        namespace: component.namespace().unwrap_or_default(),
        name: component.name_any(),
        ready: ready.map_or("Unknown", |ready| &ready.status).to_owned(),
        reason: ready
            .map_or("NotLookedAt", |ready| &ready.reason)
            .to_owned(),
        image: component.spec.image.clone(),
        ports: ports(&component.spec, &status.triggers),
        url: status.url,
        runs: runs(component),
        replicas: status.replicas,
        ready_replicas: status.ready_replicas,
        current: status.current,
        updating: status.updating,
        void_pin: pin.filter(|pin| is_current && pinned.as_ref() != Some(pin)),
        pinned,
        failed_digest: status.failed_digest,
        steps: status
            .conditions
            .iter()
            .filter(|condition| !SUMMARIES.contains(&condition.type_.as_str()))
            .map(|condition| Step {
                step: condition.type_.clone(),
                status: condition.status.clone(),
                reason: condition.reason.clone(),
            })
            .collect(),
        nodes: sight.placements.known().iter().map(node).collect(),
        previews: status.previews,
        hidden: sight.placements.hidden().into_iter().collect(),
    }
}

/// How the replicas are of a component that runs by itself, in the operator's words.
fn runs(component: &WasmComponent) -> Option<String> {
    let status = component.status.as_ref()?;
    let available = condition::find(&status.conditions, ConditionType::Available)?;
    let is_run = component.spec.is_run();
    is_run.then(|| available.message.clone())
}

fn ports(spec: &WasmComponentSpec, allocated: &[TriggerStatus]) -> Vec<String> {
    let runs = spec
        .triggers
        .iter()
        .filter_map(|trigger| trigger.run.as_ref());
    let ports = runs.flat_map(|run| &run.ports).map(|port| {
        let on_nodes = allocated.iter().find(|one| one.name == port.name);
        let on_nodes = on_nodes.map(|one| format!(" ({} on the nodes)", one.port));
        let RunPort { name, port, .. } = port;
        format!("{name} {port}{}", on_nodes.unwrap_or_default())
    });
    ports.collect()
}

fn node(placement: &ComponentPlacement) -> Node {
    let status = placement.status.clone().unwrap_or_default();
    let phases: BTreeMap<&str, String> = status
        .revisions
        .iter()
        .map(|revision| (revision.name.as_str(), format!("{:?}", revision.phase)))
        .collect();
    Node {
        node: placement.spec.node_name.clone(),
        replicas: placement.spec.replicas,
        ready: status.ready,
        revisions: placement
            .spec
            .revisions
            .iter()
            .map(|revision| OnNode {
                revision: revision.name.clone(),
                weight: revision.weight,
                phase: phases.get(revision.name.as_str()).cloned(),
                serves: status.ready && status.serving.as_deref() == Some(&revision.name),
            })
            .collect(),
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            name,
            ready,
            reason,
            ..
        } = self;
        writeln!(f, "{namespace}/{name}   Ready={ready} ({reason})")?;
        write!(f, "\n  image      {}", printable::line(&self.image))?;
        if let Some(current) = &self.current {
            let ActiveRevision {
                revision: _,
                digest,
                version,
                signer,
            } = current;
            let version = described(version.as_deref(), digest, signer.as_deref());
            write!(f, "\n  serves     {version}")?;
        }
        if let Some(updating) = &self.updating {
            let UpdatingRevision {
                revision: _,
                digest,
                version,
                signer,
                prepared_nodes,
                serving_nodes,
                nodes,
                reached_nodes: _,
                step: _,
                weight,
                since: _,
            } = updating;
            let version = described(version.as_deref(), digest, signer.as_deref());
            write!(f, "\n  follows    {version}")?;
            if let Some(weight) = weight {
                write!(f, "\n             with {weight}% of the requests")?;
            }
            write!(
                f,
                "\n             prepared on {prepared_nodes}, serves on {serving_nodes} of {nodes} nodes"
            )?;
        }
        if let Some(digest) = &self.failed_digest {
            let digest = printable::line(digest);
            write!(f, "\n  failed     {digest}, not tried again")?;
        }
        if let Some(pinned) = &self.pinned {
            let pinned = printable::line(pinned);
            write!(f, "\n  pinned     {pinned}, whatever the image is")?;
        }
        if let Some(pin) = &self.void_pin {
            let pin = printable::line(pin);
            write!(f, "\n  pin        {pin}: void, the spec is another by now")?;
        }
        if let Some(url) = &self.url {
            write!(f, "\n  url        {url}")?;
        }
        if !self.ports.is_empty() {
            let ports = printable::line(&self.ports.join(", "));
            write!(f, "\n  ports      {ports}")?;
        }
        match &self.runs {
            Some(told) => writeln!(f, "\n  replicas   {}", printable::line(told))?,
            None => write!(
                f,
                "\n  replicas   {} of {} serve\n",
                self.ready_replicas, self.replicas
            )?,
        }
        if !self.steps.is_empty() {
            let mut table = Table::new(["STEP", "STATUS", "REASON"]);
            for Step {
                step,
                status,
                reason,
            } in &self.steps
            {
                table.row([step.clone(), status.clone(), reason.clone()]);
            }
            write!(f, "\n{table}\n")?;
        }
        if !self.nodes.is_empty() {
            write!(f, "\n{}\n", places(&self.nodes))?;
        }
        if !self.previews.is_empty() {
            write!(f, "\n{}\n", previews(&self.previews))?;
        }
        for hidden in &self.hidden {
            write!(f, "\nnot shown: {}\n", printable::line(hidden))?;
        }
        if ready == "True" {
            return write!(
                f,
                "\nnext: kubectl lm rollout history {name} -n {namespace}"
            );
        }
        write!(f, "\nnext: kubectl lm why {name} -n {namespace}")
    }
}

/// A line for each revision on each node.
fn places(nodes: &[Node]) -> Table<6> {
    let mut table = Table::new(["NODE", "REPLICAS", "READY", "REVISION", "WEIGHT", "PHASE"]);
    for node in nodes {
        for on_node in &node.revisions {
            table.row([
                node.node.clone(),
                node.replicas.to_string(),
                if node.ready { "yes" } else { "no" }.to_owned(),
                on_node.revision.clone(),
                format!("{}%", on_node.weight),
                match (&on_node.phase, on_node.serves) {
                    (_, true) => "Serving".to_owned(),
                    (Some(phase), false) => phase.clone(),
                    (None, false) => "-".to_owned(),
                },
            ]);
        }
    }
    table
}

/// A line for each preview.
fn previews(previews: &[PreviewStatus]) -> Table<4> {
    let mut table = Table::new(["PREVIEW", "READY", "REASON", "URL"]);
    for PreviewStatus {
        name,
        url,
        ready,
        reason,
        message: _,
    } in previews
    {
        table.row([
            name.clone(),
            if *ready { "yes" } else { "no" }.to_owned(),
            reason.to_string(),
            url.as_deref()
                .map_or_else(|| "-".to_owned(), printable::line),
        ]);
    }
    table
}

/// A version in words: what it calls itself, what it is, and who vouches for it.
fn described(version: Option<&str>, digest: &str, signer: Option<&str>) -> String {
    let version = printable::line(version.unwrap_or("no version"));
    let signer = signer.map(|signer| format!(", signed by {}", printable::line(signer)));
    format!("{version} ({digest}){}", signer.unwrap_or_default())
}

#[cfg(test)]
mod tests;
