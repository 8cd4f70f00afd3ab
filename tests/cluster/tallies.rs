//! What revisions do is told to the operator that leads while one takes over from another, and
//! at no other time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use crds::handover::{TALLIES_EVERY_SECONDS, TALLIES_ROUTE, TallyReport};
use e2e::eventually::{PATIENCE, eventually};
use e2e::load::Load;
use e2e::operator::Operator;
use e2e::suite::alone;
use serde_json::json;

/// Two looks of every agent.
const TWO_LOOKS: Duration = Duration::from_secs(2 * TALLIES_EVERY_SECONDS + 1);

#[test]
fn agents_tell_what_revisions_do_while_one_takes_over_and_only_the_leader_takes_it() -> Result<()> {
    alone("tallies", async |tenant| {
        let suite = tenant.suite;
        let first = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        let second = tenant.publish("orders", "2.0.0", "2.0.0").await?;
        tenant
            .component("orders", json!({ "image": first.tag }))
            .await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", 20);
        let before = answers(&suite.operator, 204).await?;
        tokio::time::sleep(TWO_LOOKS).await;
        let at_rest = answers(&suite.operator, 204).await?;
        ensure!(
            at_rest == before,
            "{} reports of nodes on which nothing takes over",
            at_rest - before
        );

        // The first node keeps both for as long as it is not long enough on the new one.
        let rollout = json!({ "minReadySeconds": 120, "maxParallel": 1 });
        tenant
            .component("orders", json!({ "image": second.tag, "rollout": rollout }))
            .await?;
        eventually("reports to the leader", PATIENCE, async || {
            let now = answers(&suite.operator, 204).await?;
            ensure!(now >= before + 2, "{} came", now - before);
            Ok(())
        })
        .await?;

        suite.standby.start().await?;
        let client = tenant.hand_over_client().await?;
        for (operator, wanted) in [(&suite.operator, 204), (&suite.standby, 421)] {
            let url = format!("https://{}{TALLIES_ROUTE}", operator.hand_over);
            let posted = client
                .post(url)
                .bearer_auth(suite.agent(1)?.hand_over_token()?)
                .json(&TallyReport::default());
            let status = posted.send().await?.status();
            ensure!(status == wanted, "{} answered {status}", operator.identity);
        }
        // Who takes over has them soon.
        suite.operator.kill().await?;
        eventually("reports to the next leader", PATIENCE, async || {
            let taken = answers(&suite.standby, 204).await?;
            ensure!(taken >= 2, "{taken} came");
            Ok(())
        })
        .await?;
        load.stop().await?.only(&["1.0.0", "2.0.0"])
    })
}

/// How often its hand-over has answered so.
async fn answers(operator: &Operator, status: u16) -> Result<u64> {
    let metrics = operator.get("/metrics").await?;
    let name = format!("hand_over_requests_total{{status=\"{status}\"}} ");
    let counts = metrics.lines().find_map(|line| line.split_once(&name));
    counts.map_or(Ok(0), |(_, count)| {
        count.trim().parse().context("a count of answers")
    })
}
