//! `kubectl lm rollout history`: the versions that are kept, oldest first.
//!
//! Pure: a table of the ControllerRevisions that were seen.

use std::fmt;

use crds::revision::RevisionDocument;
use kube::ResourceExt;
use serde::Serialize;

use crate::printable;
use crate::sight::Sight;
use crate::table::Table;

/// The page.
#[derive(Debug, Serialize)]
pub(super) struct Page {
    revisions: Vec<Revision>,
    /// What could not be read, in the API server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<String>,
}

#[derive(Debug, Serialize)]
struct Revision {
    /// Counts the revisions of a component.
    number: i64,
    name: String,
    digest: String,
    /// What it is doing: `serves`, `follows`, `failed`, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// What its manifests ask for.
    asks: Vec<String>,
}

/// The page of what was seen.
pub(super) fn page(sight: &Sight) -> Page {
    let status = sight.component.status.clone().unwrap_or_default();
    let current = status.current.map(|of| of.revision);
    let updating = status.updating.map(|of| of.revision);
    let failed = status.failed_digest;
    let revisions = sight.revisions.known().iter().map(|revision| {
        let name = revision.name_any();
        // A revision that a later version wrote may not be readable; its name still counts.
        let document: Option<RevisionDocument> = revision
            .data
            .as_ref()
            .and_then(|data| serde_json::from_value(data.0.clone()).ok());
        let created = revision.metadata.creation_timestamp.as_ref();
        let is_failed = failed.is_some()
            && document.as_ref().map(|document| &document.digest) == failed.as_ref();
        Revision {
            number: revision.revision,
            digest: document.as_ref().map_or_else(
                || "unreadable".to_owned(),
                |document| document.digest.clone(),
            ),
            role: match &name {
                name if current.as_ref() == Some(name) => Some("serves"),
                _ if is_failed => Some("failed"),
                name if updating.as_ref() == Some(name) => Some("follows"),
                _ => None,
            },
            created: created.map(|time| format!("{:.0}", time.0)),
            asks: document.map(|document| asks(&document)).unwrap_or_default(),
            name,
        }
    });
    Page {
        revisions: revisions.collect(),
        hidden: sight.revisions.hidden(),
    }
}

fn asks(document: &RevisionDocument) -> Vec<String> {
    let mut asks: Vec<String> = document
        .requests
        .iter()
        .flat_map(|request| request.asks())
        .map(|(ask, _)| ask.to_string())
        .collect();
    asks.sort();
    asks.dedup();
    asks
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hidden) = &self.hidden {
            return write!(f, "not shown: {}", printable::line(hidden));
        }
        if self.revisions.is_empty() {
            return f.write_str("no version has been admitted yet");
        }
        let mut table = Table::new(["REVISION", "NAME", "DIGEST", "CREATED", "ASKS", ""]);
        for revision in &self.revisions {
            table.row([
                revision.number.to_string(),
                revision.name.clone(),
                printable::line(&revision.digest),
                revision.created.clone().unwrap_or_default(),
                match revision.asks.is_empty() {
                    true => "nothing".to_owned(),
                    false => printable::line(&revision.asks.join(", ")),
                },
                revision.role.unwrap_or_default().to_owned(),
            ]);
        }
        write!(f, "{table}")
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::sight::fixture::{self, UPDATING};

    #[test]
    fn versions_are_listed_with_what_they_ask_for() {
        assert_snapshot!(page(&fixture::sight(UPDATING)));
    }
}
