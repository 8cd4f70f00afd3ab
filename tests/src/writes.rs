//! What has been written to the API server so far, as it counts that itself.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use kube::Client;

/// Successful writes by resource and verb, as the API server counts them.
pub async fn writes(client: &Client) -> Result<BTreeMap<String, f64>> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let mut writes: BTreeMap<String, f64> = BTreeMap::new();
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("apiserver_request_total{") else {
            continue;
        };
        let (labels, value) = rest.rsplit_once("} ").context("a metric without value")?;
        let label = |name: &str| {
            let mut labels = labels.split(',');
            let found = labels.find_map(|label| label.strip_prefix(name)?.strip_prefix("=\""));
            found
                .map(|value| value.trim_end_matches('"'))
                .unwrap_or_default()
        };
        let verb = label("verb");
        // Reviews are questions: nothing is written for them.
        let is_write = [
            "POST",
            "PUT",
            "PATCH",
            "APPLY",
            "DELETE",
            "DELETECOLLECTION",
        ]
        .contains(&verb)
            && !label("resource").ends_with("reviews")
            && label("subresource") != "token";
        if is_write {
            let what = format!("{} {} {verb}", label("resource"), label("subresource"));
            *writes.entry(what).or_default() += value.parse::<f64>()?;
        }
    }
    ensure!(!writes.is_empty(), "the API server counts nothing");
    Ok(writes)
}
