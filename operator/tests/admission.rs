//! Laws of admission, over any manifest, grant and policies. The golden cases are the
//! examples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use artifact::Digest;
use artifact::component::{Facts, World};
use capability::{Bytes, Request, approval_hash};
use crds::revision::Seal;
use crds::{CapabilityPolicy, Reason, WasmComponent};
use operator::ceilings::{Policies, Usage};
use operator::component::observe::Observed;
use operator::component::revision::KnownRevision;
use operator::component::{Decision, Plan, Validated, admit, plan, revision, validate};
use operator::node::NodeFact;
use operator::placement::{Node, Standing};
use operator::resolver::{Admitted, Resolution};
use operator::service;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Everything that an admission depends on.
#[derive(Debug, Clone)]
struct Case {
    /// Hosts that the manifest asks for; `None` without a manifest.
    asked: Option<Vec<&'static str>>,
    granted: Vec<&'static str>,
    policies: Vec<Value>,
    others: u32,
    /// What the last admitted version asked for.
    before: Option<Vec<&'static str>>,
    approve: Option<String>,
}

const HOSTS: [&str; 4] = [
    "a.example.com",
    "b.example.com",
    "*.example.com",
    "c.example.org",
];

fn hosts() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(HOSTS.to_vec(), 0..=HOSTS.len())
}

fn policy() -> impl Strategy<Value = Value> {
    (
        hosts(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::option::of(1_u32..4),
        prop::option::of(prop::sample::select(vec!["32Mi", "64Mi"])),
    )
        .prop_map(|(hosts, audit, manifest, allow, components, memory)| {
            let outbound: Vec<Value> = hosts.iter().map(|host| json!({ "host": host })).collect();
            json!({
                "mode": if audit { "Audit" } else { "Enforce" },
                "allow": { "network": { "outbound": outbound } },
                "requireManifest": manifest,
                "onIncrease": if allow { "Allow" } else { "Hold" },
                "totals": { "components": components },
                "limits": { "perCall": { "memory": memory } },
            })
        })
}

fn world() -> impl Strategy<Value = Case> {
    (
        prop::option::weighted(0.8, hosts()),
        hosts(),
        prop::collection::vec(policy(), 0..4),
        0_u32..4,
        prop::option::of(hosts()),
    )
        .prop_map(|(asked, granted, policies, others, before)| Case {
            asked,
            granted,
            policies,
            others,
            before,
            approve: None,
        })
}

fn requests(hosts: &[&str]) -> Vec<Request> {
    let listed: Vec<String> = hosts.iter().map(|host| format!("{host:?}")).collect();
    let text = format!(
        "[component]\nname = \"orders\"\nversion = \"1.0.0\"\n[permissions.network]\nallowed_hosts = [{}]\n",
        listed.join(", ")
    );
    vec![Request::from_toml(&text).unwrap()]
}

fn digest() -> Digest {
    Digest::of(b"new")
}

impl Case {
    fn requests(&self) -> Vec<Request> {
        self.asked.as_deref().map(requests).unwrap_or_default()
    }

    fn validated(&self) -> (WasmComponent, Validated) {
        let outbound: Vec<Value> = self
            .granted
            .iter()
            .map(|host| json!({ "host": host }))
            .collect();
        let mut spec = json!({
            "image": "registry.example/shop/orders:1",
            "replicas": 2,
            "triggers": [{ "name": "web", "http": { "port": 80 } }],
            "capabilities": { "network": { "outbound": outbound } },
        });
        if let Some(approve) = &self.approve {
            spec["rollout"] = json!({ "approve": approve });
        }
        let component: WasmComponent = serde_json::from_value(json!({
            "apiVersion": crds::API_VERSION, "kind": "WasmComponent",
            "metadata": {"namespace": "shop", "name": "orders", "uid": "u", "generation": 1},
            "spec": spec,
        }))
        .unwrap();
        let validated = validate(&component).unwrap();
        (component, validated)
    }

    fn observed(&self, component: WasmComponent, validated: &Validated) -> Observed {
        let policies: Vec<CapabilityPolicy> = self
            .policies
            .iter()
            .enumerate()
            .map(|(number, spec)| {
                let spec = serde_json::from_value(spec.clone()).unwrap();
                CapabilityPolicy::new(&format!("p{number}"), spec)
            })
            .collect();
        let revisions = self.before.iter().map(|hosts| {
            let document = revision(validated, &Digest::of(b"old"), &requests(hosts));
            KnownRevision {
                name: document.revision_name(),
                number: 1,
                document,
                seal: Seal::new("cluster", 1, b"signature"),
            }
        });
        Observed {
            component: Arc::new(component),
            resolution: Resolution::Done(Admitted {
                digest: digest(),
                signers: Vec::new(),
                facts: facts(),
                requests: self.requests(),
                findings: Vec::new(),
            }),
            reviews: Vec::new(),
            policies: Policies::covering(&policies, None),
            usage: Usage {
                components: self.others,
                ..Usage::default()
            },
            since_stop: None,
            since_progress: None,
            calls: Default::default(),
            values: Ok(()),
            nodes: BTreeMap::from([("n1".to_owned(), node())]),
            placements: Vec::new(),
            revisions: revisions.collect(),
            next_revision: 2,
            service: service::Standing::Absent,
            slices: Vec::new(),
            since_slices: None,
            network_policy: None,
            previews: Vec::new(),
            ports: Ok(BTreeMap::new()),
        }
    }

    fn planned(&self) -> (Decision, Plan) {
        let (component, validated) = self.validated();
        let observed = self.observed(component, &validated);
        let admission = admit(&observed, &validated);
        let decision = admission.decision.clone();
        (decision, plan(&observed, &validated, admission))
    }

    fn is_admitted(&self) -> bool {
        matches!(self.planned().0, Decision::Admitted { .. })
    }

    fn reason(&self) -> Option<Reason> {
        match self.planned().0 {
            Decision::Refused(blocked) => Some(blocked.reason),
            Decision::Waiting | Decision::Admitted { .. } => None,
        }
    }
}

fn facts() -> Facts {
    Facts {
        name: None,
        version: None,
        imports: Vec::new(),
        exports: Vec::new(),
        world: World::HttpP2,
        initial_memory: 0,
        data_bytes: 0,
        memories: 1,
        core_modules: 1,
        request: None,
    }
}

fn node() -> NodeFact {
    NodeFact {
        planned: Node {
            labels: BTreeMap::new(),
            taints: Vec::new(),
            standing: Standing::Ready,
            features: Some(BTreeSet::from([
                "http".to_owned(),
                "capabilities".to_owned(),
            ])),
            memory: Bytes::mib(64),
            reserved: Bytes(0),
        },
        zone: None,
        agent: None,
    }
}

proptest! {
    #[test]
    fn what_is_not_admitted_is_neither_sealed_nor_placed(world in world()) {
        let (decision, plan) = world.planned();
        let starts = plan.revision.is_some() && !plan.placements.create.is_empty();
        prop_assert_eq!(starts, matches!(decision, Decision::Admitted { .. }));
        if !starts {
            prop_assert!(plan.revision.is_none() && plan.placements.is_empty());
        }
    }

    #[test]
    fn a_policy_more_never_admits_more(world in world(), more in policy()) {
        // But the first one that decides: without any, nothing can be granted.
        let enforced = world.policies.iter().any(|policy| policy["mode"] == "Enforce");
        let mut stricter = world.clone();
        stricter.policies.push(more);
        if enforced || world.granted.is_empty() {
            prop_assert!(world.is_admitted() || !stricter.is_admitted());
        }
    }

    #[test]
    fn policies_in_audit_decide_nothing(world in world()) {
        let mut decided = world.clone();
        decided.policies.retain(|policy| policy["mode"] == "Enforce");
        prop_assert_eq!(decided.is_admitted(), world.is_admitted());
    }

    #[test]
    fn the_order_of_policies_decides_nothing(world in world()) {
        let mut reversed = world.clone();
        reversed.policies.reverse();
        prop_assert_eq!(reversed.is_admitted(), world.is_admitted());
    }

    #[test]
    fn nothing_is_granted_without_a_policy_that_decides(mut world in world()) {
        world.policies.retain(|policy| policy["mode"] == "Audit");
        prop_assert!(world.granted.is_empty() || !world.is_admitted());
    }

    #[test]
    fn an_approval_lifts_the_hold_and_nothing_else(world in world()) {
        let mut approved = world.clone();
        approved.approve = Some(approval_hash(&digest().to_string(), &world.requests()));
        let expected = match world.reason() {
            Some(Reason::ApprovalRequired) => None,
            reason => reason,
        };
        prop_assert_eq!(approved.reason(), expected);
    }

    #[test]
    fn the_approval_of_another_digest_or_another_request_admits_nothing(world in world(), other in hosts()) {
        let requests = requests(&other);
        for (digest, requests) in [
            (Digest::of(b"other").to_string(), world.requests()),
            (digest().to_string(), requests),
        ] {
            let hash = approval_hash(&digest, &requests);
            if hash != approval_hash(&self::digest().to_string(), &world.requests()) {
                let mut approved = world.clone();
                approved.approve = Some(hash);
                prop_assert_eq!(approved.reason(), world.reason());
            }
        }
    }

    #[test]
    fn what_was_sealed_once_is_never_held(mut world in world()) {
        let (component, validated) = world.validated();
        world.before = Some(Vec::new());
        let mut observed = world.observed(component, &validated);
        let document = revision(&validated, &digest(), &world.requests());
        observed.revisions.insert(0, KnownRevision {
            name: document.revision_name(),
            number: 0,
            document,
            seal: Seal::new("cluster", 1, b"signature"),
        });
        if let Decision::Refused(blocked) = admit(&observed, &validated).decision {
            prop_assert_ne!(blocked.reason, Reason::ApprovalRequired);
        }
    }
}

/// What is decided of a component that imports the interface of executables, with these
/// capabilities and this manifest, and on how many of two nodes it is placed: one has a spawner.
fn executables(capabilities: Value, asked: Option<&str>, imports: bool) -> (Decision, usize) {
    let case = Case {
        asked: None,
        granted: Vec::new(),
        policies: vec![
            json!({ "mode": "Enforce", "allow": { "process": { "spawn": ["/t/git"] } } }),
        ],
        others: 0,
        before: None,
        approve: None,
    };
    let (mut component, _) = case.validated();
    component.spec.placement.mode = crds::component::PlacementMode::EveryNode;
    component.spec.replicas = 1;
    component.spec.capabilities = serde_json::from_value(capabilities).unwrap();
    let validated = validate(&component).unwrap();
    let mut observed = case.observed(component, &validated);
    let mut spawner = node();
    if let Some(features) = &mut spawner.planned.features {
        features.insert("process".to_owned());
    }
    observed.nodes.insert("n2".to_owned(), spawner);
    if let Resolution::Done(admitted) = &mut observed.resolution {
        let manifest = |path| {
            let head = "[component]\nname = \"orders\"\nversion = \"1.0.0\"\n";
            Request::from_toml(&format!(
                "{head}[permissions.process]\nspawn = [{path:?}]\n"
            ))
            .unwrap()
        };
        admitted.requests = asked.map(manifest).into_iter().collect();
        if imports {
            admitted.facts.imports = vec!["lighterman:ext-process/process@1.0.0".to_owned()];
        }
    }
    let admission = admit(&observed, &validated);
    let decision = admission.decision.clone();
    let plan = plan(&observed, &validated, admission);
    (decision, plan.placements.create.len())
}

#[test]
fn an_import_of_executables_without_their_grant_is_refused_by_name() {
    let (decision, placed) = executables(json!({}), None, true);
    let Decision::Refused(blocked) = decision else {
        panic!("{decision:?}");
    };
    assert_eq!((blocked.reason, placed), (Reason::ImportNotGranted, 0));
    let says = |text: &str| blocked.message.contains(text);
    assert!(
        says("lighterman:ext-process/process@1.0.0"),
        "{}",
        blocked.message
    );
    assert!(
        says("spec.capabilities.process.spawn"),
        "{}",
        blocked.message
    );
}

#[test]
fn what_the_manifest_asks_to_start_is_refused_with_the_yaml_that_grants_it() {
    let (decision, placed) = executables(json!({}), Some("/t/git"), true);
    let Decision::Refused(blocked) = decision else {
        panic!("{decision:?}");
    };
    assert_eq!((blocked.reason, placed), (Reason::CapabilityNotGranted, 0));
    let yaml = "process: {spawn: [/t/git]}";
    assert!(blocked.message.contains(yaml), "{}", blocked.message);
}

#[test]
fn executables_go_to_nodes_with_a_spawner_only() {
    let listed = json!({ "process": { "spawn": ["/t/git"] } });
    let requested = json!({ "grant": "Requested" });
    for (capabilities, asked, nodes) in [
        (json!({}), None, 2),
        (listed.clone(), None, 1),
        (listed, Some("/t/git"), 1),
        (requested.clone(), Some("/t/git"), 1),
    ] {
        let (decision, placed) = executables(capabilities.clone(), asked, false);
        assert!(
            matches!(decision, Decision::Admitted { .. }),
            "{decision:?}"
        );
        assert_eq!(placed, nodes, "{capabilities}");
    }
    let (decision, _) = executables(requested, Some("/t/other"), false);
    let Decision::Refused(blocked) = decision else {
        panic!("{decision:?}");
    };
    assert_eq!(blocked.reason, Reason::CapabilityAboveCeiling);
}
