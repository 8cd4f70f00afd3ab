//! The API server refuses wrong YAML before the operator ever sees it, and names
//! the field: the very files that `lighterman check` is tested with.

use anyhow::{Context as _, Result, ensure};
use e2e::suite::{repository, shared};

/// kubectl keeps the last of two equal keys and sends that: nobody can see it afterwards.
const NOT_SENT: &str = "yaml_key_twice.yaml";
/// What no rule of a definition can say at a price that Kubernetes 1.32 accepts: the operator
/// refuses it as InvalidSpec.
const LEFT_TO_THE_OPERATOR: [&str; 2] = [
    "credentials_twice.yaml",
    "outbound_port_range_reversed.yaml",
];

#[test]
fn wrong_yaml_is_refused_with_its_field_named() -> Result<()> {
    shared("wrong-yaml", async |tenant| {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(repository()?.join("crds/tests/wrong_yaml"))? {
            files.push(entry?.path());
        }
        files.sort();
        ensure!(files.len() >= 40, "only {} files", files.len());
        let is_left = |file: &std::path::Path| {
            file.ends_with(NOT_SENT) || LEFT_TO_THE_OPERATOR.iter().any(|name| file.ends_with(name))
        };
        for file in files.iter().filter(|file| !is_left(file)) {
            let text =
                std::fs::read_to_string(file)?.replace("namespace: shop", "namespace: wrong-yaml");
            // The first line is what `lighterman check` says: field first.
            let expected = text.lines().next().and_then(|line| line.strip_prefix("# "));
            let expected =
                expected.with_context(|| format!("{} has no first line", file.display()))?;
            let field = expected
                .split_whitespace()
                .next()
                .and_then(|path| path.rsplit('.').next());
            let field = field
                .and_then(|name| name.split('[').next())
                .unwrap_or_default();
            // kubectl itself says "no matches for kind … in version …".
            let field = if field == "apiVersion" {
                "version"
            } else {
                field
            };
            let said = tenant
                .suite
                .cluster
                .kubectl(
                    &["apply", "--server-side", "--dry-run=server", "-f", "-"],
                    Some(&text),
                )
                .await?;
            let error = String::from_utf8_lossy(&said.stderr);
            ensure!(
                !said.status.success(),
                "{} was accepted; expected: {expected}",
                file.display()
            );
            ensure!(
                error.contains(field),
                "{} does not name {field}: {error}",
                file.display()
            );
        }
        Ok(())
    })
}

#[test]
fn a_component_with_every_field_is_accepted() -> Result<()> {
    shared("full-yaml", async |tenant| {
        let full = std::fs::read_to_string(repository()?.join("crds/tests/full.yaml"))?;
        let full = full.replace("namespace: shop", "namespace: full-yaml");
        tenant
            .suite
            .cluster
            .kubectl_ok(
                &["apply", "--server-side", "--dry-run=server", "-f", "-"],
                Some(&full),
            )
            .await?;
        Ok(())
    })
}
