//! Everything that may be changed is changed under every kind of load, and nobody notices.

use anyhow::Result;
use e2e::soak::{Size, soak};
use e2e::suite::alone;

#[test]
fn updates_rollbacks_scales_moves_and_restarts_under_load_fail_no_request() -> Result<()> {
    alone("soak", async |tenant| {
        let outcome = soak(tenant, &Size::short()).await?;
        println!(
            "soak: {} requests and {} changes in {:.1} s, 99 of 100 within {:?}, without changes {:?}",
            outcome.requests,
            outcome.changes,
            outcome.took.as_secs_f64(),
            outcome.changing_p99,
            outcome.quiet_p99,
        );
        outcome.is_clean()
    })
}
