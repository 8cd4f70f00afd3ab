//! An agent gets what is placed on its own node and writes only about it: the
//! token of another node's agent opens nothing here.

use anyhow::{Context as _, Result, ensure};
use crds::handover::{SealedRevision, blob_path, revision_path, values_path};
use crds::{ComponentPlacement, WasmNode};
use e2e::operator::{NAMESPACE, NODE_NAMESPACE};
use e2e::suite::shared;
use e2e::tenant::Tenant;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

#[test]
fn another_nodes_agent_fetches_nothing_of_this_one() -> Result<()> {
    shared("foreign-fetch", async |tenant| {
        let placement = placed_on_the_first_node(tenant).await?;
        let revision = placement
            .spec
            .revisions
            .first()
            .context("no revision is placed")?
            .name
            .clone();
        let own = tenant.suite.agent(1)?.hand_over_token()?;
        let foreign = tenant.suite.agent(2)?.hand_over_token()?;
        let client = client(tenant).await?;
        let path = revision_path(&tenant.name, &revision);
        let answer = get(tenant, &client, &path, Some(&own)).await?;
        ensure!(
            answer.status() == 200,
            "the own node's agent got {}",
            answer.status()
        );
        let sealed: SealedRevision = serde_json::from_slice(&answer.bytes().await?)?;

        let mut paths = vec![path, values_path(&tenant.name, &revision)];
        let parcel = &sealed.parcel;
        let parts = [&parcel.manifest, &parcel.config, &parcel.layer];
        paths.extend(
            parts
                .into_iter()
                .chain(&parcel.bundles)
                .map(|digest| blob_path(digest)),
        );
        let for_the_api = tenant.suite.agent(1)?.token().to_owned();
        for path in paths {
            let status = get(tenant, &client, &path, Some(&own)).await?.status();
            ensure!(
                status == 200,
                "the own node's agent got {status} for {path}"
            );
            let status = get(tenant, &client, &path, Some(&foreign)).await?.status();
            ensure!(
                status == 403,
                "another node's agent got {status} for {path}"
            );
            for (token, whose) in [
                (None, "nobody"),
                (Some(for_the_api.as_str()), "a token for the API server"),
            ] {
                let status = get(tenant, &client, &path, token).await?.status();
                ensure!(status == 401, "{whose} got {status} for {path}");
            }
        }
        Ok(())
    })
}

#[test]
fn another_nodes_agent_writes_nothing_of_this_one() -> Result<()> {
    shared("foreign-write", async |tenant| {
        let placement = placed_on_the_first_node(tenant).await?;
        let name = placement.name_any();
        let cluster = &tenant.suite.cluster;
        let own = cluster.client_for(tenant.suite.agent(1)?.token()).await?;
        let foreign = cluster.client_for(tenant.suite.agent(2)?.token()).await?;
        let parameters = PatchParams::default();
        let status = Patch::Merge(json!({ "status": { "ready": false } }));
        let spec = Patch::Merge(json!({ "spec": { "replicas": 9 } }));

        let mine = Api::<ComponentPlacement>::namespaced(own.clone(), &tenant.name);
        mine.patch_status(&name, &parameters, &status)
            .await
            .context("the own node's agent cannot write")?;
        denied(
            "its own node's spec",
            mine.patch(&name, &parameters, &spec).await,
        )?;

        let theirs = Api::<ComponentPlacement>::namespaced(foreign.clone(), &tenant.name);
        denied(
            "a status",
            theirs.patch_status(&name, &parameters, &status).await,
        )?;
        denied("a spec", theirs.patch(&name, &parameters, &spec).await)?;
        denied(
            "a placement",
            theirs.delete(&name, &DeleteParams::default()).await,
        )?;

        let labels = Patch::Merge(json!({ "metadata": { "labels": { "seen": "yes" } } }));
        let nodes = Api::<WasmNode>::all(foreign.clone());
        let facts = Patch::Merge(json!({ "status": { "agentVersion": "forged" } }));
        denied(
            "a WasmNode",
            nodes.patch("node-1", &parameters, &labels).await,
        )?;
        denied(
            "a WasmNode's status",
            nodes.patch_status("node-1", &parameters, &facts).await,
        )?;
        let leases = Api::<Lease>::namespaced(foreign, NODE_NAMESPACE);
        denied(
            "a heartbeat",
            leases.patch("node-1", &parameters, &labels).await,
        )?;
        Ok(())
    })
}

fn denied<T>(what: &str, outcome: kube::Result<T>) -> Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if [403, 422].contains(&status.code) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("writing {what} failed otherwise")),
        Ok(_) => anyhow::bail!("an agent could write {what}"),
    }
}

async fn placed_on_the_first_node(tenant: &Tenant) -> Result<ComponentPlacement> {
    let image = tenant.publish("orders", "1.0.0", "1.0.0").await?;
    let placement =
        json!({ "mode": "EveryNode", "nodeSelector": { "kubernetes.io/hostname": "node-1" } });
    tenant
        .component(
            "orders",
            json!({ "image": image.tag, "placement": placement }),
        )
        .await?;
    tenant.answers("orders", 1, "1.0.0").await?;
    let placements = tenant.placements().await?;
    let [placement] = placements.as_slice() else {
        anyhow::bail!("placements are {placements:?}")
    };
    ensure!(
        placement.spec.node_name == "node-1",
        "it is on {}",
        placement.spec.node_name
    );
    Ok(placement.clone())
}

/// A client that trusts what agents trust: the bundle the operator publishes.
async fn client(tenant: &Tenant) -> Result<reqwest::Client> {
    let maps = Api::<ConfigMap>::namespaced(tenant.client(), NAMESPACE);
    let trust = maps
        .get("lighterman-trust")
        .await?
        .data
        .context("lighterman-trust is empty")?;
    let bundle = trust
        .get("ca.crt")
        .context("lighterman-trust has no ca.crt")?;
    let certificates = reqwest::Certificate::from_pem_bundle(bundle.as_bytes())?;
    Ok(reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only(certificates)
        .build()?)
}

async fn get(
    tenant: &Tenant,
    client: &reqwest::Client,
    path: &str,
    token: Option<&str>,
) -> Result<reqwest::Response> {
    let request = client.get(format!("https://{}{path}", tenant.suite.hand_over.address));
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    Ok(request.send().await?)
}
