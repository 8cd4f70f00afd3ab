//! What YAML grants and allows becomes what `capability` judges, whole where it can be
//! read, and less, never more, where it cannot.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use capability::{Bytes, Grant, Limits, Span, VolumeKind, VolumeSource};
use crds::document::{self, Document};
use crds::{CapabilityPolicySpec, WasmComponentSpec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn grant(capabilities: Value) -> Grant {
    let spec = json!({
        "image": "registry.example/a:1",
        "volumes": [
            {"name": "data", "emptyDir": {}},
            {"name": "models", "hostPath": {"path": "/srv/models"}},
            {"name": "broken", "hostPath": {"path": "srv"}},
            {"name": "tomorrow", "oci": {}},
        ],
        "capabilities": capabilities,
    });
    let spec: WasmComponentSpec = serde_json::from_value(spec).unwrap();
    spec.grant()
}

fn outbound(rules: Value) -> Vec<String> {
    let grant = grant(json!({"network": {"outbound": rules}}));
    grant.outbound().iter().map(ToString::to_string).collect()
}

fn ceiling(spec: Value) -> capability::Ceiling {
    let spec: CapabilityPolicySpec = serde_json::from_value(spec).unwrap();
    spec.ceiling("tenants")
}

#[test]
fn every_entry_of_the_full_file_arrives() {
    for document in document::check(include_str!("full.yaml")).unwrap() {
        match document {
            Document::WasmComponent(component) => {
                let capabilities = &component.spec.capabilities;
                let Grant::Listed {
                    filesystem,
                    outbound,
                    ..
                } = component.spec.grant()
                else {
                    panic!("it lists");
                };
                assert_eq!(filesystem.len(), capabilities.filesystem.len());
                for (read, written) in filesystem.iter().zip(&capabilities.filesystem) {
                    assert_eq!(read.read.len(), written.read.len());
                    assert_eq!(read.write.len(), written.write.len());
                }
                assert_eq!(outbound.len(), capabilities.network.outbound.len());
            }
            Document::CapabilityPolicy(policy) => {
                let ceiling = policy.spec.ceiling("tenants");
                let allow = &policy.spec.allow;
                assert_eq!(ceiling.policy, "tenants");
                assert!(ceiling.require_manifest);
                assert_eq!(ceiling.allow.volumes.len(), allow.volumes.len());
                assert_eq!(ceiling.allow.host_paths.len(), allow.host_paths.len());
                assert_eq!(ceiling.allow.outbound.len(), allow.network.outbound.len());
                assert_eq!(ceiling.limits.per_call.memory, Some(Bytes::mib(128)));
                assert_eq!(ceiling.limits.per_call.cpu_time, Some(Span::seconds(1)));
                assert_eq!(ceiling.limits.per_call.timeout, Some(Span::minutes(1)));
                assert_eq!(ceiling.limits.per_replica.concurrency, Some(200));
                assert_eq!(ceiling.limits.per_replica.memory, Some(Bytes::gib(1)));
            }
            _ => {}
        }
    }
}

#[test]
fn what_is_not_written_is_what_is_usual() {
    assert_eq!(
        outbound(json!([
            {"host": "api.example.com"},
            {"host": "api.example.com", "protocol": "HTTP"},
            {"host": "db.example.com", "protocol": "TCP", "port": 5432, "reach": "Private"},
            {"host": "*.example.com", "port": "8000-8099"},
        ])),
        [
            "HTTPS api.example.com:443",
            "HTTP api.example.com:80",
            "TCP db.example.com:5432 (Private)",
            "HTTPS *.example.com:8000-8099",
        ]
    );
    assert_eq!(grant(json!({})), Grant::default());
}

#[test]
fn a_rule_that_cannot_be_read_grants_nothing() {
    for rule in [
        json!({"host": "*"}),
        json!({"host": "*.com"}),
        json!({"host": "127.1"}),
        json!({"host": "a.example", "port": 0}),
        json!({"host": "a.example", "port": 65536}),
        json!({"host": "a.example", "port": "9-8"}),
        json!({"host": "a.example", "port": "443"}),
        json!({"host": "a.example", "protocol": "TCP"}),
        json!({"host": "a.example", "protocol": "QUIC", "port": 443}),
        json!({"host": "a.example", "reach": "Everywhere"}),
    ] {
        assert_eq!(outbound(json!([rule])), [""; 0], "{rule}");
    }
    for mount in [
        json!({"volume": "missing", "mountPath": "/data"}),
        json!({"volume": "tomorrow", "mountPath": "/data"}),
        json!({"volume": "broken", "mountPath": "/data"}),
        json!({"volume": "data", "mountPath": "data"}),
    ] {
        let grant = grant(json!({"filesystem": [mount]}));
        assert_eq!(grant.mounts().count(), 0, "{mount}");
    }
    let torn = grant(json!({"filesystem": [
        {"volume": "data", "mountPath": "/data", "read": ["data/**", "/data/**"], "write": ["/data/**/x"]},
    ]}));
    let Grant::Listed { filesystem, .. } = torn else {
        panic!("it lists");
    };
    assert_eq!(
        (filesystem[0].read.len(), filesystem[0].write.len()),
        (1, 0)
    );
}

#[test]
fn what_is_requested_is_granted_within_the_mounts_only() {
    let mounts = json!([{"volume": "models", "mountPath": "/models"}]);
    let grant = grant(json!({"grant": "Requested", "filesystem": mounts}));
    let Grant::Requested { mounts } = grant else {
        panic!("it is what is requested");
    };
    assert_eq!(
        mounts[0].source,
        VolumeSource::HostPath("/srv/models".parse().unwrap())
    );
}

#[test]
fn a_policy_that_cannot_be_read_allows_nothing() {
    let allow = json!({"volumes": ["emptyDir", "oci"], "network": {"outbound": [
        {"host": "*", "port": 443},
        {"host": "*.com"},
        {"host": "a.example", "protocol": "QUIC"},
    ]}});
    let read = ceiling(json!({"allow": allow}));
    assert_eq!(read.allow.volumes.len(), 1);
    assert!(read.allow.volumes.contains(&VolumeKind::EmptyDir));
    assert_eq!(read.allow.outbound.len(), 1);
    let expression = json!({"key": "tenant", "operator": "Resembles", "values": ["x"]});
    let selector = json!({"matchExpressions": [expression]});
    for unreadable in [
        json!({"mode": "Suggest", "allow": allow}),
        json!({"namespaceSelector": selector, "allow": allow}),
    ] {
        let spec: CapabilityPolicySpec = serde_json::from_value(unreadable.clone()).unwrap();
        assert!(
            spec.covers(&Default::default()),
            "it lets go of no namespace"
        );
        assert_eq!(ceiling(unreadable).allow, capability::Allow::default());
    }
}

#[test]
fn a_policy_decides_unless_it_only_audits_and_holds_unless_it_allows() {
    let policy = |spec: Value| -> CapabilityPolicySpec { serde_json::from_value(spec).unwrap() };
    for (spec, decides, holds) in [
        (json!({}), true, true),
        (
            json!({"mode": "Audit", "onIncrease": "Allow"}),
            false,
            false,
        ),
        (json!({"mode": "Suggest", "onIncrease": "Ask"}), true, true),
    ] {
        let policy = policy(spec);
        assert_eq!(
            (policy.decides(), policy.holds_increases()),
            (decides, holds)
        );
    }
}

#[test]
fn a_policy_without_a_port_allows_every_port() {
    let open =
        ceiling(json!({"allow": {"network": {"outbound": [{"host": "*", "protocol": "TCP"}]}}}));
    let rules = json!([{"host": "db.example.com", "protocol": "TCP", "port": "1-65535"}]);
    let grant = grant(json!({"network": {"outbound": rules}}));
    assert!(open.allow.admits_outbound(&grant.outbound()[0]));
    assert_eq!(open.limits.exceeded_by(&Limits::default()), []);
}

proptest! {
    /// Whatever `problems` accepts is understood whole: nothing a user was told is right is
    /// silently left out of the grant.
    #[test]
    fn what_is_accepted_is_granted(
        host in "([*][.])?[a-z0-9*.-]{1,12}([.](com|7|0x1f|example))?",
        port in prop_oneof![
            Just(Value::Null),
            (-1i32..70_000).prop_map(Value::from),
            "[0-9]{1,5}(-[0-9]{1,5})?".prop_map(Value::from),
        ],
        protocol in prop_oneof![Just("HTTPS"), Just("HTTP"), Just("TCP"), Just("UDP")],
        glob in "(/[a*.]{1,3}){1,3}/?",
    ) {
        let mut rule = json!({"host": host, "protocol": protocol});
        if !port.is_null() {
            rule["port"] = port;
        }
        let spec = json!({
            "image": "registry.example/a:1",
            "volumes": [{"name": "data", "emptyDir": {}}],
            "capabilities": {
                "filesystem": [{"volume": "data", "mountPath": "/data", "read": [format!("/data{glob}")]}],
                "network": {"outbound": [rule]},
            },
        });
        let spec: WasmComponentSpec = serde_json::from_value(spec).unwrap();
        let component = crds::WasmComponent::new("a", spec);
        let problems = crds::component::problems(&component);
        let Grant::Listed { filesystem, outbound, .. } = component.spec.grant() else {
            panic!("it lists");
        };
        let names = |part: &str| problems.iter().any(|problem| problem.field.contains(part));
        if !names("outbound") {
            prop_assert_eq!(outbound.len(), 1);
        }
        if !names(".read[") {
            prop_assert_eq!(filesystem[0].read.len(), 1);
        }
    }
}
