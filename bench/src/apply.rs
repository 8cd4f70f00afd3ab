//! From `kubectl apply` to the first answer, on a real API server and registry with
//! the operator and three agents of the cluster tests.
//!
//! *Cold*: bytes that no node has seen, so operator and agents pull, verify and compile.
//! *Warm*: another component of an image that runs already. Called by `main`, inside the
//! network namespace that the agents' addresses need.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::suite::shared;
use e2e::tenant::{Tenant, fetch};
use serde_json::json;

/// Components of each kind; the median of them is the figure.
const SAMPLES: usize = 7;
/// How often the endpoints are looked at: what the figure may be too large by.
const LOOK: Duration = Duration::from_millis(5);
/// After this long something is wrong, and the figure would say nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// Seconds from `kubectl apply` to the first 200.
pub(crate) struct Applied {
    pub(crate) cold: f64,
    pub(crate) warm: f64,
}

/// Starts a cluster, applies components one after another, and ends it.
pub(crate) fn measure() -> Result<Applied> {
    let mut cold = Vec::new();
    let mut warm = Vec::new();
    shared("bench", async |tenant| {
        for sample in 0..SAMPLES {
            let version = format!("1.0.{sample}");
            let image = tenant.publish("hello", &version, &version).await?;
            cold.push(one(tenant, &format!("cold-{sample}"), &image.tag).await?);
            warm.push(one(tenant, &format!("warm-{sample}"), &image.tag).await?);
        }
        Ok(())
    })?;
    Ok(Applied {
        cold: median(cold).context("no sample")?,
        warm: median(warm).context("no sample")?,
    })
}

async fn one(tenant: &Tenant, name: &str, image: &str) -> Result<f64> {
    let start = Instant::now();
    tenant.component(name, json!({ "image": image })).await?;
    loop {
        if let Some(endpoint) = tenant.endpoints(name).await?.first()
            && let Ok((200, _)) = fetch(&endpoint.url("/")).await
        {
            return Ok(start.elapsed().as_secs_f64());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "{name} does not answer within {PATIENCE:?}"
        );
        tokio::time::sleep(LOOK).await;
    }
}

fn median(mut samples: Vec<f64>) -> Option<f64> {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied()
}
