//! The law of revisions: the same object hashes the same, in every version to come.

use capability::{Bytes, Span};

use super::*;
use crate::component::{EnvVarSource, HttpGet, NoAuth, ObjectReference, SecretKeySelector};

fn smallest() -> RevisionDocument {
    RevisionDocument {
        version: RevisionDocument::VERSION,
        component: ComponentIdentity {
            namespace: "shop".to_owned(),
            name: "orders".to_owned(),
            uid: "0b7a4f0e-8f5e-4b53-9d5c-6e1f2c3d4e5f".to_owned(),
        },
        image: "registry.example/shop/orders".to_owned(),
        digest: format!("sha256:{}", "a".repeat(64)),
        args: Vec::new(),
        env: Vec::new(),
        env_from: Vec::new(),
        config: Vec::new(),
        volumes: Vec::new(),
        capabilities: Capabilities::default(),
        audit: AuditLevel::default(),
        requests: Vec::new(),
        triggers: Vec::new(),
        limits: Limits::default(),
        health: None,
        termination_grace_period_seconds: default_grace_period(),
    }
}

fn full() -> RevisionDocument {
    let mut limits = Limits::default();
    limits.per_call.memory = Bytes::mib(32);
    RevisionDocument {
        args: vec!["--verbose".to_owned()],
        env: vec![
            EnvVar {
                name: "LOG_LEVEL".to_owned(),
                value: Some("info".to_owned()),
                value_from: None,
            },
            EnvVar {
                name: "TOKEN".to_owned(),
                value: None,
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: "t".to_owned(),
                        key: "k".to_owned(),
                        optional: None,
                    }),
                    config_map_key_ref: None,
                }),
            },
        ],
        env_from: vec![EnvFromSource {
            prefix: Some("APP_".to_owned()),
            config_map_ref: Some(ObjectReference {
                name: "c".to_owned(),
                optional: Some(true),
            }),
            secret_ref: None,
        }],
        config: vec![EnvVar {
            name: "greeting".to_owned(),
            value: Some("hello".to_owned()),
            value_from: None,
        }],
        triggers: vec![
            RevisionTrigger {
                name: "web".to_owned(),
                http: Some(RevisionHttpTrigger::default()),
                ..RevisionTrigger::default()
            },
            RevisionTrigger {
                name: "admin".to_owned(),
                http: Some(RevisionHttpTrigger {
                    port: 8080,
                    max_request_body: Bytes::mib(1),
                }),
                ..RevisionTrigger::default()
            },
        ],
        limits,
        health: Some(Health {
            http_get: Some(HttpGet {
                path: "/healthz".to_owned(),
            }),
            start_timeout: Span::seconds(5),
        }),
        termination_grace_period_seconds: 60,
        ..smallest()
    }
}

/// With every part that later versions added.
fn capable() -> RevisionDocument {
    let capabilities = json!({
        "filesystem": [{"volume": "data", "mountPath": "/data", "read": ["/data/**"]}],
        "network": {"outbound": [
            {"host": "api.example.com", "credentials": {"header": "Authorization", "secretKeyRef": {"name": "t", "key": "k"}}},
            {"host": "db.shop.svc.cluster.local", "port": 5432, "protocol": "TCP", "reach": "Private"},
        ]},
    });
    let volumes = json!([{"name": "data", "emptyDir": {}}]);
    RevisionDocument {
        volumes: serde_json::from_value(volumes).unwrap(),
        capabilities: serde_json::from_value(capabilities).unwrap(),
        audit: AuditLevel::All,
        requests: vec![Request::default()],
        ..smallest()
    }
}

/// If this test fails, every component of every cluster would roll at the next
/// upgrade. Do not write the new hash here: make the new field's default left out.
#[test]
fn an_old_object_keeps_its_hash() {
    assert_eq!(smallest().hash().as_str(), "68eb5f7ff0");
    assert_eq!(full().hash().as_str(), "2694bef30c");
    assert_eq!(capable().hash().as_str(), "70f68f9a8b");
}

#[test]
fn what_has_its_default_is_not_written() {
    let canonical = smallest().canonical();
    let members: Vec<&String> = canonical.as_object().unwrap().keys().collect();
    assert_eq!(members, ["component", "digest", "image", "version"]);
    let canonical = full().canonical();
    let mut health = full();
    health.health = health.health.map(|health| Health {
        start_timeout: Span::seconds(10),
        ..health
    });
    assert_eq!(
        health.canonical()["health"],
        json!({"httpGet": {"path": "/healthz"}})
    );
    assert_eq!(
        capable().canonical()["capabilities"],
        json!({
            "filesystem": [{"volume": "data", "mountPath": "/data", "read": ["/data/**"]}],
            "network": {"outbound": [
                {"host": "api.example.com", "credentials": {"header": "Authorization", "secretKeyRef": {"name": "t", "key": "k"}}},
                {"host": "db.shop.svc.cluster.local", "port": 5432, "protocol": "TCP", "reach": "Private"},
            ]},
        })
    );
    assert_eq!(canonical["limits"], json!({"perCall": {"memory": "32Mi"}}));
    assert_eq!(
        canonical["triggers"],
        json!([
            {"name": "web", "http": {}},
            {"name": "admin", "http": {"port": 8080, "maxRequestBody": "1Mi"}},
        ])
    );
}

#[test]
fn the_canonical_form_reads_back_as_the_same_document() {
    for document in [smallest(), full(), capable()] {
        let read: RevisionDocument = serde_json::from_value(document.canonical()).unwrap();
        assert_eq!(read, document);
        let read: RevisionDocument =
            serde_json::from_value(serde_json::to_value(&document).unwrap()).unwrap();
        assert_eq!(read.hash(), document.hash());
    }
}

#[test]
fn a_document_of_a_later_version_is_read_without_what_is_new() {
    let mut value = full().canonical();
    value["invented"] = json!("tomorrow");
    let read: RevisionDocument = serde_json::from_value(value).unwrap();
    assert_eq!(read, full());
}

#[test]
fn every_part_of_a_document_is_in_its_hash() {
    type Change = fn(&mut RevisionDocument);
    let changes: [Change; 11] = [
        |d| d.component.uid = "another".to_owned(),
        |d| d.image.push('x'),
        |d| d.digest = format!("sha256:{}", "b".repeat(64)),
        |d| d.args.push(String::new()),
        |d| d.env[0].value = Some("debug".to_owned()),
        |d| d.env_from.clear(),
        |d| d.config[0].name.push('x'),
        |d| d.triggers[1].name.push('x'),
        |d| d.limits.per_call.timeout = Span::seconds(31),
        |d| d.health = None,
        |d| d.termination_grace_period_seconds = 61,
    ];
    let later: [Change; 5] = [
        |d| d.volumes[0].name.push('x'),
        |d| d.capabilities.filesystem[0].write.push("/data".to_owned()),
        |d| d.capabilities.network.outbound[0].credentials = None,
        |d| d.audit = AuditLevel::Denials,
        |d| d.requests.clear(),
    ];
    let changes = changes.map(|change| (full(), change)).into_iter();
    let changes = changes.chain(later.map(|change| (capable(), change)));
    for (index, (before, change)) in changes.enumerate() {
        let mut document = before.clone();
        change(&mut document);
        assert_ne!(document.hash(), before.hash(), "change {index}");
        assert_ne!(
            document.seal_statement("c", 1),
            before.seal_statement("c", 1),
            "change {index}"
        );
    }
}

#[test]
fn a_seal_is_for_one_cluster_one_component_and_one_generation() {
    let statement = full().seal_statement("cluster", 7);
    assert_eq!(statement, full().seal_statement("cluster", 7));
    assert_ne!(statement, full().seal_statement("another", 7));
    assert_ne!(statement, full().seal_statement("cluster", 8));
    let value: Value = serde_json::from_slice(&statement).unwrap();
    assert_eq!(value["type"], "lighterman.dev/seal/v1");
    assert_eq!(value["namespace"], "shop");
    assert_eq!(value["component"], full().component.uid);
    assert_eq!(value["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_signature_survives_its_annotation() {
    let seal = Seal::new("cluster", 7, &[0, 1, 254, 255]);
    let read: Seal = serde_json::from_str(&serde_json::to_string(&seal).unwrap()).unwrap();
    assert_eq!(read.signature_bytes(), Some(vec![0, 1, 254, 255]));
    let broken = Seal {
        signature: "*".to_owned(),
        ..seal
    };
    assert_eq!(broken.signature_bytes(), None);
}

#[test]
fn a_run_trigger_is_written_without_its_default() {
    let of = |restart_policy| RevisionDocument {
        triggers: vec![RevisionTrigger {
            name: "main".to_owned(),
            run: Some(RevisionRunTrigger {
                restart_policy,
                ports: Vec::new(),
            }),
            ..RevisionTrigger::default()
        }],
        ..smallest()
    };
    let written = |document: &RevisionDocument| document.canonical()["triggers"].clone();
    let always = of(RestartPolicy::Always);
    assert_eq!(written(&always), json!([{"name": "main", "run": {}}]));
    let never = of(RestartPolicy::Never);
    let told = json!([{"name": "main", "run": {"restartPolicy": "Never"}}]);
    assert_eq!(written(&never), told);
    assert_ne!(always.hash(), never.hash());
    assert_eq!(never.run().map(|(name, _)| name), Some("main"));
    let mut listens = always.clone();
    let run = listens.triggers[0].run.as_mut().unwrap();
    run.ports = vec![RevisionRunPort {
        name: "tcp".to_owned(),
        port: 5000,
    }];
    let told = json!([{"name": "main", "run": {"ports": [{"name": "tcp", "port": 5000}]}}]);
    assert_eq!(written(&listens), told);
    assert_ne!(always.hash(), listens.hash());
    let read: RevisionDocument = serde_json::from_value(always.canonical()).unwrap();
    assert_eq!(read, always);
}

#[test]
fn an_invoke_trigger_is_written_without_its_defaults() {
    let invoke = RevisionInvokeTrigger {
        interfaces: vec!["acme:math/tools@1".to_owned()],
        auth: InvokeAuth {
            none: Some(NoAuth {}),
        },
        ..RevisionInvokeTrigger::default()
    };
    let document = RevisionDocument {
        triggers: vec![RevisionTrigger {
            name: "rpc".to_owned(),
            invoke: Some(invoke),
            ..RevisionTrigger::default()
        }],
        ..smallest()
    };
    let told = json!([{
        "name": "rpc",
        "invoke": {"interfaces": ["acme:math/tools@1"], "auth": {"none": {}}},
    }]);
    assert_eq!(document.canonical()["triggers"], told);
    let read: RevisionDocument = serde_json::from_value(document.canonical()).unwrap();
    assert_eq!(read, document);
}
