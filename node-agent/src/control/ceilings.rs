//! Capability policies as this node reads them, and the ceilings that they are for a namespace.
//! A policy that cannot be read covers every namespace and allows nothing. Plain functions;
//! called by the cluster as a source of trust, and by the trust book.

use std::collections::BTreeMap;

use capability::Ceiling;
use crds::CapabilityPolicySpec;
use serde::Deserialize as _;
use serde_json::Value;

/// The specs of `CapabilityPolicies`, by name.
pub type Policies = BTreeMap<String, Value>;

/// The ceilings of a namespace with these labels: all of them hold together.
pub fn over(policies: &Policies, labels: &BTreeMap<String, String>) -> Vec<Ceiling> {
    let policies = policies.iter();
    policies
        .filter_map(|(name, spec)| ceiling(name, spec, labels))
        .collect()
}

/// Those of the policies that are ceilings of such a namespace.
#[must_use]
pub fn about(policies: &Policies, labels: &BTreeMap<String, String>) -> Policies {
    let policies = policies.iter();
    policies
        .filter(|(name, spec)| ceiling(name, spec, labels).is_some())
        .map(|(name, spec)| (name.clone(), spec.clone()))
        .collect()
}

fn ceiling(name: &str, spec: &Value, labels: &BTreeMap<String, String>) -> Option<Ceiling> {
    match CapabilityPolicySpec::deserialize(spec) {
        Ok(spec) if spec.decides() && spec.covers(labels) => Some(spec.ceiling(name)),
        Ok(_) => None,
        Err(_) => Some(Ceiling {
            policy: name.to_owned(),
            ..Ceiling::default()
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shop() -> BTreeMap<String, String> {
        BTreeMap::from([("team".to_owned(), "shop".to_owned())])
    }

    fn policies() -> Policies {
        let of = |team: &str, mode: &str| {
            json!({
                "namespaceSelector": {"matchLabels": {"team": team}},
                "mode": mode,
                "allow": {"volumes": ["emptyDir"]},
            })
        };
        BTreeMap::from([
            ("audits".to_owned(), of("shop", "Audit")),
            ("elsewhere".to_owned(), of("bank", "Enforce")),
            ("here".to_owned(), of("shop", "Enforce")),
        ])
    }

    #[test]
    fn only_policies_that_enforce_and_select_the_namespace_are_ceilings() {
        let ceilings = over(&policies(), &shop());
        let names: Vec<&str> = ceilings.iter().map(|of| of.policy.as_str()).collect();
        assert_eq!(names, ["here"]);
        assert_eq!(ceilings[0].allow.volumes.len(), 1);
        assert!(about(&policies(), &shop()).keys().eq(["here"]));
    }

    #[test]
    fn a_policy_that_cannot_be_read_allows_nothing_anywhere() {
        let mut policies = policies();
        policies.insert("broken".to_owned(), json!({"allow": "everything"}));
        for labels in [shop(), BTreeMap::new()] {
            let ceilings = over(&policies, &labels);
            let broken = ceilings.iter().find(|of| of.policy == "broken").unwrap();
            assert_eq!(broken.allow, capability::Allow::default());
        }
    }
}
