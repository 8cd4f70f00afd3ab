//! The rules of `env`, `envFrom` and `config`.

use crate::bound;
use crate::component::{EnvFromSource, EnvVar, EnvVarSource, ObjectReference};
use crate::problem::Problems;

/// A list of variables: `spec.env` or `spec.config`.
pub(super) fn variables(problems: &mut Problems, field: &str, variables: &[EnvVar]) {
    problems.entries(field, variables.len(), bound::VARIABLES);
    problems.distinct(
        field,
        "name",
        variables.iter().map(|variable| variable.name.as_str()),
    );
    for (index, variable) in variables.iter().enumerate() {
        let field = format!("{field}[{index}]");
        variable_name(problems, &format!("{field}.name"), &variable.name);
        match (&variable.value, &variable.value_from) {
            (Some(value), None) => {
                problems.length(&format!("{field}.value"), value, bound::VARIABLE_VALUE);
            }
            (None, Some(source)) => value_from(problems, &format!("{field}.valueFrom"), source),
            (Some(_), Some(_)) => {
                problems.add(field, "has both value and valueFrom", "remove one of them")
            }
            (None, None) => problems.add(
                field,
                "has neither value nor valueFrom",
                "add one of them; an empty value is written value: \"\"",
            ),
        }
    }
}

/// `spec.envFrom`.
pub(super) fn sources(problems: &mut Problems, sources: &[EnvFromSource]) {
    problems.entries("spec.envFrom", sources.len(), bound::ENV_FROM);
    for (index, source) in sources.iter().enumerate() {
        let EnvFromSource {
            prefix,
            config_map_ref,
            secret_ref,
        } = source;
        let field = format!("spec.envFrom[{index}]");
        if let Some(prefix) = prefix.as_deref().filter(|prefix| !prefix.is_empty()) {
            variable_name(problems, &format!("{field}.prefix"), prefix);
            problems.length(&format!("{field}.prefix"), prefix, bound::LABEL);
        }
        match (config_map_ref, secret_ref) {
            (Some(ObjectReference { name, .. }), None) => {
                problems.text(&format!("{field}.configMapRef.name"), name, bound::NAME);
            }
            (None, Some(ObjectReference { name, .. })) => {
                problems.text(&format!("{field}.secretRef.name"), name, bound::NAME);
            }
            (Some(_), Some(_)) => problems.add(
                field,
                "has both configMapRef and secretRef",
                "make two entries of it",
            ),
            (None, None) => problems.add(
                field,
                "has neither configMapRef nor secretRef",
                "add one of them",
            ),
        }
    }
}

fn value_from(problems: &mut Problems, field: &str, source: &EnvVarSource) {
    let (member, name, key) = match (&source.secret_key_ref, &source.config_map_key_ref) {
        (Some(secret), None) => ("secretKeyRef", &secret.name, &secret.key),
        (None, Some(config_map)) => ("configMapKeyRef", &config_map.name, &config_map.key),
        (Some(_), Some(_)) => {
            problems.add(
                field,
                "has both secretKeyRef and configMapKeyRef",
                "remove one of them",
            );
            return;
        }
        (None, None) => {
            problems.add(
                field,
                "has neither secretKeyRef nor configMapKeyRef",
                "add one of them",
            );
            return;
        }
    };
    problems.text(&format!("{field}.{member}.name"), name, bound::NAME);
    problems.text(&format!("{field}.{member}.key"), key, bound::VARIABLE_NAME);
}

/// What the API server takes for a variable's name in a Pod.
fn variable_name(problems: &mut Problems, field: &str, name: &str) {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(inner)
    {
        problems.add(
            field,
            format!("is `{name}`, which cannot be the name of a variable"),
            "write letters, digits, `_`, `-` and `.`, not starting with a digit",
        );
    }
    problems.length(field, name, bound::VARIABLE_NAME);
}
