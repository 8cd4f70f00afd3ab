//! What a component may use: its own limits, its manifest's, and the ceilings'.

use capability::{
    Allow, Bytes, Ceiling, Grant, LimitCeiling, Limits, Mend, OutboundRule, PerCallCeiling,
    PerReplicaCeiling, Protocol, Refusal, RefusalKind, Span, effective_limits, judge,
};

use crate::given::{ceiling, https, manifest, sample};
use crate::judgements::{judged, kinds, listed};

#[test]
fn limits_above_a_ceiling_are_refused_with_the_most_there_is() {
    let low = Ceiling {
        limits: LimitCeiling {
            per_call: PerCallCeiling {
                memory: Some(Bytes::mib(32)),
                cpu_time: Some(Span::milliseconds(100)),
                timeout: Some(Span::seconds(10)),
                fuel: Some(5_000_000),
                io: Some(Bytes::mib(1)),
            },
            per_replica: PerReplicaCeiling {
                concurrency: Some(10),
                memory: Some(Bytes::mib(256)),
            },
        },
        ..ceiling("tenants")
    };
    let refusals = judged(&[], &Grant::default(), std::slice::from_ref(&low));
    assert_eq!(refusals.len(), 7);
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.kind == RefusalKind::LimitAboveCeiling)
    );
    assert_eq!(
        refusals[0].message,
        "spec.resources.perCall.memory is 64Mi, and CapabilityPolicy tenants admits at most 32Mi: write that or less, or ask the platform team to raise spec.limits of that policy"
    );
    let yaml = Refusal::component_yaml(&refusals).unwrap();
    assert_eq!(
        yaml,
        "  resources:\n    perCall: {memory: 32Mi, cpuTime: 100ms, timeout: 10s, fuel: 5000000, io: 1Mi}\n    perReplica: {concurrency: 10, memory: 256Mi}\n"
    );
    assert_eq!(
        refusals[3].message,
        "spec.resources.perCall.fuel is not limited, and CapabilityPolicy tenants admits at most 5000000: write that or less, or ask the platform team to raise spec.limits of that policy"
    );
    // What the manifest lowers anyway is not above the ceiling.
    let refusals = judged(
        &[manifest(
            "[resources.memory]\nmax_memory_bytes = 2097152\n[resources.cpu]\nmax_fuel = 5000000",
        )],
        &Grant::default(),
        &[low],
    );
    assert!(
        refusals
            .iter()
            .all(|refusal| !["perCall.memory", "perCall.fuel"].contains(&refusal.subject.as_str()))
    );
}

#[test]
fn an_instance_answers_more_than_once_only_where_every_ceiling_admits_it() {
    let mut limits = Limits::default();
    limits.instances.max_requests = 2;
    let judged = |ceilings: &[Ceiling]| judge(&[], &Grant::default(), ceilings, &limits);
    let open = Ceiling {
        allow: Allow {
            instance_reuse: true,
            ..Allow::default()
        },
        ..ceiling("open")
    };
    assert_eq!(judged(std::slice::from_ref(&open)), []);
    assert_eq!(
        kinds(&judged(&[])),
        [(RefusalKind::AboveCeiling, "capabilities")]
    );
    let refusals = judged(&[open, ceiling("tenants")]);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::AboveCeiling, "instances.maxRequests")]
    );
    let mend = refusals[0].mend.as_ref().unwrap();
    assert!(matches!(mend, Mend::Policy(policy, _) if policy == "tenants"));
    assert_eq!(mend.yaml(), "  allow:\n    instanceReuse: true\n");
}

#[test]
fn raw_sockets_and_a_limit_of_bytes_do_not_go_together() {
    let mut limits = Limits::default();
    limits.per_call.io = Some(Bytes::mib(1));
    let judged = |protocol: Protocol| {
        let rule = OutboundRule {
            protocol,
            ..https("db.example.com")
        };
        let admitted = Ceiling {
            allow: Allow {
                outbound: vec![rule.clone()],
                ..Allow::default()
            },
            ..ceiling("tenants")
        };
        let grant = listed(Vec::new(), vec![rule]);
        judge(&[], &grant, &[admitted], &limits)
    };
    assert_eq!(judged(Protocol::Https), []);
    let refusals = judged(Protocol::Tcp);
    assert_eq!(
        kinds(&refusals),
        [(RefusalKind::NotSupported, "perCall.io")]
    );
}

#[test]
fn a_manifest_lowers_limits_and_never_raises_them() {
    let limits = Limits::default();
    let lowered = effective_limits(&[sample()], &limits);
    assert_eq!(lowered.per_call.memory, Bytes::mib(2));
    assert_eq!(lowered.per_call.cpu_time, limits.per_call.cpu_time);
    let greedy = manifest(
        "[resources.memory]\nmax_memory_bytes = 9999999999\n[resources.cpu]\nmax_time_ms = 100000",
    );
    assert_eq!(effective_limits(&[greedy], &limits), limits);
    assert_eq!(lowered.check(), Ok(()));
    let frugal = manifest("[resources.cpu]\nmax_fuel = 50000");
    let metered = |given: Option<u64>| {
        let mut limits = Limits::default();
        limits.per_call.fuel = given;
        effective_limits(std::slice::from_ref(&frugal), &limits)
            .per_call
            .fuel
    };
    assert_eq!(metered(None), Some(50_000));
    assert_eq!(metered(Some(40_000)), Some(40_000));
    assert_eq!(metered(Some(60_000)), Some(50_000));
}
