//! A TUF repository of the tests' own, with every dial that a relay that lies would
//! turn. Nothing of what is tested is used to make it.

use std::collections::BTreeMap;

use artifact::root::{PublicGoodMetadata, RootOfTrust};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::Key;

/// The keys of a repository: as sigstore has them, several for the root and the targets,
/// and one that is online for the rest.
pub(crate) struct Tuf {
    pub(crate) offline: Vec<Key>,
    pub(crate) online: Key,
    /// How many of the offline keys have to sign.
    pub(crate) threshold: usize,
    /// Of everything but roots.
    pub(crate) expires: Timestamp,
}

impl Tuf {
    pub(crate) fn new(expires: Timestamp) -> Self {
        Self {
            offline: (0..3).map(|_| Key::new()).collect(),
            online: Key::new(),
            threshold: 2,
            expires,
        }
    }

    /// A root with these keys, signed by `signers`.
    pub(crate) fn root(&self, version: u64, signers: &[&Key]) -> Bytes {
        let key = |key: &Key| {
            json!({
                "keytype": "ecdsa",
                "scheme": "ecdsa-sha2-nistp256",
                "keyval": {"public": key.pem()},
            })
        };
        let all = self.offline.iter().chain([&self.online]);
        let keys: serde_json::Map<String, Value> = all.map(|of| (of.id(), key(of))).collect();
        let ids: Vec<String> = self.offline.iter().map(Key::id).collect();
        let offline = json!({"keyids": ids, "threshold": self.threshold});
        let online = json!({"keyids": [self.online.id()], "threshold": 1});
        let signed = json!({
            "_type": "root",
            "spec_version": "1.0",
            "version": version,
            "expires": "2035-01-01T00:00:00Z",
            "consistent_snapshot": true,
            "keys": keys,
            "roles": {"root": offline, "timestamp": online, "snapshot": online, "targets": offline},
        });
        signed_by(&signed, signers)
    }

    /// Its own first root.
    pub(crate) fn first_root(&self) -> Bytes {
        self.root(1, &self.signers())
    }

    /// Where trust in it starts.
    pub(crate) fn start(&self) -> RootOfTrust {
        RootOfTrust::from_json(self.first_root()).unwrap()
    }

    /// The root after `before`, which both sets of keys sign.
    pub(crate) fn next_root(&self, version: u64, before: &Tuf) -> Bytes {
        self.root(version, &[before.signers(), self.signers()].concat())
    }

    /// As many of the offline keys as it takes.
    pub(crate) fn signers(&self) -> Vec<&Key> {
        self.offline.iter().take(self.threshold).collect()
    }

    /// One file of a role.
    pub(crate) fn role(&self, kind: &str, version: u64, more: Value, signers: &[&Key]) -> Bytes {
        let mut signed = json!({
            "_type": kind,
            "spec_version": "1.0",
            "version": version,
            "expires": self.expires.to_string(),
        });
        for (name, value) in more.as_object().unwrap() {
            signed[name] = value.clone();
        }
        signed_by(&signed, signers)
    }

    /// All that is relayed after the first root, with every role at one version.
    pub(crate) fn metadata(&self, version: u64, trusted_root: &[u8]) -> PublicGoodMetadata {
        let target = json!({
            "length": trusted_root.len(),
            "hashes": {"sha256": hex(trusted_root)},
        });
        let targets = json!({"targets": {"trusted_root.json": target}});
        let targets = self.role("targets", version, targets, &self.signers());
        self.naming(version, targets, trusted_root)
    }

    /// Snapshot and timestamp around these targets.
    pub(crate) fn naming(
        &self,
        version: u64,
        targets: Bytes,
        trusted_root: &[u8],
    ) -> PublicGoodMetadata {
        let online = [&self.online];
        let snapshot = json!({"meta": {"targets.json": {"version": version}}});
        let snapshot = self.role("snapshot", version, snapshot, &online);
        let meta = json!({"meta": {"snapshot.json": {
            "version": version,
            "length": snapshot.len(),
            "hashes": {"sha256": hex(&snapshot)},
        }}});
        PublicGoodMetadata {
            roots: Vec::new(),
            timestamp: self.role("timestamp", version, meta, &online),
            snapshot,
            targets,
            trusted_root: Bytes::copy_from_slice(trusted_root),
        }
    }
}

/// The files of a repository as its mirror serves them, by path.
pub(crate) fn files(metadata: &PublicGoodMetadata, version: u64) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::from([
        ("timestamp.json".to_owned(), metadata.timestamp.clone()),
        (
            format!("{version}.snapshot.json"),
            metadata.snapshot.clone(),
        ),
        (format!("{version}.targets.json"), metadata.targets.clone()),
        (
            format!("targets/{}.trusted_root.json", hex(&metadata.trusted_root)),
            metadata.trusted_root.clone(),
        ),
    ]);
    for (index, root) in metadata.roots.iter().enumerate() {
        files.insert(format!("{}.root.json", index + 2), root.clone());
    }
    files
}

fn signed_by(signed: &Value, keys: &[&Key]) -> Bytes {
    let canonical = canonical(signed);
    let mut signatures = BTreeMap::new();
    for key in keys {
        let signature = json!({"keyid": key.id(), "sig": key.sign_hex(canonical.as_bytes())});
        signatures.insert(key.id(), signature);
    }
    let signatures: Vec<Value> = signatures.into_values().collect();
    json!({"signed": signed, "signatures": signatures})
        .to_string()
        .into()
}

/// The canonical JSON of securesystemslib: sorted, without space, and of all characters
/// only `"` and `\` escaped.
fn canonical(value: &Value) -> String {
    let text = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match value {
        Value::Object(members) => {
            let members: BTreeMap<&String, &Value> = members.iter().collect();
            let members = members
                .iter()
                .map(|(name, value)| format!("{}:{}", text(name), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

pub(crate) fn hex(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
