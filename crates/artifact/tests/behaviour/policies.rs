//! Which policies cover what, how they add up, and that they fail closed.

use std::collections::BTreeMap;

use artifact::RefusalCode;
use artifact::trust::{Policy, Scope, admits_contact};
use serde_json::{Value, json};

use crate::support::{Artifact, Key, http_component, policy, spec};

fn covers(policy: &Policy, image: &str, labels: &[(&str, &str)]) -> bool {
    let labels: BTreeMap<String, String> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    policy.covers(&Scope {
        image: &image.parse().unwrap(),
        namespace: "shop",
        labels: &labels,
    })
}

fn with_images(globs: &[&str]) -> Policy {
    let mut spec = spec(&[("release", &Key::new())]);
    spec["images"] = globs.iter().map(|glob| json!({"glob": glob})).collect();
    Policy::parse("shop", &spec).unwrap()
}

fn with_selector(selector: Value) -> Policy {
    let mut spec = spec(&[("release", &Key::new())]);
    spec["namespaceSelector"] = selector;
    Policy::parse("shop", &spec).unwrap()
}

#[test]
fn without_policies_nothing_is_contacted_and_nothing_runs() {
    let artifact = Artifact::new(http_component()).signed_by(&Key::new());
    let refusal = admits_contact(&[], &artifact.scope()).unwrap_err();
    assert_eq!(refusal.code(), RefusalCode::NoPolicyMatches);
    assert!(
        refusal.to_string().contains("registry.example/shop/orders"),
        "{refusal}"
    );
    assert!(refusal.to_string().contains("namespace shop"), "{refusal}");
    assert_eq!(
        artifact.refused_by(&[]).code(),
        RefusalCode::NoPolicyMatches
    );
}

#[test]
fn a_policy_for_other_images_admits_nothing() {
    let key = Key::new();
    let mut spec = spec(&[("release", &key)]);
    spec["images"] = json!([{"glob": "registry.example/billing/**"}]);
    let artifact = Artifact::new(http_component()).signed_by(&key);
    let refusal = artifact.refused_by(&[Policy::parse("billing", &spec).unwrap()]);
    assert_eq!(refusal.code(), RefusalCode::NoPolicyMatches);
}

#[test]
fn globs_match_host_and_path_apart() {
    let shop = with_images(&["registry.example/shop/**"]);
    assert!(covers(&shop, "registry.example/shop/orders:1", &[]));
    assert!(covers(&shop, "registry.example/shop/a/b", &[]));
    assert!(!covers(&shop, "registry.example.evil/shop/orders", &[]));
    assert!(!covers(&shop, "evil/registry.example/shop/orders", &[]));
    assert!(!covers(&shop, "registry.example:5000/shop/orders", &[]));
    assert!(!covers(&shop, "registry.example/shopping/orders", &[]));
    let library = with_images(&["docker.io/library/*"]);
    assert!(covers(&library, "nginx", &[]));
    assert!(!covers(&library, "shop/orders", &[]));
}

#[test]
fn empty_lists_match_and_admit_nothing() {
    let key = Key::new();
    let artifact = Artifact::new(http_component()).signed_by(&key);
    for images in [json!([]), Value::Null] {
        let mut spec = spec(&[("release", &key)]);
        spec["images"] = images;
        let refusal = artifact.refused_by(&[Policy::parse("shop", &spec).unwrap()]);
        assert_eq!(refusal.code(), RefusalCode::NoPolicyMatches);
    }
    let refusal = artifact.refused_by(&[policy("shop", &[])]);
    assert_eq!(refusal.code(), RefusalCode::PolicyUnusable);
    assert!(refusal.to_string().contains("no authorities"), "{refusal}");
}

#[test]
fn all_policies_that_cover_an_image_have_to_be_satisfied() {
    let (release, security) = (Key::new(), Key::new());
    let policies = [
        policy("by-release", &[("release", &release)]),
        policy("by-security", &[("security", &security)]),
    ];
    let once = Artifact::new(http_component()).signed_by(&release);
    let refusal = once.refused_by(&policies);
    assert_eq!(refusal.code(), RefusalCode::SignatureInvalid);
    assert!(refusal.to_string().contains("by-security"), "{refusal}");
    let verified = once.signed_by(&security).judged_by(&policies).unwrap();
    let signers: Vec<&str> = verified
        .signers()
        .iter()
        .map(|signer| signer.authority.as_str())
        .collect();
    assert_eq!(signers, ["release", "security"]);
}

#[test]
fn a_policy_that_does_not_cover_the_image_asks_nothing_of_it() {
    let (release, other) = (Key::new(), Key::new());
    let mut elsewhere = spec(&[("other", &other)]);
    elsewhere["images"] = json!([{"glob": "registry.example/billing/**"}]);
    let policies = [
        policy("shop", &[("release", &release)]),
        Policy::parse("billing", &elsewhere).unwrap(),
    ];
    Artifact::new(http_component())
        .signed_by(&release)
        .judged_by(&policies)
        .unwrap();
}

#[test]
fn one_authority_of_a_policy_is_enough() {
    let (first, second, stranger) = (Key::new(), Key::new(), Key::new());
    let policies = [policy("shop", &[("first", &first), ("second", &second)])];
    let verified = Artifact::new(http_component())
        .signed_by(&second)
        .judged_by(&policies)
        .unwrap();
    assert_eq!(verified.signers()[0].authority, "second");
    let refusal = Artifact::new(http_component())
        .signed_by(&stranger)
        .refused_by(&policies);
    assert_eq!(refusal.code(), RefusalCode::SignatureInvalid);
    assert!(
        refusal.to_string().contains("\"first\"") && refusal.to_string().contains("\"second\"")
    );
}

#[test]
fn a_namespace_selector_follows_kubernetes() {
    let image = "registry.example/shop/orders";
    let production = &[("env", "production"), ("team", "shop")][..];
    let staging = &[("env", "staging")][..];
    for (selector, in_production, in_staging, unlabelled) in [
        (json!({}), true, true, true),
        (Value::Null, true, true, true),
        (
            json!({"matchLabels": {"env": "production"}}),
            true,
            false,
            false,
        ),
        (
            json!({"matchLabels": {"env": "production", "team": "billing"}}),
            false,
            false,
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "env", "operator": "In", "values": ["staging", "test"]}]}),
            false,
            true,
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["staging"]}]}),
            true,
            false,
            true,
        ),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}),
            true,
            false,
            false,
        ),
        (
            json!({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}),
            false,
            true,
            true,
        ),
        (
            json!({"matchLabels": {"env": "production"}, "matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}),
            false,
            false,
            false,
        ),
    ] {
        let policy = with_selector(selector.clone());
        assert_eq!(
            covers(&policy, image, production),
            in_production,
            "{selector}"
        );
        assert_eq!(covers(&policy, image, staging), in_staging, "{selector}");
        assert_eq!(covers(&policy, image, &[]), unlabelled, "{selector}");
    }
}

/// Specs that cannot be used, each with what its error has to name.
fn unusable(key: &Key) -> Vec<(Value, &'static str)> {
    let changed = |change: fn(&mut Value)| {
        let mut spec = spec(&[("release", key)]);
        change(&mut spec);
        spec
    };
    vec![
        (changed(|spec| spec["mode"] = json!("Warn")), "Warn"),
        (changed(|spec| spec["whenRunning"] = json!("Kill")), "Kill"),
        (
            changed(|spec| spec["minimumMatches"] = json!(0)),
            "minimumMatches",
        ),
        (
            changed(|spec| spec["minimumMatches"] = json!(2)),
            "minimumMatches",
        ),
        (
            changed(|spec| spec["authorities"][0]["ctlog"] = json!("Perhaps")),
            "Perhaps",
        ),
        (
            changed(|spec| {
                drop(
                    spec["authorities"][0]
                        .as_object_mut()
                        .unwrap()
                        .remove("ctlog"),
                )
            }),
            "ctlog",
        ),
        (
            changed(|spec| {
                spec["authorities"][0]["keyless"] =
                    json!({"identities": [{"issuer": "i", "subject": "s"}]})
            }),
            "exactly one of key and keyless",
        ),
        (
            changed(|spec| spec["authorities"][0]["key"] = json!({"data": "no key"})),
            "release",
        ),
        (
            changed(|spec| spec["authorities"][0]["key"] = json!({"kms": "x"})),
            "kms",
        ),
        (
            changed(|spec| spec["images"] = json!([{"glob": "registry.example/**/orders"}])),
            "registry.example/**/orders",
        ),
        (changed(|spec| spec["images"] = json!("all")), "sequence"),
        (
            changed(|spec| {
                let twin = spec["authorities"][0].clone();
                spec["authorities"].as_array_mut().unwrap().push(twin);
            }),
            "release",
        ),
        (
            changed(|spec| {
                spec["namespaceSelector"] =
                    json!({"matchExpressions": [{"key": "a", "operator": "Near"}]})
            }),
            "Near",
        ),
        (
            changed(|spec| {
                spec["namespaceSelector"] =
                    json!({"matchExpressions": [{"key": "a", "operator": "In"}]})
            }),
            "needs values",
        ),
        (
            changed(|spec| {
                spec["namespaceSelector"] = json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]});
            }),
            "takes no values",
        ),
        (
            changed(|spec| spec["namespaceSelector"] = json!({"matchLabel": {}})),
            "matchLabel",
        ),
        (json!(null), "spec"),
    ]
}

#[test]
fn a_field_that_cannot_be_used_is_named() {
    for (spec, names) in unusable(&Key::new()) {
        let error = Policy::parse("shop", &spec).unwrap_err().to_string();
        assert!(error.contains(names), "{names:?} is missing in: {error}");
    }
}

#[test]
fn a_policy_that_cannot_be_used_closes_what_it_covers_instead_of_opening_it() {
    let key = Key::new();
    let artifact = Artifact::new(http_component()).signed_by(&key);
    for (spec, _) in unusable(&key) {
        let error = Policy::parse("broken", &spec).unwrap_err();
        let policies = [
            policy("shop", &[("release", &key)]),
            Policy::closed("broken", &spec, error),
        ];
        let refusal = artifact.refused_by(&policies);
        assert_eq!(refusal.code(), RefusalCode::PolicyUnusable, "{spec}");
        assert!(
            refusal.to_string().contains("TrustPolicy broken"),
            "{refusal}"
        );
    }
}

#[test]
fn a_closed_policy_leaves_alone_what_it_never_covered() {
    let key = Key::new();
    let mut spec = spec(&[("release", &key)]);
    spec["images"] = json!([{"glob": "registry.example/billing/**"}]);
    spec["invented"] = json!("tomorrow");
    let error = Policy::parse("billing", &spec).unwrap_err();
    let policies = [
        policy("shop", &[("release", &key)]),
        Policy::closed("billing", &spec, error),
    ];
    Artifact::new(http_component())
        .signed_by(&key)
        .judged_by(&policies)
        .unwrap();
}
