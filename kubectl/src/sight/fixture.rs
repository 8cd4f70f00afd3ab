//! What a cluster could say about a component, for the tests of pages.

use serde::de::DeserializeOwned;

use super::{Seen, Sight};

/// A component that follows its image to a version that fails on one of two nodes.
pub(crate) const UPDATING: &str = include_str!("fixture/updating.yaml");
/// A component whose image nobody signed.
pub(crate) const UNSIGNED: &str = include_str!("fixture/unsigned.yaml");
/// A component whose next version asks for more.
pub(crate) const HELD: &str = include_str!("fixture/held.yaml");

/// The sight that a file describes: documents `component`, and lists of the rest.
pub(crate) fn sight(yaml: &str) -> Sight {
    let parts: serde_json::Value = serde_saphyr::from_str(yaml).expect("the fixture is YAML");
    Sight {
        component: part(&parts, "component"),
        placements: Seen::All(part(&parts, "placements")),
        revisions: Seen::All(part(&parts, "revisions")),
        events: Seen::All(part(&parts, "events")),
    }
}

fn part<T: DeserializeOwned>(parts: &serde_json::Value, name: &str) -> T {
    let part = parts
        .get(name)
        .cloned()
        .unwrap_or_else(|| serde_json::json!([]));
    serde_json::from_value(part).unwrap_or_else(|error| panic!("{name}: {error}"))
}
