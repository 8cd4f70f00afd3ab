//! What `kubectl get` shows of a component.

use anyhow::{Result, ensure};
use e2e::suite::shared;
use serde_json::json;

#[test]
fn kubectl_get_shows_the_columns() -> Result<()> {
    shared("columns", async |tenant| {
        let image = tenant.publish("orders", "1.4.0", "1.4.0").await?;
        tenant
            .component("orders", json!({ "image": image.tag }))
            .await?;
        tenant.ready("orders").await?;

        let narrow = tenant.kubectl(&["get", "wc"]).await?;
        let (head, row) = narrow.split_once('\n').unwrap_or_default();
        let head: Vec<&str> = head.split_whitespace().collect();
        ensure!(
            head == ["NAME", "READY", "REPLICAS", "VERSION", "URL", "AGE"],
            "{narrow}"
        );
        let row: Vec<&str> = row.split_whitespace().collect();
        ensure!(
            row.starts_with(&["orders", "True", "3", "1.4.0"]),
            "{narrow}"
        );
        ensure!(row.contains(&"http://orders.columns.svc"), "{narrow}");

        let wide = tenant.kubectl(&["get", "wc", "-o", "wide"]).await?;
        ensure!(
            wide.contains("SIGNER") && wide.contains("DIGEST") && wide.contains("REASON"),
            "{wide}"
        );
        ensure!(wide.contains(&image.digest.to_string()), "{wide}");
        Ok(())
    })
}

#[test]
fn kubectl_explain_describes_every_field() -> Result<()> {
    shared("explain", async |tenant| {
        let text = tenant
            .kubectl(&["explain", "wasmcomponent", "--recursive"])
            .await?;
        ensure!(
            text.contains("image") && text.contains("triggers"),
            "{text}"
        );
        let image = tenant
            .kubectl(&["explain", "wasmcomponent.spec.image"])
            .await?;
        ensure!(!image.contains("<empty>"), "{image}");
        Ok(())
    })
}
