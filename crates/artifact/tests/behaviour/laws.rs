//! What holds for every set of policies and signatures: more demands never admit more,
//! fewer authorities never admit more, order changes nothing, and what strangers add
//! takes nothing away.

use std::sync::LazyLock;

use artifact::Parcel;
use artifact::trust::Policy;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sigstore::{Keyless, Sigstore, statement};
use crate::support::{Artifact, IN_TOTO, Key, bytes, http_component};

const SLSA: &str = "https://slsa.dev/provenance/v1";

/// Keys, a sigstore, and everything that can lie beside the artifact. Signing costs
/// too much to do it anew for each case.
struct World {
    keys: Vec<Key>,
    artifact: Artifact,
    evidence: Vec<Bytes>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let keys: Vec<Key> = (0..3).map(|_| Key::new()).collect();
    let sigstore = Sigstore::new();
    let roots = artifact::root::Roots::new().with_public_good(Ok(sigstore.root()));
    let artifact = Artifact::new(http_component()).with_roots(roots);
    let digest = artifact.digest;
    let mut evidence: Vec<Bytes> = keys.iter().map(|key| key.sign(&digest)).collect();
    for key in &keys {
        let provenance = statement(&digest, SLSA, json!({"builder": "good"}));
        evidence.push(bytes(
            &key.envelope(IN_TOTO, provenance.to_string().as_bytes()),
        ));
    }
    evidence.push(keys[0].sign(&artifact::Digest::of(b"other")));
    evidence.push(Key::new().sign(&digest));
    evidence.push(bytes(&sigstore.keyless(&Keyless::of(&digest))));
    evidence.push(bytes(&Sigstore::new().keyless(&Keyless::of(&digest))));
    evidence.push(Bytes::from_static(b"garbage"));
    World {
        keys,
        artifact,
        evidence,
    }
});

/// Authorities by number: three keys, one twice, one identity.
const AUTHORITIES: usize = 5;

fn authority(number: usize) -> Value {
    match number {
        4 => json!({
            "name": "ci", "ctlog": "Required",
            "keyless": {"identities": [{"issuerRegExp": ".*", "subjectRegExp": "https://github.com/acme/.*"}]},
        }),
        number => json!({
            "name": format!("key-{number}"), "ctlog": "Ignore",
            "key": {"data": WORLD.keys[number % 3].pem()},
        }),
    }
}

/// A policy's spec, and which authorities it has.
fn spec() -> impl Strategy<Value = Value> {
    (
        proptest::sample::subsequence((0..AUTHORITIES).collect::<Vec<_>>(), 0..=AUTHORITIES),
        1..4_usize,
        proptest::bool::weighted(0.3),
        proptest::bool::weighted(0.2),
        proptest::bool::weighted(0.1),
        proptest::bool::weighted(0.15),
        proptest::bool::weighted(0.1),
    )
        .prop_map(
            |(authorities, minimum, attested, revokes, denies, audit, elsewhere)| {
                let authorities: Vec<Value> = authorities.into_iter().map(authority).collect();
                let mut spec = json!({
                    "images": [{"glob": "registry.example/shop/**"}],
                    "authorities": authorities,
                    "minimumMatches": minimum,
                });
                if attested {
                    spec["attestations"] = json!([{
                        "predicateType": SLSA,
                        "conditions": [{"field": "/builder", "equals": ["good"]}],
                    }]);
                }
                if revokes {
                    spec["revoked"] = json!([{"keyId": WORLD.keys[1].id()}]);
                }
                if denies {
                    spec["deny"] = json!({"digests": [WORLD.artifact.digest.to_string()]});
                }
                if audit {
                    spec["mode"] = json!("Audit");
                }
                if elsewhere {
                    spec["images"] = json!([{"glob": "registry.example/billing/**"}]);
                }
                spec
            },
        )
}

fn evidence() -> impl Strategy<Value = Vec<Bytes>> {
    let all: Vec<usize> = (0..WORLD.evidence.len()).collect();
    proptest::sample::subsequence(all, 0..=WORLD.evidence.len()).prop_map(|chosen| {
        chosen
            .into_iter()
            .map(|at| WORLD.evidence[at].clone())
            .collect()
    })
}

fn read(specs: &[Value]) -> Vec<Policy> {
    let read = |(at, spec): (usize, &Value)| {
        let name = format!("policy-{at}");
        Policy::parse(&name, spec).unwrap_or_else(|error| Policy::closed(&name, spec, error))
    };
    specs.iter().enumerate().map(read).collect()
}

fn admits(specs: &[Value], evidence: &[Bytes]) -> bool {
    let artifact = Artifact {
        parcel: Parcel {
            bundles: evidence.to_vec(),
            ..WORLD.artifact.parcel.clone()
        },
        ..WORLD.artifact.clone()
    };
    artifact.judged_by(&read(specs)).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_further_policy_never_admits_what_the_others_refuse(
        specs in prop::collection::vec(spec(), 1..4),
        further in spec(),
        evidence in evidence(),
    ) {
        let policies = read(&specs);
        let decides = artifact::trust::admits_contact(&policies, &WORLD.artifact.scope()).is_ok();
        let audit = further.get("mode").is_some();
        // Where no policy decided, the first that does may admit; an Audit policy may not.
        prop_assume!(decides || audit);
        if !admits(&specs, &evidence) {
            let mut more = specs.clone();
            more.push(further);
            prop_assert!(!admits(&more, &evidence));
        }
    }

    #[test]
    fn an_authority_less_never_admits_more(
        specs in prop::collection::vec(spec(), 1..3),
        which in any::<prop::sample::Index>(),
        whose in any::<prop::sample::Index>(),
        evidence in evidence(),
    ) {
        let mut fewer = specs.clone();
        let authorities = fewer[whose.index(specs.len())]["authorities"].as_array_mut().unwrap();
        prop_assume!(!authorities.is_empty());
        authorities.remove(which.index(authorities.len()));
        if !admits(&specs, &evidence) {
            prop_assert!(!admits(&fewer, &evidence));
        }
    }

    #[test]
    fn order_changes_nothing(
        specs in prop::collection::vec(spec(), 1..4),
        evidence in evidence(),
    ) {
        let admitted = admits(&specs, &evidence);
        let reversed: Vec<Value> = specs
            .iter()
            .rev()
            .map(|spec| {
                let mut spec = spec.clone();
                spec["authorities"].as_array_mut().unwrap().reverse();
                spec
            })
            .collect();
        let backwards: Vec<Bytes> = evidence.iter().rev().cloned().collect();
        prop_assert_eq!(admits(&reversed, &evidence), admitted);
        prop_assert_eq!(admits(&specs, &backwards), admitted);
    }

    #[test]
    fn what_is_added_beside_a_signature_takes_nothing_away(
        specs in prop::collection::vec(spec(), 1..4),
        some in evidence(),
        more in evidence(),
    ) {
        if admits(&specs, &some) {
            let mut all = more;
            all.extend(some);
            all.truncate(artifact::limits::BUNDLES_MAX);
            let cut = all.len() == artifact::limits::BUNDLES_MAX;
            prop_assert!(cut || admits(&specs, &all));
        }
    }

    #[test]
    fn an_audit_policy_changes_no_verdict(
        specs in prop::collection::vec(spec(), 0..3),
        mut audit in spec(),
        evidence in evidence(),
    ) {
        audit["mode"] = json!("Audit");
        let mut more = specs.clone();
        more.insert(0, audit);
        prop_assert_eq!(admits(&more, &evidence), admits(&specs, &evidence));
    }
}
