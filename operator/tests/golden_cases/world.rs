//! What a golden case is given, as `observe` would have gathered it.
//!
//! Fills in what `given.yaml` leaves out. Knows nothing of plans and statuses.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use artifact::component::{Facts, World};
use artifact::{Digest, SignedBy, Signer};
use capability::{Bytes, Request};
use crds::component::{ActiveRevision, PinnedRevision, RolloutFailure, Trigger, UpdatingRevision};
use crds::placement::{Phase, PlacedPort, PlacedRevision, RevisionStatus, RunStatus};
use crds::revision::Seal;
use crds::{
    CapabilityPolicy, ComponentPlacement, ComponentPlacementStatus, Reason, WasmComponent, names,
};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use operator::ceilings::{Policies, Usage};
use operator::component::observe::{Blocked, Observed, Placed};
use operator::component::revision::KnownRevision;
use operator::component::{Validated, revision, validate};
use operator::network_policy::{Home, Standing as NetworkPolicyStanding};
use operator::node::{Agent, NodeFact, Nodes};
use operator::placement::{self, Standing};
use operator::port::{Holder, Ledger, NoPortFree};
use operator::resolver::{Admitted, Failure, Finding, Resolution, Review};
use operator::rollout::Calls;
use operator::service;
use serde_json::json;

use crate::given::{
    Given, GivenAudit, GivenNode, GivenPlacement, GivenPolicy, GivenPorts, GivenResolution,
    GivenService, GivenSlice, GivenStanding, GivenUpdate,
};

fn digest(word: &str) -> Digest {
    Digest::of(word.as_bytes())
}

/// What the manifest of an image asks for.
fn requests(word: &str, manifests: &BTreeMap<String, String>) -> Vec<Request> {
    let manifest = manifests.get(word);
    manifest
        .map(|text| Request::from_toml(text).unwrap())
        .into_iter()
        .collect()
}

/// A spec that cannot be used still has revisions of an earlier one that could.
fn document(
    component: &WasmComponent,
    validated: Option<&Validated>,
    word: &str,
    manifests: &BTreeMap<String, String>,
) -> crds::RevisionDocument {
    match validated {
        Some(validated) => revision(validated, &digest(word), &requests(word, manifests)),
        None => {
            let mut earlier = component.clone();
            earlier.spec = crds::WasmComponentSpec {
                image: "registry.example/shop/orders:1".to_owned(),
                ..crds::WasmComponentSpec::default()
            };
            revision(&validate(&earlier).unwrap(), &digest(word), &[])
        }
    }
}

/// What `observe` would have gathered.
pub(super) fn observed(given: Given, validated: Option<&Validated>) -> Observed {
    let Given {
        component,
        resolution,
        p3,
        values,
        nodes,
        placements,
        revisions,
        service,
        slices,
        since_slices,
        ports,
        network_policies,
        audits,
        denied,
        since_stop,
        current,
        updating,
        pinned,
        failed,
        manifests,
        capability_policies,
        others,
        previews,
    } = given;
    let since_progress = updating.as_ref().and_then(|update| update.since);
    let calls = updating
        .as_ref()
        .map_or_else(Calls::default, |update| Calls {
            wanted: update.calls.clone(),
            proven: update.calls_before.clone(),
        });
    let never_admitted = !matches!(resolution, GivenResolution::Done(_)) && placements.is_empty();
    let mut component = component;
    if let Some(word) = current {
        let document = document(&component, validated, &word, &manifests);
        let status = component.status.get_or_insert_default();
        status.current = Some(ActiveRevision {
            revision: document.revision_name(),
            digest: document.digest,
            version: None,
            signer: None,
        });
    }
    if let Some(GivenUpdate {
        to,
        reached,
        step,
        since,
        ..
    }) = updating
    {
        let document = document(&component, validated, &to, &manifests);
        let time = |since| {
            let seconds = crate::NOW - i64::try_from(since).unwrap();
            Time(Timestamp::from_second(seconds).unwrap())
        };
        let status = component.status.get_or_insert_default();
        status.updating = Some(UpdatingRevision {
            revision: document.revision_name(),
            digest: document.digest,
            reached_nodes: reached,
            step,
            since: since.map(time),
            ..UpdatingRevision::default()
        });
    }
    if let Some(word) = pinned {
        let document = document(&component, validated, &word, &manifests);
        let status = component.status.get_or_insert_default();
        status.pinned = validated.map(|validated| PinnedRevision {
            revision: document.revision_name(),
            spec_hash: validated.spec_hash.clone(),
        });
    }
    if let Some(word) = failed {
        let document = document(&component, validated, &word, &manifests);
        let status = component.status.get_or_insert_default();
        status.failed_digest = Some(digest(&word).to_string());
        status.failure = validated.map(|validated| RolloutFailure {
            revision: document.revision_name(),
            spec_hash: validated.spec_hash.clone(),
            reason: Reason::HealthCheckFailed,
            message: "failed on node n2 with HealthCheckFailed: GET /healthz was answered with 500"
                .to_owned(),
        });
    }
    let component = Arc::new(component);
    let name_of = |word: &str| document(&component, validated, word, &manifests).revision_name();
    let allocated: BTreeMap<String, u16> = component
        .spec
        .triggers
        .iter()
        .flat_map(Trigger::ports)
        .zip(20_017..)
        .map(|((name, _), port)| (name.to_owned(), port))
        .collect();
    let facts: Nodes = nodes
        .into_iter()
        .map(|(name, node)| (name.clone(), fact(&name, node)))
        .collect();

    let placed: Vec<Placed> = placements
        .iter()
        .map(|given| placed(given, &component, &allocated, &name_of))
        .collect();
    let known: Vec<KnownRevision> = revisions
        .iter()
        .zip(1..)
        .map(|(word, number)| {
            let document = document(&component, validated, word, &manifests);
            let seal = Seal::new("cluster", 1, b"signature");
            KnownRevision {
                name: document.revision_name(),
                number,
                document,
                seal,
            }
        })
        .collect();
    let standing = match service {
        GivenService::Absent => service::Standing::Absent,
        GivenService::Foreign => service::Standing::Foreign,
        GivenService::Ours => {
            service::Standing::Ours(Box::new(own_service(&component, &allocated)))
        }
    };
    let slices = match &standing {
        service::Standing::Ours(service) => slices
            .iter()
            .map(|slice| own_slice(slice, &component, service, &allocated, &facts))
            .collect(),
        _ => Vec::new(),
    };
    Observed {
        resolution: match resolution {
            GivenResolution::Pending => Resolution::Pending,
            GivenResolution::Done(word) => Resolution::Done(Admitted {
                requests: requests(&word, &manifests),
                ..admitted(&word, p3, &audits)
            }),
            GivenResolution::Failed {
                reason,
                message,
                verdict,
                of,
                stops,
            } => Resolution::Failed(Failure {
                digest: verdict.then(|| digest(of.as_deref().unwrap_or("refused"))),
                findings: findings(&audits),
                ..refusal(reason, message, verdict, stops)
            }),
        },
        reviews: denied
            .iter()
            .map(|word| Review {
                digest: digest(word),
                refusal: Some(refusal(Reason::DigestDenied, String::new(), true, true)),
            })
            .collect(),
        policies: policies(capability_policies),
        usage: Usage {
            components: others.components,
            memory: others.memory,
            ports: others.ports,
        },
        since_progress: since_progress.map(Duration::from_secs),
        calls,
        since_stop: since_stop.map(Duration::from_secs),
        values: values.map_or(Ok(()), |blocked| {
            Err(Blocked {
                reason: blocked.reason,
                message: blocked.message,
            })
        }),
        nodes: facts,
        placements: placed,
        next_revision: i64::try_from(known.len()).unwrap() + 1,
        revisions: known,
        service: standing,
        slices,
        since_slices: since_slices.map(Duration::from_millis),
        network_policy: network_policies.then(|| NetworkPolicyStanding {
            home: Home {
                namespace: "lighterman-system".to_owned(),
                owner: None,
            },
            existing: None,
        }),
        ports: match ports {
            // As the driver does: what was never admitted gets no port.
            GivenPorts::Held if never_admitted => Ok(BTreeMap::new()),
            GivenPorts::Held => Ok(allocated),
            GivenPorts::Exhausted => Err(exhausted()),
        },
        previews: previews.into_iter().map(Arc::new).collect(),
        component: Arc::clone(&component),
    }
}

fn policies(given: Vec<GivenPolicy>) -> Policies {
    let policies: Vec<CapabilityPolicy> = given
        .into_iter()
        .map(|policy| CapabilityPolicy::new(&policy.name, policy.spec))
        .collect();
    Policies::covering(&policies, None)
}

fn exhausted() -> NoPortFree {
    let mut ledger = Ledger::new("20000-20000".parse().unwrap());
    let holder = |name: &str| Holder {
        component: operator::component::Key::new("bank", name),
        uid: name.to_owned(),
        trigger: "web".to_owned(),
    };
    ledger
        .allocate(&holder("a"), Timestamp::UNIX_EPOCH)
        .unwrap();
    ledger
        .allocate(&holder("b"), Timestamp::UNIX_EPOCH)
        .unwrap_err()
}

fn refusal(reason: Reason, message: String, verdict: bool, stops: bool) -> Failure {
    Failure {
        reason,
        message,
        verdict,
        digest: None,
        retry_after: None,
        findings: Vec::new(),
        stops,
    }
}

fn findings(audits: &[GivenAudit]) -> Vec<Finding> {
    let finding = |given: &GivenAudit| Finding {
        policy: given.policy.clone(),
        audit: true,
        refusal: Some((given.reason, given.message.clone())),
    };
    audits.iter().map(finding).collect()
}

fn admitted(word: &str, p3: bool, audits: &[GivenAudit]) -> Admitted {
    Admitted {
        digest: digest(word),
        signers: vec![Signer {
            policy: "shop".to_owned(),
            authority: "release".to_owned(),
            by: SignedBy::Key {
                key_id: "k".to_owned(),
            },
            signed_at: None,
        }],
        findings: findings(audits),
        facts: Facts {
            name: Some("orders".to_owned()),
            version: None,
            imports: Vec::new(),
            exports: [
                "wasi:http/incoming-handler@0.2.4",
                "wasi:cli/run@0.2.6",
                "acme:math/tools@1.2.0",
            ]
            .map(str::to_owned)
            .into(),
            world: if p3 { World::HttpP3 } else { World::HttpP2 },
            initial_memory: 0,
            data_bytes: 0,
            memories: 1,
            core_modules: 1,
            request: None,
        },
        requests: Vec::new(),
    }
}

fn fact(name: &str, node: GivenNode) -> NodeFact {
    let standing = match node.standing {
        GivenStanding::Ready => Standing::Ready,
        GivenStanding::Suspended => Standing::Suspended,
        GivenStanding::Lost => Standing::Lost,
    };
    NodeFact {
        planned: placement::Node {
            labels: node.labels,
            taints: node.taints,
            standing,
            features: Some(node.features),
            memory: node.memory,
            reserved: Bytes(0),
        },
        zone: node.zone,
        agent: Some(Agent {
            namespace: "lighterman-system".to_owned(),
            name: format!("agent-{name}"),
            uid: format!("uid-agent-{name}"),
            addresses: vec![node.address],
            ready: node.standing == GivenStanding::Ready,
            terminating: node.terminating,
        }),
    }
}

fn placed(
    given: &GivenPlacement,
    component: &WasmComponent,
    ports: &BTreeMap<String, u16>,
    name_of: &dyn Fn(&str) -> String,
) -> Placed {
    let revisions = given
        .revisions
        .iter()
        .zip(&given.weights)
        .map(|(word, weight)| PlacedRevision {
            name: name_of(word),
            digest: digest(word).to_string(),
            weight: *weight,
        })
        .collect();
    let name = names::placement_name(&component.name_any(), &given.node);
    let mut object: ComponentPlacement = serde_json::from_value(json!({
        "apiVersion": crds::API_VERSION,
        "kind": "ComponentPlacement",
        "metadata": {
            "namespace": component.namespace(),
            "name": name,
            "uid": format!("uid-placement-{}", given.node),
            "resourceVersion": "7",
        },
        "spec": {
            "componentRef": {"name": component.name_any(), "uid": component.uid()},
            "nodeName": given.node,
            "replicas": given.replicas,
            "revisions": [],
        },
    }))
    .unwrap();
    object.spec.revisions = revisions;
    object.spec.ports = ports
        .iter()
        .map(|(trigger, port)| PlacedPort {
            trigger: trigger.clone(),
            port: i32::from(*port),
        })
        .collect();
    object.status = Some(ComponentPlacementStatus {
        ready: given.serving.is_some(),
        serving: given.serving.as_deref().map(name_of),
        revisions: given
            .failed
            .iter()
            .map(|word| RevisionStatus {
                name: name_of(word),
                phase: Phase::Failed,
                reason: Some(Reason::HealthCheckFailed),
                message: Some("GET /healthz was answered with 500".to_owned()),
            })
            .chain(given.sharing.iter().map(|word| RevisionStatus {
                name: name_of(word),
                phase: Phase::Serving,
                ..RevisionStatus::default()
            }))
            .collect(),
        run: given.run.as_ref().map(|run| RunStatus {
            revision: name_of(&run.of),
            running: run.running,
            waiting: run.waiting,
            completed: run.completed,
            failed: run.failed,
            last_end: run.last_end.clone(),
        }),
        ..ComponentPlacementStatus::default()
    });
    Placed {
        object,
        steady: given.steady.map(Duration::from_secs),
    }
}

fn own_service(component: &WasmComponent, ports: &BTreeMap<String, u16>) -> Service {
    let key = operator::component::Key::new(component.namespace().unwrap(), component.name_any());
    let (uid, spec) = (component.uid().unwrap(), &component.spec);
    let mut service = service::service(
        &key,
        &uid,
        &spec.service,
        &spec.triggers,
        ports,
        &service::Standing::Absent,
    )
    .unwrap();
    service.metadata.uid = Some("uid-service".to_owned());
    service
}

fn own_slice(
    given: &GivenSlice,
    component: &WasmComponent,
    service: &Service,
    ports: &BTreeMap<String, u16>,
    nodes: &Nodes,
) -> EndpointSlice {
    let key = operator::component::Key::new(component.namespace().unwrap(), component.name_any());
    let serving: Vec<ComponentPlacement> = given
        .ready
        .iter()
        .map(|node| {
            let given = GivenPlacement {
                node: node.clone(),
                replicas: 1,
                revisions: Vec::new(),
                weights: Vec::new(),
                sharing: Vec::new(),
                serving: Some(String::new()),
                failed: None,
                steady: None,
                run: None,
            };
            placed(&given, component, ports, &|_| String::new()).object
        })
        .collect();
    let ready: Nodes = nodes
        .iter()
        .map(|(name, fact)| {
            let mut fact = fact.clone();
            if let Some(agent) = &mut fact.agent {
                (agent.ready, agent.terminating) = (true, false);
            }
            (name.clone(), fact)
        })
        .collect();
    let placements: Vec<&ComponentPlacement> = serving.iter().collect();
    let mut slice = service::slices(&key, service, ports, &placements, &ready, &[])
        .create
        .remove(0);
    slice.metadata.uid = Some("uid-slice".to_owned());
    slice.metadata.resource_version = Some("7".to_owned());
    slice
}
