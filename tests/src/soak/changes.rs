//! What is changed under load, one change after another: each is over when every node serves
//! what it shall, and nothing else is loaded any more. Called by `soak`.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::traffic::Versions;
use crate::eventually::eventually;
use crate::guest;
use crate::registry::Image;
use crate::tenant::Tenant;

/// Of a quick version, and of streams; updates go round them.
const VERSIONS: usize = 8;
const STREAMS: usize = 4;
/// One update in so many is of the component that streams.
const STREAMS_EVERY: usize = 5;
/// How long one change may take: waves on every node, drains, and an agent that is started.
const PATIENCE: Duration = Duration::from_secs(180);

/// Quick requests go to this component.
pub(super) const QUICK: &str = "orders";
/// Slow ones go to this one.
pub(super) const SLOW: &str = "streams";

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// To a newer image.
    Update,
    /// Back to the image before.
    Rollback,
    /// One replica more, or less.
    Scale,
    /// Off a node that is cordoned.
    Move,
    /// An agent is stopped as the kubelet would, and started again with a new worker.
    Restart,
}

/// What is there to be changed.
pub(super) struct Changes<'a> {
    tenant: &'a Tenant,
    versions: Versions,
    quick: Vec<Image>,
    slow: Vec<Image>,
    /// Which of them is wanted.
    version: usize,
    stream: usize,
    replicas: usize,
    done: usize,
}

impl<'a> Changes<'a> {
    /// Publishes every version, and starts the first ones.
    pub(super) async fn begin(tenant: &'a Tenant, versions: &Versions) -> Result<Self> {
        let (mut quick, mut slow) = (Vec::new(), Vec::new());
        for number in 0..VERSIONS {
            let version = version(number);
            quick.push(tenant.publish(QUICK, &version, &version).await?);
        }
        for number in 0..STREAMS {
            let wasm = guest::copy(guest::PROBE.to_vec(), &number.to_string())?;
            let image = tenant.push_bytes(SLOW, &version(number), wasm).await?;
            tenant.suite.signer.sign(&image).await?;
            slow.push(image);
        }
        let mut changes = Self {
            tenant,
            versions: versions.clone(),
            quick,
            slow,
            version: 0,
            stream: 0,
            replicas: 2,
            done: 0,
        };
        changes.apply_slow().await?;
        changes.apply_quick().await?;
        changes.settled().await?;
        Ok(changes)
    }

    /// Makes one change, and waits for its end.
    pub(super) async fn make(&mut self, change: Change) -> Result<()> {
        self.done += 1;
        match change {
            Change::Update if self.done.is_multiple_of(STREAMS_EVERY) => {
                self.stream = (self.stream + 1) % STREAMS;
                self.apply_slow().await?;
            }
            Change::Update => {
                self.version = (self.version + 1) % VERSIONS;
                self.apply_quick().await?;
            }
            Change::Rollback => {
                self.version = (self.version + VERSIONS - 1) % VERSIONS;
                self.apply_quick().await?;
            }
            Change::Scale => {
                self.replicas = if self.replicas == 2 { 3 } else { 2 };
                self.apply_quick().await?;
            }
            Change::Move => return self.leave_a_node().await,
            Change::Restart => {
                let agents = &self.tenant.suite.agents;
                let agent = agents.get(self.done % agents.len().max(1));
                let agent = agent.context("there are agents")?;
                let ended = agent.stop().await?;
                ensure!(
                    ended.success(),
                    "the agent of {} ended with {ended}",
                    agent.node
                );
                agent.start().await?;
            }
        }
        self.settled().await
    }

    async fn leave_a_node(&mut self) -> Result<()> {
        let used = self.nodes().await?;
        let mut nodes = used.iter().cycle().skip(self.done % used.len().max(1));
        let node = nodes.next().context("no node is used")?.clone();
        self.cluster(&["cordon", &node]).await?;
        let what = format!("{node} to be left");
        let left = eventually(&what, PATIENCE, async || {
            ensure!(!self.nodes().await?.contains(&node), "it is used");
            Ok(())
        });
        let left = left.await;
        self.cluster(&["uncordon", &node]).await?;
        left?;
        self.settled().await
    }

    /// The nodes that hold the quick component.
    async fn nodes(&self) -> Result<BTreeSet<String>> {
        let placements = self.tenant.placements().await?;
        let quick = placements
            .iter()
            .filter(|one| one.spec.component_ref.name == QUICK);
        Ok(quick.map(|one| one.spec.node_name.clone()).collect())
    }

    async fn cluster(&self, arguments: &[&str]) -> Result<()> {
        let cluster = &self.tenant.suite.cluster;
        cluster.kubectl_ok(arguments, None).await.map(drop)
    }

    async fn apply_quick(&mut self) -> Result<()> {
        let image = self.quick.get(self.version).context("there is one")?;
        self.lock().insert(version(self.version));
        self.tenant
            .component(QUICK, spec(image, self.replicas))
            .await
    }

    async fn apply_slow(&self) -> Result<()> {
        let image = self.slow.get(self.stream).context("there is one")?;
        self.tenant.component(SLOW, spec(image, 2)).await
    }

    /// Waits until every placement serves what it shall, alone. From then on no other version may
    /// answer.
    async fn settled(&self) -> Result<()> {
        for name in [QUICK, SLOW] {
            self.tenant.ready(name).await?;
        }
        eventually("old revisions to be gone", PATIENCE, async || {
            for placement in self.tenant.placements().await? {
                let status = placement.status.unwrap_or_default();
                let [wanted] = placement.spec.revisions.as_slice() else {
                    anyhow::bail!("{} holds two revisions", placement.spec.node_name);
                };
                let serves = status.ready && status.serving.as_ref() == Some(&wanted.name);
                ensure!(
                    serves && status.revisions.len() == 1,
                    "{} is at {status:?}",
                    placement.spec.node_name
                );
            }
            Ok(())
        })
        .await?;
        let now = version(self.version);
        self.lock().retain(|version| *version == now);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version(number: usize) -> String {
    format!("1.{number}.0")
}

fn spec(image: &Image, replicas: usize) -> Value {
    json!({
        "image": image.tag,
        "replicas": replicas,
        "placement": { "mode": "Spread" },
        "rollout": { "terminationGracePeriodSeconds": 10 },
    })
}
