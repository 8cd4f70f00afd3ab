//! Forged, foreign and changed revisions.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use crds::WasmComponentSpec;
use crds::component::{EnvFromSource, EnvVar, EnvVarSource, SecretKeySelector};
use crds::handover::Values;
use crds::revision::{ComponentIdentity, Seal};

use super::*;
use crate::source::Rules;

const CLUSTER: &str = "cluster-uid";

fn component() -> ComponentIdentity {
    ComponentIdentity {
        namespace: "shop".into(),
        name: "orders".into(),
        uid: "uid-1".into(),
    }
}

fn document() -> RevisionDocument {
    RevisionDocument {
        version: RevisionDocument::VERSION,
        component: component(),
        image: "registry.example/shop/orders".into(),
        digest: Digest::of(b"manifest").to_string(),
        args: vec!["serve".into()],
        env: Vec::new(),
        env_from: Vec::new(),
        config: Vec::new(),
        volumes: Vec::new(),
        capabilities: Default::default(),
        audit: Default::default(),
        requests: Vec::new(),
        triggers: Vec::new(),
        limits: Default::default(),
        health: None,
        termination_grace_period_seconds: 30,
    }
}

struct Scene {
    placement: DesiredPlacement,
    offered: Offered,
    trust: Trust,
    operator: Ed25519KeyPair,
}

/// Everything is as it should be; each test breaks one thing.
fn scene() -> Scene {
    let operator = Ed25519KeyPair::generate().unwrap();
    let document = document();
    let revision = DesiredRevision {
        name: document.revision_name(),
        digest: Digest::of(b"manifest"),
        weight: 100,
    };
    let mut scene = Scene {
        placement: DesiredPlacement {
            uid: "uid-2".into(),
            generation: 1,
            component: component(),
            replicas: 1,
            ports: BTreeMap::new(),
            revisions: vec![revision],
        },
        offered: Offered {
            document,
            seal: None,
            parcel: None,
        },
        trust: Trust {
            rules: Rules::default(),
            namespace_labels: BTreeMap::new(),
            image: "registry.example/shop/orders:1.4".parse().unwrap(),
            spec: Box::new(WasmComponentSpec {
                args: vec!["serve".into()],
                ..WasmComponentSpec::default()
            }),
            origin: Origin::Operator {
                cluster_uid: CLUSTER.into(),
                seal_key: operator.public_key().as_ref().to_vec(),
            },
            ceilings: Vec::new(),
        },
        operator,
    };
    scene.seal(CLUSTER);
    scene
}

impl Scene {
    fn seal(&mut self, cluster: &str) {
        let statement = self.offered.document.seal_statement(cluster, 7);
        let signature = self.operator.sign(&statement);
        self.offered.seal = Some(Seal::new(cluster, 7, signature.as_ref()));
    }

    /// Names the revision in the placement as its content demands.
    fn place(&mut self) {
        self.placement.revisions[0].name = self.offered.document.revision_name();
    }

    fn judge(&self) -> Result<Accepted<'_>, Invalid> {
        revision(
            &self.placement,
            &self.placement.revisions[0],
            &self.offered,
            &self.trust,
        )
    }
}

#[test]
fn a_sealed_revision_of_the_components_image_is_accepted() {
    let scene = scene();
    assert_eq!(scene.judge().unwrap().digest, Digest::of(b"manifest"));
}

#[test]
fn a_changed_document_has_another_name() {
    let mut scene = scene();
    scene.offered.document.args.push("--debug".into());
    assert!(matches!(
        scene.judge().unwrap_err(),
        Invalid::OtherRevision { .. }
    ));
}

#[test]
fn a_changed_document_under_its_new_name_breaks_the_seal() {
    let mut scene = scene();
    scene.offered.document.args.push("--debug".into());
    scene.place();
    assert_eq!(scene.judge().unwrap_err(), Invalid::SealBroken);
}

#[test]
fn a_revision_without_a_seal_is_refused_in_a_cluster() {
    let mut scene = scene();
    scene.offered.seal = None;
    assert_eq!(scene.judge().unwrap_err(), Invalid::Unsealed);
}

#[test]
fn a_seal_of_another_cluster_does_not_hold() {
    let mut scene = scene();
    scene.seal("another-cluster");
    assert_eq!(scene.judge().unwrap_err(), Invalid::SealBroken);
}

#[test]
fn a_seal_with_another_generation_does_not_hold() {
    let mut scene = scene();
    scene.offered.seal.as_mut().unwrap().generation = 8;
    assert_eq!(scene.judge().unwrap_err(), Invalid::SealBroken);
}

#[test]
fn a_seal_by_another_key_does_not_hold() {
    let mut scene = scene();
    scene.operator = Ed25519KeyPair::generate().unwrap();
    scene.seal(CLUSTER);
    assert_eq!(scene.judge().unwrap_err(), Invalid::SealBroken);
}

#[test]
fn a_revision_of_another_component_is_refused() {
    let mut scene = scene();
    scene.placement.component.uid = "uid-of-its-predecessor".into();
    assert!(matches!(
        scene.judge().unwrap_err(),
        Invalid::OtherComponent { .. }
    ));
}

#[test]
fn a_placement_with_another_digest_is_refused() {
    let mut scene = scene();
    scene.placement.revisions[0].digest = Digest::of(b"other");
    assert!(matches!(
        scene.judge().unwrap_err(),
        Invalid::OtherDigest { .. }
    ));
}

#[test]
fn even_the_operator_may_not_choose_another_repository() {
    let mut scene = scene();
    scene.offered.document.image = "registry.example/attacker/orders".into();
    scene.place();
    scene.seal(CLUSTER);
    assert!(matches!(
        scene.judge().unwrap_err(),
        Invalid::OtherRepository { .. }
    ));
}

#[test]
fn even_the_operator_may_not_give_more_than_the_component_does() {
    let mut scene = scene();
    scene.offered.document.args.push("--debug".into());
    scene.place();
    scene.seal(CLUSTER);
    let error = scene.judge().unwrap_err();
    assert_eq!(error, Invalid::GrantExceeded { part: "args" });
    assert!(error.is_superseded());
}

#[test]
fn in_one_process_there_is_no_seal_to_check() {
    let mut scene = scene();
    scene.offered.seal = None;
    scene.trust.origin = Origin::SameProcess;
    assert!(scene.judge().is_ok());
}

fn variable(name: &str, value: Option<&str>) -> EnvVar {
    let from_secret = EnvVarSource {
        secret_key_ref: Some(SecretKeySelector {
            name: "secret".into(),
            key: "key".into(),
            optional: None,
        }),
        config_map_key_ref: None,
    };
    EnvVar {
        name: name.into(),
        value: value.map(str::to_owned),
        value_from: value.is_none().then_some(from_secret),
    }
}

fn handed_over(env: &[(&str, &str)]) -> Values {
    let env = env
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect();
    Values {
        env,
        ..Values::default()
    }
}

#[test]
fn a_value_that_the_revision_does_not_name_is_refused() {
    let mut document = document();
    document.env = vec![variable("TOKEN", None)];
    let granted = values(&document, handed_over(&[("TOKEN", "t")])).unwrap();
    assert_eq!(granted.env["TOKEN"], "t");
    let error = values(
        &document,
        handed_over(&[("TOKEN", "t"), ("LD_PRELOAD", "x")]),
    )
    .unwrap_err();
    assert_eq!(error, Invalid::ForeignValue("LD_PRELOAD".into()));
    assert_eq!(
        values(&document, Values::default()).unwrap_err(),
        Invalid::MissingValue("TOKEN".into())
    );
}

#[test]
fn a_written_value_cannot_be_replaced_by_a_handed_over_one() {
    let mut document = document();
    document.env = vec![variable("LEVEL", Some("info"))];
    assert!(!needs_values(&document));
    let granted = values(&document, handed_over(&[("LEVEL", "debug")])).unwrap();
    assert_eq!(granted.env["LEVEL"], "info");
}

#[test]
fn a_source_of_variables_admits_names_with_its_prefix_only() {
    let mut document = document();
    document.env_from = vec![EnvFromSource {
        prefix: Some("DB_".into()),
        ..EnvFromSource::default()
    }];
    assert!(needs_values(&document));
    assert!(values(&document, handed_over(&[("DB_HOST", "db")])).is_ok());
    assert!(values(&document, handed_over(&[("HOST", "db")])).is_err());
}

#[test]
fn values_of_a_secret_are_told_from_those_of_a_config_map() {
    let mut document = document();
    document.env_from = vec![EnvFromSource {
        config_map_ref: Some(Default::default()),
        ..EnvFromSource::default()
    }];
    assert!(needs_values(&document) && !names_secrets(&document));
    document.config = vec![variable("TOKEN", None)];
    assert!(names_secrets(&document));
    document.config.clear();
    document.env_from = vec![EnvFromSource {
        secret_ref: Some(Default::default()),
        ..EnvFromSource::default()
    }];
    assert!(names_secrets(&document));
}
