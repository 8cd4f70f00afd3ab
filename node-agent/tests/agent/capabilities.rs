//! What a component is given on a node: volumes, files that change, and what policies allow;
//! and what is written down of it. The guest does with files what a request tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use capability::{Allow, Ceiling, VolumeKind};
use crds::component::{AuditLevel, ConfigMapVolume, EmptyDirVolume, MountGrant, Volume};
use crds::condition::{ConditionType, find};
use crds::placement::Phase;
use crds::{ComponentPlacementStatus, Reason, WasmComponentSpec};
use node_agent::Desired;
use serde_json::Value;

use crate::processes::ProcessNode;
use crate::rig::{LocalNode, Shelf, client, free_port, identity, placement};

const PATIENCE: Duration = Duration::from_secs(30);

fn files() -> bytes::Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/files/files.wasm");
    std::fs::read(path).unwrap().into()
}

fn mount(volume: &str, path: &str, read: &[&str], write: &[&str]) -> MountGrant {
    let globs = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
    MountGrant {
        volume: volume.into(),
        mount_path: path.into(),
        read: globs(read),
        write: globs(write),
    }
}

/// Scratch space at `/data`, the content of a ConfigMap at `/conf`.
fn two_volumes(spec: &mut WasmComponentSpec) {
    let scratch = Volume {
        name: "data".into(),
        empty_dir: Some(EmptyDirVolume::default()),
        ..Volume::default()
    };
    let content = Volume {
        name: "conf".into(),
        config_map: Some(ConfigMapVolume {
            name: "settings".into(),
            ..ConfigMapVolume::default()
        }),
        ..Volume::default()
    };
    spec.volumes = vec![scratch, content];
    spec.capabilities.filesystem = vec![
        mount("data", "/data", &["/data/**"], &["/data/**"]),
        mount("conf", "/conf", &["/conf/**"], &[]),
    ];
}

fn ceiling(volumes: &[VolumeKind]) -> Ceiling {
    Ceiling {
        policy: "baseline".into(),
        allow: Allow {
            volumes: volumes.iter().copied().collect::<BTreeSet<_>>(),
            ..Allow::default()
        },
        ..Ceiling::default()
    }
}

fn both() -> Ceiling {
    ceiling(&[VolumeKind::EmptyDir, VolumeKind::ConfigMap])
}

/// A shelf whose component has the two volumes, and a policy that allows them.
fn shelf() -> Arc<Shelf> {
    let shelf = Shelf::new();
    shelf.give(two_volumes);
    shelf.allow(vec![both()]);
    hold(&shelf, "one");
    Arc::new(shelf)
}

fn hold(shelf: &Shelf, content: &str) {
    let file = ("app.conf".to_owned(), BASE64.encode(content));
    shelf.hold(|values| {
        values.files = BTreeMap::from([("conf".to_owned(), BTreeMap::from([file]))]);
    });
}

/// What the guest answers to orders, line by line; nothing while nobody does.
async fn told(port: u16, orders: &str) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}/");
    let answer = match client().post(url).body(orders.to_owned()).send().await {
        Ok(answer) if answer.status() == 200 => answer.text().await,
        _ => return Vec::new(),
    };
    answer
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

const READ_CONF: &str = "do=open&from=/conf&path=app.conf&for=r&as=f\ndo=read&from=f";
const WRITE_DATA: &str = "do=open&from=/data&path=kept&for=wc&as=f\ndo=write&to=f&text=x";
const READ_DATA: &str = "do=open&from=/data&path=kept&for=r&as=f\ndo=read&from=f";

async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "never {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn until_told(port: u16, orders: &str, wanted: &str) {
    let what = format!("{wanted} to {orders}");
    eventually(&what, || async {
        let told = told(port, orders).await;
        (told.last().map(String::as_str) == Some(wanted)).then_some(())
    })
    .await;
}

fn failed_for(reason: Reason) -> impl Fn(&ComponentPlacementStatus) -> bool {
    move |status| {
        let mut revisions = status.revisions.iter();
        revisions.any(|one| one.phase == Phase::Failed && one.reason == Some(reason))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_policy_allows_is_refused_by_the_node_itself() {
    let shelf = shelf();
    shelf.allow(vec![both(), ceiling(&[VolumeKind::EmptyDir])]);
    let (port, state_dir) = (free_port(), tempfile::tempdir().unwrap());
    let v1 = shelf.put(files(), 100);
    let node = LocalNode::start(state_dir.path(), placement(port, vec![v1]), shelf);
    let refused = failed_for(Reason::CapabilityAboveCeiling);
    node.told.until("refused", refused).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_change_for_the_next_instances_and_nobody_else_is_asked_for_values() {
    let (shelf, port) = (shelf(), free_port());
    let state_dir = tempfile::tempdir().unwrap();
    let v1 = shelf.put(files(), 100);
    let desired = placement(port, vec![v1.clone()]);
    let node = LocalNode::start(state_dir.path(), desired, Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;
    until_told(port, READ_CONF, "one").await;
    hold(&shelf, "two");
    until_told(port, READ_CONF, "two").await;
    // The content of before is gone from the node with the last that could see it.
    let conf = state_dir
        .path()
        .join("contents")
        .join(identity().uid)
        .join("conf");
    hold(&shelf, "three");
    until_told(port, READ_CONF, "three").await;
    let kept = std::fs::read_dir(conf).unwrap().count();
    assert!(kept <= 2, "{kept} contents are kept");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_without_references_asks_for_no_values() {
    let (shelf, port) = (Arc::new(Shelf::new()), free_port());
    let state_dir = tempfile::tempdir().unwrap();
    let v1 = shelf.put(files(), 100);
    let desired = placement(port, vec![v1.clone()]);
    let node = LocalNode::start(state_dir.path(), desired, Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;
    // Three times as long as one with references would wait.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(shelf.asked(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_tightens_holds_for_what_runs_and_stops_nothing() {
    let (shelf, port) = (shelf(), free_port());
    let v1 = shelf.put(files(), 100);
    let node = ProcessNode::start(placement(port, vec![v1.clone()]), Arc::clone(&shelf));
    node.told.until_serving(&v1.name).await;
    until_told(port, READ_CONF, "one").await;

    shelf.allow(vec![ceiling(&[VolumeKind::EmptyDir])]);
    node.trust.send_modify(|edition| *edition += 1);
    let doubted = |status: &ComponentPlacementStatus| {
        let verified = find(&status.conditions, ConditionType::Verified);
        status.ready && verified.is_some_and(|doubt| doubt.reason == "CapabilityAboveCeiling")
    };
    node.told.until("serving in doubt", doubted).await;
    eventually("denied", || async {
        let told = told(port, READ_CONF).await;
        (!told.is_empty() && told.last().map(String::as_str) != Some("one")).then_some(())
    })
    .await;
    until_told(port, WRITE_DATA, "done").await;

    shelf.allow(vec![both()]);
    node.trust.send_modify(|edition| *edition += 1);
    until_told(port, READ_CONF, "one").await;
    node.stop().await;
}

/// In a confined worker: it reaches its volumes by the descriptors that it was handed.
#[tokio::test(flavor = "multi_thread")]
async fn scratch_space_outlives_the_worker_and_goes_with_the_placement() {
    let (shelf, port) = (shelf(), free_port());
    let v1 = shelf.put(files(), 100);
    let node = ProcessNode::start(placement(port, vec![v1.clone()]), shelf);
    node.told.until_serving(&v1.name).await;
    until_told(port, WRITE_DATA, "done").await;
    node.kill_worker();
    until_told(port, READ_DATA, "x").await;

    let scratch = node.state_dir.path().join("volumes").join(identity().uid);
    assert!(scratch.join("data/kept").exists());
    node.desired.send_replace(Desired::default());
    eventually("removed", || async { (!scratch.exists()).then_some(()) }).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_denied_is_written_down_with_the_code_and_who_signed_it() {
    let (shelf, port) = (shelf(), free_port());
    shelf.give(|spec| spec.audit = AuditLevel::All);
    let v1 = shelf.put(files(), 100);
    let node = ProcessNode::start(placement(port, vec![v1.clone()]), shelf);
    node.told.until_serving(&v1.name).await;
    until_told(port, READ_CONF, "one").await;
    told(port, "do=open&from=/conf&path=app.conf&for=w&as=f").await;

    let log = node.state_dir.path().join("audit/audit.jsonl");
    let records = || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    let denied = eventually("written down", || async {
        records()
            .into_iter()
            .find(|record| record["allowed"] == false)
    })
    .await;
    assert_eq!(denied["component"], "orders");
    assert_eq!(denied["namespace"], "shop");
    assert_eq!(denied["node"], "node");
    assert_eq!(denied["digest"], v1.digest.to_string());
    assert_eq!(denied["object"], "/conf/app.conf");
    assert_eq!(denied["caller"]["trigger"], "web");
    assert_eq!(denied["caller"]["address"], "127.0.0.1");
    assert!(
        denied["signer"].as_str().unwrap().contains("key"),
        "{denied}"
    );
    let loaded = |record: &Value| record["capability"] == "lifecycle";
    assert!(records().iter().any(loaded));
    assert!(records().iter().any(|record| record["allowed"] == true));
    node.stop().await;
}
