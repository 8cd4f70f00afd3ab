//! The hand-over: how an agent fetches what is placed on its node from the operator.
//!
//! HTTPS with JSON. Only the wire: paths, bodies, problems. The operator serves it,
//! the agent asks; neither trusts the other's word for more than these types say.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::reason::Reason;
use crate::revision::{ComponentIdentity, RevisionDocument, Seal};
use crate::tally::Tally;

/// Audience of the projected token that an agent proves itself with.
pub const HANDOVER_AUDIENCE: &str = "lighterman.dev/hand-over";

/// Route of [`revision_path`], as axum writes it.
pub const REVISION_ROUTE: &str = "/v1/revisions/{namespace}/{revision}";
/// Route of [`blob_path`], as axum writes it.
pub const BLOB_ROUTE: &str = "/v1/blobs/{digest}";
/// Route of [`values_path`], as axum writes it.
pub const VALUES_ROUTE: &str = "/v1/values/{namespace}/{revision}";

/// Route and path of the TUF metadata of the public root, as JSON. An agent checks it as if a
/// stranger had sent it. Unknown while the operator relays none.
pub const PUBLIC_ROOT_ROUTE: &str = "/v1/public-root";
/// Route and path that agents post [`DenialReport`]s to. Answered with 204.
pub const DENIALS_ROUTE: &str = "/v1/denials";

/// Route and path that agents post [`TallyReport`]s to. Answered with 204, and by a replica that
/// does not lead with 421: the one that leads is reached by another connection.
pub const TALLIES_ROUTE: &str = "/v1/tallies";

/// The most components of one [`TallyReport`]; others come in another one.
pub const TALLY_COMPONENTS_MAX: usize = 64;
/// How often an agent looks whether there is something to report of revisions that take over
/// from each other, in seconds.
pub const TALLIES_EVERY_SECONDS: u64 = 5;
/// The most components of one [`DenialReport`]; others wait for the next.
pub const DENIAL_COMPONENTS_MAX: usize = 100;
/// The most kinds of denials that are told of one component.
pub const DENIAL_KINDS_MAX: usize = 16;
/// How often an agent reports what was denied, in seconds; not at all while nothing is.
pub const DENIALS_EVERY_SECONDS: u64 = 30;

/// The largest answer that is no blob; a revision with every list full is below it.
pub const JSON_MAX: usize = 4 << 20;
/// The most that all files of a revision hold together: in base64, with every variable full,
/// they stay below [`JSON_MAX`]. A ConfigMap or Secret holds up to 1 MiB.
pub const FILES_MAX: usize = 1_536 << 10;

/// A revision with its seal and the digests of its bytes. Answer to [`revision_path`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedRevision {
    /// What to run.
    pub document: RevisionDocument,
    /// That the operator said so.
    pub seal: Seal,
    /// Where its bytes are.
    pub parcel: ParcelIndex,
    /// sha256 of the public root that the operator relays at [`PUBLIC_ROOT_ROUTE`]: an agent
    /// that has another one asks for it before it judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_root: Option<String>,
}

/// Digests of everything that a check of the image needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParcelIndex {
    /// The manifest.
    pub manifest: String,
    /// The config.
    pub config: String,
    /// The component.
    pub layer: String,
    /// The signature bundles.
    #[serde(default)]
    pub bundles: Vec<String>,
}

/// Resolved values of a revision. Answer to [`values_path`].
///
/// They may come from Secrets: `Debug` shows their names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// Environment variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Configuration values.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Files of each configMap and secret volume, in base64, by volume and relative path.
    #[serde(default)]
    pub files: BTreeMap<String, BTreeMap<String, String>>,
    /// Values of the Secrets that `credentials` name, by [`credential_key`].
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
}

/// What was denied on a node since its last report, for the operator to make Events of.
/// Posted to [`DENIALS_ROUTE`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialReport {
    /// At most [`DENIAL_COMPONENTS_MAX`].
    pub components: Vec<ComponentDenials>,
}

/// What one component was denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentDenials {
    /// The component, as the placement on the node names it.
    pub component: ComponentIdentity,
    /// Every denial of the time, those told and those not.
    pub total: u64,
    /// At most [`DENIAL_KINDS_MAX`], those with the highest counts.
    pub kinds: Vec<Denial>,
}

/// Denials of one kind. Its texts come from a guest by way of the agent, which has made them
/// safe to show; the operator cuts what is too long for an Event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The capability, as in audit records.
    pub capability: String,
    /// What was asked for: a path, a host and port, a name.
    pub object: String,
    /// What denied it, for people.
    pub rule: String,
    /// How often.
    pub count: u64,
}

/// What revisions did that take over from each other on a node, for the operator to judge a
/// rollout by. Posted to [`TALLIES_ROUTE`]; saying it again changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyReport {
    /// At most [`TALLY_COMPONENTS_MAX`].
    pub components: Vec<ComponentTallies>,
}

/// What the revisions of one component did on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentTallies {
    /// The component, as the placement on the node names it.
    pub component: ComponentIdentity,
    /// The revisions of the placement.
    pub revisions: Vec<RevisionTally>,
}

/// What one revision did on a node since its worker loaded it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionTally {
    /// Its name.
    pub revision: String,
    /// When counting began, in microseconds since 1970. A worker that is started again begins a
    /// later epoch at nought, and what it counted before stays counted.
    pub epoch: u64,
    /// The counts of this epoch.
    pub tally: Tally,
}

/// Body of every answer that is not 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({reason})")]
pub struct Problem {
    /// Why.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// Path of a revision.
pub fn revision_path(namespace: &str, revision: &str) -> String {
    format!("/v1/revisions/{namespace}/{revision}")
}

/// Path of the bytes with a digest.
pub fn blob_path(digest: &str) -> String {
    format!("/v1/blobs/{digest}")
}

/// Path of the values of a revision.
pub fn values_path(namespace: &str, revision: &str) -> String {
    format!("/v1/values/{namespace}/{revision}")
}

/// Under which name [`Values::credentials`] holds the key of a Secret.
pub fn credential_key(secret: &str, key: &str) -> String {
    format!("{secret}/{key}")
}

impl Problem {
    /// The status it is sent with: 401 no identity, 403 not yours, 404 unknown, 409
    /// not yet, 421 ask another replica, 503 busy.
    pub fn status(&self) -> u16 {
        match self.reason {
            Reason::HandOverUnauthenticated => 401,
            Reason::HandOverForbidden => 403,
            Reason::RevisionUnknown | Reason::BlobUnknown => 404,
            Reason::HandOverNotYet => 409,
            Reason::HandOverNotLeading => 421,
            _ => 503,
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("config", &self.config.keys().collect::<Vec<_>>())
            .field("files", &names(&self.files))
            .field("credentials", &self.credentials.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Volumes and their paths, without contents.
fn names(files: &BTreeMap<String, BTreeMap<String, String>>) -> Vec<(&String, Vec<&String>)> {
    files
        .iter()
        .map(|(volume, files)| (volume, files.keys().collect()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_values() {
        let values = Values {
            env: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
            config: BTreeMap::from([("mode".to_owned(), "hunter2".to_owned())]),
            files: BTreeMap::from([(
                "tls".to_owned(),
                BTreeMap::from([("tls.key".to_owned(), "hunter2".to_owned())]),
            )]),
            credentials: BTreeMap::from([(credential_key("t", "k"), "hunter2".to_owned())]),
        };
        let shown = format!("{values:?}");
        for name in ["TOKEN", "mode", "tls.key", "t/k"] {
            assert!(shown.contains(name), "{shown}");
        }
        assert!(!shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn each_problem_has_its_status() {
        for (reason, status) in [
            (Reason::HandOverUnauthenticated, 401),
            (Reason::HandOverForbidden, 403),
            (Reason::RevisionUnknown, 404),
            (Reason::HandOverNotYet, 409),
            (Reason::HandOverNotLeading, 421),
            (Reason::HandOverBusy, 503),
            (Reason::SecretMissing, 503),
        ] {
            assert_eq!(
                Problem {
                    reason,
                    message: String::new()
                }
                .status(),
                status
            );
        }
    }

    #[test]
    fn a_problem_of_a_later_operator_is_still_read() {
        let read: Problem =
            serde_json::from_str(r#"{"reason": "InventedTomorrow", "message": "x", "more": 1}"#)
                .unwrap();
        assert_eq!(read.reason, Reason::Unknown);
    }
}
