//! The public root over TUF: the operator relays it, every agent checks it for itself, and
//! what rotates there counts on the nodes without a restart of anything.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use crds::TrustPolicy;
use e2e::eventually::{PATIENCE, eventually};
use e2e::files::Files;
use e2e::registry::{Image, attach};
use e2e::suite::alone;
use e2e::tenant::Tenant;
use e2e::tools;
use jiff::{SignedDuration, Timestamp};
use kube::api::Api;
use registry::Credentials;
use serde_json::{Value, json};

use crate::sigstore::{ISSUER, Keyless, SUBJECT, Sigstore};
use crate::tuf::{Tuf, files};

const LISTS: [&str; 4] = [
    "tlogs",
    "certificateAuthorities",
    "ctlogs",
    "timestampAuthorities",
];

#[test]
fn a_rotated_public_root_reaches_the_nodes_and_admits_what_its_new_keys_signed() -> Result<()> {
    alone("public-root", async |tenant| {
        let told = told(tenant).await;
        // The suite goes on without it, however that ended.
        tenant.suite.operator.kill().await?;
        tenant.suite.operator.start().await?;
        for agent in &tenant.suite.agents {
            agent.kill().await?;
            agent.start().await?;
        }
        told
    })
}

async fn told(tenant: &Tenant) -> Result<()> {
    let operator = &tenant.suite.operator;
    let (first, second) = (Sigstore::new(), Sigstore::new());
    let (tuf, rotated) = (Tuf::new(in_seconds(86_400)), Tuf::new(in_seconds(86_400)));
    let folder = tenant.suite.folder.join(&tenant.name);
    let start = written(&folder, "root.json", &tuf.first_root())?;
    let start = start.to_str().context("a path that is no text")?;
    let mirror = Files::start().await?;
    let url = format!("http://{}/tuf", mirror.address);

    operator.kill().await?;
    let refresh = ["--tuf-refresh", "1s"];
    let flags = [&["--tuf-mirror", &url, "--tuf-root", start], &refresh[..]].concat();
    operator.start_with(&flags).await?;
    for agent in &tenant.suite.agents {
        agent.kill().await?;
        agent.start_with(&["--tuf-root", start]).await?;
    }

    // Until it has come, nothing is known, which is neither signed nor unsigned.
    trust(tenant).await?;
    let image = signed(tenant, &first, "1.0.0").await?;
    let component = |image: &Image| json!({ "image": image.tag });
    tenant.component("orders", component(&image)).await?;
    eventually("a verdict that waits", PATIENCE, async || {
        let component = tenant.get("orders").await?;
        let verified = e2e::tenant::condition(&component, "Verified")?;
        ensure!(verified.reason == "RootUnavailable", "{verified:?}");
        Ok(())
    })
    .await?;
    let metadata = tuf.metadata(1, first.root_json().to_string().as_bytes());
    mirror.serve(below_tuf(&metadata, 1));
    tenant.answers("orders", 3, "1.0.0").await?;

    // Signed with the keys of tomorrow; what serves goes on.
    let image = signed(tenant, &second, "2.0.0").await?;
    tenant.component("orders", component(&image)).await?;
    tenant.refused("orders", "NotInLog").await?;
    tenant.answers("orders", 3, "1.0.0").await?;
    let both = merged(&first.root_json(), &second.root_json());
    let mut metadata = rotated.metadata(2, both.to_string().as_bytes());
    metadata.roots = vec![rotated.next_root(2, &tuf)];
    mirror.serve(below_tuf(&metadata, 2));
    tenant.answers("orders", 3, "2.0.0").await?;
    tenant.ready("orders").await?;
    same_verdict(&folder, &image, &metadata, start)?;

    // A mirror that lies or goes back is refused, and nothing else happens.
    for lie in [
        tuf.metadata(9, first.root_json().to_string().as_bytes()),
        rotated.metadata(1, first.root_json().to_string().as_bytes()),
    ] {
        let before = refused(&operator.get("/metrics").await?);
        mirror.serve(below_tuf(&lie, 9).into_iter().chain(below_tuf(&lie, 1)));
        eventually("the operator to refuse it", PATIENCE, async || {
            let now = refused(&operator.get("/metrics").await?);
            ensure!(now > before, "{now} refused");
            Ok(())
        })
        .await?;
    }
    tenant.ready("orders").await?;

    // What expires and is not renewed is said, and stops nothing.
    let soon = Tuf {
        expires: in_seconds(6),
        ..rotated
    };
    let mut metadata = soon.metadata(3, both.to_string().as_bytes());
    metadata.roots = vec![soon.next_root(2, &tuf)];
    mirror.serve(below_tuf(&metadata, 3));
    let policies = Api::<TrustPolicy>::all(tenant.client());
    eventually("the policy to say so", PATIENCE, async || {
        let status = policies.get(&tenant.name).await?.status;
        let conditions = status.context("no status")?.conditions;
        let accepted = conditions.first().context("no condition")?;
        let said = (accepted.status.as_str(), accepted.reason.as_str());
        ensure!(said == ("True", "RootStale"), "{accepted:?}");
        Ok(())
    })
    .await?;
    tenant.ready("orders").await?;

    // The node keeps what it believed: it serves again with nobody to ask.
    operator.kill().await?;
    let agent = tenant.suite.agent(1)?;
    agent.kill().await?;
    agent.start_with(&["--tuf-root", start]).await?;
    tenant.answers("orders", 3, "2.0.0").await?;
    Ok(())
}

/// `lighterman verify` says of a copy of the repository what the nodes say.
fn same_verdict(
    folder: &Path,
    image: &Image,
    metadata: &artifact::root::PublicGoodMetadata,
    start: &str,
) -> Result<()> {
    let copy = folder.join("tuf");
    for (name, content) in files(metadata, 2) {
        written(&copy, &name, &content)?;
    }
    let glob = image.tag.rsplit_once(':').context("no tag")?.0;
    let policy = json!({
        "apiVersion": "lighterman.dev/v1alpha1", "kind": "TrustPolicy",
        "metadata": { "name": "ci" },
        "spec": { "images": [{ "glob": glob }], "authorities": [authority()] },
    });
    let policy = written(folder, "policy.yaml", policy.to_string().as_bytes())?;
    let verify = |more: &[&str]| -> Result<_> {
        let program = tools::ours("lighterman", "lighterman")?;
        let mut command = std::process::Command::new(program);
        command
            .args(["verify", &image.tag, "--policy"])
            .arg(&policy);
        command.args(more).env("HOME", folder);
        Ok(command.output()?)
    };
    let copy = copy.to_str().context("a path that is no text")?;
    let verdict = verify(&["--tuf-repository", copy, "--tuf-root", start])?;
    let said = String::from_utf8_lossy(&verdict.stderr);
    ensure!(verdict.status.success(), "lighterman verify: {said}");
    // Without it the root of the build counts, which knows nothing of this sigstore.
    let verdict = verify(&[])?;
    ensure!(verdict.status.code() == Some(1), "{verdict:?}");
    // And sigstore's own root of trust does not lead to this repository.
    let verdict = verify(&["--tuf-repository", copy])?;
    ensure!(verdict.status.code() == Some(2), "{verdict:?}");
    Ok(())
}

fn in_seconds(seconds: i64) -> Timestamp {
    let now = Timestamp::now() + SignedDuration::from_secs(seconds);
    // As TUF writes times: whole seconds.
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn below_tuf(
    metadata: &artifact::root::PublicGoodMetadata,
    version: u64,
) -> Vec<(String, Vec<u8>)> {
    let files = files(metadata, version).into_iter();
    files
        .map(|(name, content)| (format!("tuf/{name}"), content.to_vec()))
        .collect()
}

/// A root that knows both: what was signed before goes on counting.
fn merged(first: &Value, second: &Value) -> Value {
    let mut both = first.clone();
    for list in LISTS {
        let both = both.get_mut(list).and_then(Value::as_array_mut);
        let second = second.get(list).and_then(Value::as_array);
        if let (Some(both), Some(second)) = (both, second) {
            both.extend(second.iter().cloned());
        }
    }
    both
}

fn authority() -> Value {
    let identity = json!({ "issuer": ISSUER, "subject": SUBJECT });
    json!({ "name": "ci", "keyless": { "identities": [identity] }, "ctlog": "Required" })
}

/// The tenant's policy trusts one identity, by the public root.
async fn trust(tenant: &Tenant) -> Result<()> {
    tenant
        .trust_with(json!({ "authorities": [authority()] }))
        .await
}

async fn signed(tenant: &Tenant, sigstore: &Sigstore, version: &str) -> Result<Image> {
    let image = tenant.push("orders", version, version).await?;
    let bundle = sigstore.keyless(&Keyless::of(&image.digest)).to_string();
    attach(&image, bundle.into_bytes(), &Credentials::anonymous()).await?;
    Ok(image)
}

/// How many attempts the operator has refused.
fn refused(metrics: &str) -> u64 {
    let name = "lighterman_operator_public_root_fetches_total{outcome=\"refused\"} ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|count| count.parse().ok()).unwrap_or(0)
}

fn written(folder: &Path, name: &str, content: &[u8]) -> Result<PathBuf> {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().context("no folder")?)?;
    std::fs::write(&path, content)?;
    Ok(path)
}
