//! The rules of `spec.placement`.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorTerm, Toleration};

use crate::bound;
use crate::component::{PlacementMode, PlacementSpec, SpreadConstraint, WhenUnsatisfiable};
use crate::problem::Problems;

pub(super) fn check(problems: &mut Problems, placement: &PlacementSpec, replicas: i32) {
    let PlacementSpec {
        mode,
        node_selector,
        tolerations,
        node_affinity,
        spread,
    } = placement;
    match mode {
        PlacementMode::EveryNode if replicas > 1 => problems.add(
            "spec.replicas",
            format!(
                "is {replicas} with placement.mode EveryNode, which runs one replica on each node"
            ),
            "remove replicas, or write placement.mode: Spread",
        ),
        PlacementMode::Spread | PlacementMode::EveryNode => {}
        PlacementMode::Unknown => problems.add(
            "spec.placement.mode",
            "is a mode that this version does not know",
            "write Spread or EveryNode",
        ),
    }
    let field = "spec.placement.nodeSelector";
    problems.entries(field, node_selector.len(), bound::NODE_SELECTOR);
    for (key, value) in node_selector {
        problems.length(&format!("{field}.{key}"), value, bound::LABEL);
    }
    self::tolerations(problems, tolerations);
    if let Some(affinity) = node_affinity {
        self::node_affinity(problems, affinity);
    }
    if *mode == PlacementMode::EveryNode && !spread.is_empty() {
        problems.add(
            "spec.placement.spread",
            "is given with mode EveryNode, which runs one replica on each node",
            "remove spread, or write mode: Spread",
        );
    }
    self::spread(problems, spread);
}

fn tolerations(problems: &mut Problems, tolerations: &[Toleration]) {
    problems.entries(
        "spec.placement.tolerations",
        tolerations.len(),
        bound::TOLERATIONS,
    );
    for (index, toleration) in tolerations.iter().enumerate() {
        let field = format!("spec.placement.tolerations[{index}]");
        let exists = match toleration.operator.as_deref() {
            Some("Exists") => true,
            None | Some("Equal") => false,
            Some(other) => {
                problems.add(
                    format!("{field}.operator"),
                    format!("is `{other}`"),
                    "write Exists or Equal",
                );
                continue;
            }
        };
        if !exists && toleration.key.is_none() {
            problems.add(
                field.as_str(),
                "has no key",
                "add the key of a taint, or operator: Exists to tolerate every taint",
            );
        }
        if exists
            && toleration
                .value
                .as_deref()
                .is_some_and(|value| !value.is_empty())
        {
            problems.add(
                format!("{field}.value"),
                "is given with operator Exists, which takes none",
                "remove value, or write operator: Equal",
            );
        }
        let effect = toleration.effect.as_deref();
        if effect.is_some_and(|effect| {
            !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect)
        }) {
            problems.add(
                format!("{field}.effect"),
                "is no effect of a taint",
                "write NoSchedule, PreferNoSchedule or NoExecute, or remove it",
            );
        }
    }
}

fn node_affinity(problems: &mut Problems, affinity: &NodeAffinity) {
    let field = "spec.placement.nodeAffinity";
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        let field =
            format!("{field}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
        let terms = &required.node_selector_terms;
        problems.entries(&field, terms.len(), bound::AFFINITY_TERMS);
        if terms.is_empty() {
            problems.add(
                field.as_str(),
                "is empty, which no node meets",
                "add a term with matchExpressions, or remove the requirement",
            );
        }
        for (index, term) in terms.iter().enumerate() {
            self::term(problems, &format!("{field}[{index}]"), term);
        }
    }
    let field = format!("{field}.preferredDuringSchedulingIgnoredDuringExecution");
    let preferred = affinity
        .preferred_during_scheduling_ignored_during_execution
        .as_deref()
        .unwrap_or_default();
    problems.entries(&field, preferred.len(), bound::AFFINITY_TERMS);
    for (index, preference) in preferred.iter().enumerate() {
        let field = format!("{field}[{index}]");
        problems.within(&format!("{field}.weight"), &preference.weight, &1, &100);
        term(
            problems,
            &format!("{field}.preference"),
            &preference.preference,
        );
    }
}

fn term(problems: &mut Problems, field: &str, term: &NodeSelectorTerm) {
    if term.match_fields.as_ref().is_some_and(|of| !of.is_empty()) {
        problems.add(
            format!("{field}.matchFields"),
            "is not supported",
            "match the label kubernetes.io/hostname in matchExpressions instead",
        );
    }
    let field = format!("{field}.matchExpressions");
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    problems.entries(&field, expressions.len(), bound::SELECTOR_EXPRESSIONS);
    for (index, expression) in expressions.iter().enumerate() {
        let field = format!("{field}[{index}]");
        problems.text(
            &format!("{field}.key"),
            &expression.key,
            bound::QUALIFIED_NAME,
        );
        let values = expression.values.as_deref().unwrap_or_default();
        problems.entries(
            &format!("{field}.values"),
            values.len(),
            bound::SELECTOR_EXPRESSIONS,
        );
        for value in values {
            problems.length(&format!("{field}.values"), value, bound::LABEL);
        }
        let fits = match (expression.operator.as_str(), values) {
            ("In" | "NotIn", values) => !values.is_empty(),
            ("Exists" | "DoesNotExist", values) => values.is_empty(),
            ("Gt" | "Lt", [value]) => value.parse::<i64>().is_ok(),
            _ => false,
        };
        if !fits {
            problems.add(
                field.as_str(),
                format!("is `{}` with {} values", expression.operator, values.len()),
                "write In or NotIn with values, Exists or DoesNotExist without, or Gt or Lt with one whole number",
            );
        }
    }
}

fn spread(problems: &mut Problems, spread: &[SpreadConstraint]) {
    let field = "spec.placement.spread";
    problems.entries(field, spread.len(), bound::SPREAD_CONSTRAINTS);
    for (index, constraint) in spread.iter().enumerate() {
        let SpreadConstraint {
            topology_key,
            max_skew,
            when_unsatisfiable,
        } = constraint;
        let same = |other: &SpreadConstraint| {
            other.topology_key == *topology_key && other.when_unsatisfiable == *when_unsatisfiable
        };
        let field = format!("{field}[{index}]");
        if spread.iter().take(index).any(same) {
            problems.add(
                field.as_str(),
                format!("is a second {when_unsatisfiable} for {topology_key}"),
                "keep one of them",
            );
        }
        problems.text(
            &format!("{field}.topologyKey"),
            topology_key,
            bound::QUALIFIED_NAME,
        );
        problems.within(&format!("{field}.maxSkew"), max_skew, &1, &bound::REPLICAS);
        if *when_unsatisfiable == WhenUnsatisfiable::Unknown {
            problems.add(
                format!("{field}.whenUnsatisfiable"),
                "is a way that this version does not know",
                "write DoNotSchedule or ScheduleAnyway",
            );
        }
    }
}
