//! What bounds the components of one namespace: the capability policies that cover it,
//! and what its components take together.
//!
//! Plain values, gathered from the caches or from files; judged by `component::admit`.
//! A policy that cannot be read must not be left out, which would drop its bounds: it
//! allows nothing.

use std::collections::BTreeMap;

use capability::{Bytes, Ceiling};
use crds::capability_policy::Totals;
use crds::component::{PlacementMode, Trigger};
use crds::condition::{self, ConditionType};
use crds::{CapabilityPolicy, ComponentPlacement, WasmComponent};
use kube::ResourceExt;

use crate::caches::Caches;
use crate::component::{Key, is_owned_by};

/// The policies that cover a namespace, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    /// Those that decide.
    pub enforced: Vec<Policy>,
    /// Those that only say what they would refuse.
    pub audited: Vec<Policy>,
}

/// One policy.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// What can be granted under it.
    pub ceiling: Ceiling,
    /// What the components of a namespace may take together.
    pub totals: Totals,
    /// Whether a version that asks for more than the last approved one is held.
    pub holds_increases: bool,
}

/// What components of a namespace take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many they are.
    pub components: u32,
    /// Memory that is set aside for their replicas.
    pub memory: Bytes,
    /// Ports of their triggers.
    pub ports: u32,
}

impl Policies {
    /// Those of `policies` that cover a namespace with `labels`. A namespace that is not
    /// known is covered by all of them.
    pub fn covering<'a>(
        policies: impl IntoIterator<Item = &'a CapabilityPolicy>,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Self {
        let covers =
            |policy: &&CapabilityPolicy| labels.is_none_or(|labels| policy.spec.covers(labels));
        let mut covering = Self::default();
        for policy in policies.into_iter().filter(covers) {
            let spec = &policy.spec;
            let read = Policy {
                ceiling: spec.ceiling(&policy.name_any()),
                totals: spec.totals.clone(),
                holds_increases: spec.holds_increases(),
            };
            if spec.decides() {
                covering.enforced.push(read);
            } else {
                covering.audited.push(read);
            }
        }
        covering
    }

    /// Those that cover `namespace`, as the API server has them. One that could never be
    /// decoded covers every namespace and allows nothing.
    pub fn of(namespace: &str, caches: &Caches) -> Self {
        let policies = caches.capability_policies.all();
        let object = caches.namespaces.get("", namespace);
        let labels = object.as_ref().map(|object| object.labels());
        let mut covering = Self::covering(policies.iter().map(AsRef::as_ref), labels);
        let unreadable = caches.capability_policies.unreadable();
        covering
            .enforced
            .extend(unreadable.into_iter().map(Policy::closed));
        covering
    }

    /// The ceilings of those that decide.
    pub fn ceilings(&self) -> Vec<Ceiling> {
        let enforced = self.enforced.iter();
        enforced.map(|policy| policy.ceiling.clone()).collect()
    }
}

impl Policy {
    /// A policy of which nothing but its name is known.
    fn closed(name: String) -> Self {
        Self {
            ceiling: Ceiling {
                policy: name,
                ..Ceiling::default()
            },
            totals: Totals::default(),
            holds_increases: true,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.ceiling.policy
    }
}

impl Usage {
    /// What the components of the namespace of `key` take, except that one: those that were
    /// admitted, and those that still hold a place.
    pub fn of_others(key: &Key, caches: &Caches) -> Self {
        let components = caches.components.all();
        let others = components.iter().filter(|component| {
            component.namespace().as_deref() == Some(&key.namespace)
                && component.name_any() != key.name
        });
        others.fold(Self::default(), |sum, component| {
            let of = Key::new(&key.namespace, component.name_any());
            let uid = component.uid().unwrap_or_default();
            let placements = caches.placements.of(&of);
            let own = placements
                .iter()
                .filter(|placement| is_owned_by(&placement.metadata, &uid));
            sum.and(Self::of_other(component, own.map(AsRef::as_ref)))
        })
    }

    fn of_other<'a>(
        component: &WasmComponent,
        placements: impl Iterator<Item = &'a ComponentPlacement>,
    ) -> Self {
        let replicas: Vec<u32> = placements
            .map(|placement| u32::try_from(placement.spec.replicas).unwrap_or_default())
            .collect();
        let conditions = component.status.as_ref().map(|status| &status.conditions);
        let is_admitted = conditions
            .is_some_and(|conditions| condition::is_true(conditions, ConditionType::Admitted));
        if replicas.is_empty() && !is_admitted {
            return Self::default();
        }
        let placed = replicas.into_iter().fold(0, u32::saturating_add);
        // While replicas move there are more of them for a moment, which is nobody's doing.
        let count = match component.spec.placement.mode {
            PlacementMode::EveryNode => placed,
            PlacementMode::Spread | PlacementMode::Unknown => {
                placed.min(u32::try_from(component.spec.replicas).unwrap_or_default())
            }
        };
        Self::of_one(component, count)
    }

    /// What one component takes with so many replicas.
    pub fn of_one(component: &WasmComponent, replicas: u32) -> Self {
        let spec = &component.spec;
        let ports = spec.triggers.iter().flat_map(Trigger::ports);
        let memory = spec.resources.requests.memory.0;
        Self {
            components: 1,
            memory: Bytes(memory.saturating_mul(replicas.into())),
            ports: u32::try_from(ports.count()).unwrap_or(u32::MAX),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            components: self.components.saturating_add(other.components),
            memory: Bytes(self.memory.0.saturating_add(other.memory.0)),
            ports: self.ports.saturating_add(other.ports),
        }
    }
}
