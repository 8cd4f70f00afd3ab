//! Versions that are bad in every way a version can be: what served before goes on, and
//! status, Event and `kubectl lm why` say in one sentence what is wrong.

use anyhow::{Context as _, Result, ensure};
use e2e::eventually::{PATIENCE, eventually};
use e2e::guest::{self, PROBE};
use e2e::load::Load;
use e2e::suite::shared;
use serde_json::{Value, json};

use crate::plug_in::{lm, said};

const REQUESTS_PER_SECOND: u32 = 50;
/// Where the guest of the tests begins its handler, and what makes it end before that.
const HANDLER: &str = r#"(func (export "handle")"#;
const TRAP: &str = "(func $begin unreachable) (start $begin)";
/// A function of WASI that there is, and one that there is not.
const KNOWN: &str = "\"get-environment\"";
const UNKNOWN: &str = "\"get-surroundings\"";
const MANIFEST: &str = r#"
[component]
name = "orders"
version = "2.0.0-greedy"

[permissions.network]
allowed_hosts = ["api.example.com"]
"#;

/// One that is bad.
struct Bad {
    tag: &'static str,
    wasm: Vec<u8>,
    is_signed: bool,
    /// The reason of the condition Ready.
    reason: &'static str,
    /// What its message says.
    says: &'static str,
}

#[test]
fn whatever_is_wrong_with_a_version_the_old_one_serves_and_one_sentence_says_it() -> Result<()> {
    shared("bad-versions", async |tenant| {
        let good = tenant.publish("orders", "1.0.0", "1.0.0").await?;
        tenant.component("orders", spec(&good.tag)).await?;
        tenant.answers("orders", 3, "1.0.0").await?;
        tenant.ready("orders").await?;
        let load = Load::start(tenant.client(), &tenant.name, "orders", REQUESTS_PER_SECOND);
        for bad in bad_versions()? {
            let image = tenant.push_bytes("orders", bad.tag, bad.wasm).await?;
            if bad.is_signed {
                tenant.suite.signer.sign(&image).await?;
            }
            tenant.component("orders", spec(&image.tag)).await?;
            // What is said at first may still be of the one before.
            eventually(bad.tag, PATIENCE, async || {
                let message = tenant.refused("orders", bad.reason).await?;
                ensure!(message.contains(bad.says), "{message}");
                Ok(())
            })
            .await?;
            let why = lm(tenant, &["why", "orders"])?;
            let why = (why.status.code(), said(&why));
            ensure!(why.0 == Some(1) && why.1.contains(bad.says), "{why:?}");
            eventually("an Event", PATIENCE, async || {
                let reason = format!("reason={}", bad.reason);
                let events = ["get", "events", "--field-selector", &reason, "-o", "yaml"];
                let events = tenant.kubectl(&events).await?;
                // It is folded over lines.
                let events = events.split_whitespace().collect::<Vec<_>>().join(" ");
                ensure!(events.contains(bad.says), "{events}");
                Ok(())
            })
            .await?;
        }
        tenant.answers("orders", 3, "1.0.0").await?;
        load.stop().await?.only(&["1.0.0"])
    })
}

fn bad_versions() -> Result<Vec<Bad>> {
    let plain = |tag| guest::version(tag, "bad");
    Ok(vec![
        Bad {
            tag: "2.0.0-unsigned",
            wasm: plain("2.0.0-unsigned")?,
            is_signed: false,
            reason: "Unsigned",
            says: "is not signed",
        },
        Bad {
            tag: "2.0.0-greedy",
            wasm: artifact::manifest_section::embed(&plain("2.0.0-greedy")?, MANIFEST)?,
            is_signed: true,
            reason: "CapabilityNotGranted",
            says: "api.example.com",
        },
        Bad {
            tag: "2.0.0-unlinked",
            wasm: changed("2.0.0-unlinked", KNOWN, UNKNOWN)?,
            is_signed: true,
            reason: "RolledBack",
            says: "with LinkFailed",
        },
        Bad {
            tag: "2.0.0-trapping",
            wasm: changed("2.0.0-trapping", HANDLER, &format!("{TRAP} {HANDLER}"))?,
            is_signed: true,
            reason: "RolledBack",
            says: "with StartFailed",
        },
        Bad {
            tag: "2.0.0-unhealthy",
            wasm: PROBE.to_vec(),
            is_signed: true,
            reason: "RolledBack",
            says: "with HealthCheckFailed",
        },
    ])
}

/// The guest that answers with its version, with one thing in its text replaced.
fn changed(version: &str, from: &str, to: &str) -> Result<Vec<u8>> {
    let text = guest::version_text(version, "bad")?;
    ensure!(text.contains(from), "{from} is not in it");
    wat::parse_str(text.replace(from, to)).context(to.to_owned())
}

fn spec(image: &str) -> Value {
    json!({ "image": image, "health": { "httpGet": { "path": "/trap" } } })
}
