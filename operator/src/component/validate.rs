//! From a `WasmComponent` as written to one that can be planned.
//!
//! Pure. After this step nothing reads the spec again: image, numbers and modes
//! are parsed here, once. Called by the driver and by `lighterman run` and
//! `lighterman check`, so that both sides refuse the same specs in the same words.

use std::collections::BTreeSet;
use std::time::Duration;

use artifact::{Digest, ImageReference};
use capability::Limits;
use crds::component::{
    AuditLevel, Capabilities, EnvFromSource, EnvVar, Health, PlacementMode, Problem, Processes,
    Rollout, ServiceSpec, Trigger, Volume, WhenUnsatisfiable, problems,
};
use crds::wasm_node::feature;
use crds::{WasmComponent, WasmComponentSpec, bound};
use kube::ResourceExt;

use super::Key;
use crate::placement::{Affinity, Constraint, Demand, Mode};

/// A component whose spec makes sense.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// Namespace and name.
    pub key: Key,
    /// UID; empty for a component that is not from a cluster.
    pub uid: String,
    /// Generation of the spec this was made from.
    pub generation: i64,
    /// Hash of all of the spec but replicas, previews and `paused`, `promote` and `approve` of
    /// `rollout`: whoever scales or pauses asks for nothing new.
    pub spec_hash: String,
    /// The image, normalised.
    pub image: ImageReference,
    /// The image as the spec has it.
    pub image_text: String,
    /// How often to look whether the tag has moved.
    pub poll_interval: Option<Duration>,
    /// Names of the Secrets to pull with.
    pub pull_secrets: Vec<String>,
    /// What it asks of the nodes.
    pub demand: Demand,
    /// The Service in front of it.
    pub service: ServiceSpec,
    /// What starts it.
    pub triggers: Vec<Trigger>,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, unresolved.
    pub env: Vec<EnvVar>,
    /// Sources of its environment, unresolved.
    pub env_from: Vec<EnvFromSource>,
    /// Its configuration, unresolved.
    pub config: Vec<EnvVar>,
    /// Its volumes, unresolved.
    pub volumes: Vec<Volume>,
    /// What it is granted.
    pub capabilities: Capabilities,
    /// What of its use of them is recorded.
    pub audit: AuditLevel,
    /// What it may use.
    pub limits: Limits,
    /// How it shows that it is healthy.
    pub health: Option<Health>,
    /// How a new revision takes over.
    pub rollout: Rollout,
}

/// Checks and parses a component.
///
/// # Errors
/// Every problem at once, each with the field at fault and its mend.
pub fn validate(component: &WasmComponent) -> Result<Validated, Vec<Problem>> {
    let mut found = problems(component);
    let spec = &component.spec;

    let image = spec
        .image
        .parse::<ImageReference>()
        .map_err(|error| Problem {
            field: "spec.image".to_owned(),
            message: error.to_string(),
            mend: "write registry/repository:tag or registry/repository@sha256:DIGEST".to_owned(),
        });
    let mode = match spec.placement.mode {
        PlacementMode::EveryNode => Ok(Mode::EveryNode),
        PlacementMode::Spread => Ok(Mode::Spread {
            replicas: u32::try_from(spec.replicas).unwrap_or_default(),
        }),
        PlacementMode::Unknown => Err(Problem {
            field: "spec.placement.mode".to_owned(),
            message: "is not a mode this version of the operator knows".to_owned(),
            mend: "write Spread or EveryNode, or upgrade the operator".to_owned(),
        }),
    };
    let affinity = spec
        .placement
        .node_affinity
        .as_ref()
        .map(Affinity::parse)
        .transpose()
        .map_err(|error| Problem {
            field: "spec.placement.nodeAffinity".to_owned(),
            message: error.to_string(),
            mend: "write requirements as in a Pod's nodeAffinity".to_owned(),
        });
    match (image, mode, affinity) {
        (Ok(image), Ok(mode), Ok(affinity)) if found.is_empty() => Ok(Validated {
            key: Key::new(
                component.namespace().unwrap_or_default(),
                component.name_any(),
            ),
            uid: component.uid().unwrap_or_default(),
            generation: component.metadata.generation.unwrap_or_default(),
            spec_hash: spec_hash(spec),
            image,
            image_text: spec.image.clone(),
            poll_interval: spec.image_poll_interval.map(|interval| interval.0),
            pull_secrets: spec
                .image_pull_secrets
                .iter()
                .map(|secret| secret.name.clone())
                .collect(),
            demand: Demand {
                mode,
                memory: spec.resources.requests.memory,
                node_selector: spec.placement.node_selector.clone(),
                affinity: affinity.unwrap_or_default(),
                tolerations: spec.placement.tolerations.clone(),
                spread: constraints(component),
                features: features(spec),
            },
            service: spec.service.clone(),
            triggers: spec.triggers.clone(),
            args: spec.args.clone(),
            env: spec.env.clone(),
            env_from: spec.env_from.clone(),
            config: spec.config.clone(),
            volumes: spec.volumes.clone(),
            capabilities: spec.capabilities.clone(),
            audit: spec.audit,
            limits: spec.limits(),
            health: spec.health.clone(),
            rollout: spec.rollout.clone(),
        }),
        (image, mode, affinity) => {
            let parsed = [image.err(), mode.err(), affinity.err()];
            // The schema's checks may have named the same field already.
            let more: Vec<Problem> = parsed
                .into_iter()
                .flatten()
                .filter(|problem| {
                    !found
                        .iter()
                        .any(|known| known.field.starts_with(&problem.field))
                })
                .collect();
            found.extend(more);
            Err(found)
        }
    }
}

fn spec_hash(spec: &WasmComponentSpec) -> String {
    let asked = WasmComponentSpec {
        replicas: 0,
        previews: Vec::new(),
        rollout: Rollout {
            paused: false,
            promote: None,
            approve: None,
            ..spec.rollout.clone()
        },
        ..spec.clone()
    };
    let text = serde_json::to_string(&asked).unwrap_or_default();
    let mut hash = Digest::of(text.as_bytes()).hex();
    hash.truncate(bound::SPEC_HASH as usize);
    hash
}

fn constraints(component: &WasmComponent) -> Vec<Constraint> {
    let spread = &component.spec.placement.spread;
    spread
        .iter()
        .map(|wish| Constraint {
            topology_key: wish.topology_key.clone(),
            max_skew: u32::try_from(wish.max_skew).unwrap_or_default(),
            required: wish.when_unsatisfiable != WhenUnsatisfiable::ScheduleAnyway,
        })
        .collect()
}

/// What an agent must be able to do for what is asked.
fn features(spec: &WasmComponentSpec) -> BTreeSet<String> {
    let http = spec.triggers.iter().any(|trigger| trigger.http.is_some());
    let mut runs = spec
        .triggers
        .iter()
        .filter_map(|trigger| trigger.run.as_ref());
    let listens = runs.any(|run| !run.ports.is_empty());
    let invoke = spec.triggers.iter().any(|trigger| trigger.invoke.is_some());
    let capable = spec.capabilities != Capabilities::default() || !spec.volumes.is_empty();
    let starts = spec.capabilities.process != Processes::default();
    let needed = [
        (http, feature::HTTP),
        (spec.is_run(), feature::RUN),
        (listens, feature::RUN_PORTS),
        (invoke, feature::INVOKE),
        (capable, feature::CAPABILITIES),
        (starts, feature::PROCESS),
    ];
    let needed = needed.into_iter().filter(|(needed, _)| *needed);
    needed.map(|(_, name)| name.to_owned()).collect()
}
