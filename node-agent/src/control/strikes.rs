//! Who was running when the worker died, and who is not started again for it. A component that
//! was on a thread at two crashes within ten minutes is quarantined, per digest, until another
//! digest or another version of the agent comes. Kept on disk: were it forgotten whenever
//! control starts again, a component that kills would have two fresh kills each time. No clock
//! of its own: time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use artifact::Digest;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::state::Store;

/// The name under which they are kept.
const KEPT: &str = "strikes";
/// Two crashes further apart than this are two accidents, in seconds.
const WINDOW: i64 = 10 * 60;
/// At this many crashes within the window a component is not started again.
const MOST: usize = 2;
/// Most that are quarantined; beyond, the oldest gets another chance. A node holds far fewer
/// components.
const QUARANTINED_MAX: usize = 1_024;

/// One version of one component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Suspect {
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// What it ran.
    pub digest: Digest,
}

/// The record of crashes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strikes {
    /// When each was on a thread, in seconds since 1970.
    crashes: BTreeMap<Suspect, Vec<i64>>,
    /// The oldest first.
    quarantined: VecDeque<Suspect>,
}

/// As it is kept: of one version of the agent, because the next one may have the cure.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    agent: String,
    crashes: Vec<(Suspect, Vec<i64>)>,
    quarantined: VecDeque<Suspect>,
}

impl Strikes {
    /// What an earlier start of this version of the agent kept.
    pub async fn load(documents: &Store) -> Self {
        let kept: Option<Record> = documents.load(KEPT.to_owned()).await;
        kept.filter(|record| record.agent == env!("CARGO_PKG_VERSION"))
            .map(|record| Self {
                crashes: record.crashes.into_iter().collect(),
                quarantined: record.quarantined,
            })
            .unwrap_or_default()
    }

    /// Keeps them for the next start.
    pub async fn save(&self, documents: &Store) {
        let record = Record {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            crashes: self
                .crashes
                .iter()
                .map(|(suspect, times)| (suspect.clone(), times.clone()))
                .collect(),
            quarantined: self.quarantined.clone(),
        };
        documents.save(KEPT.to_owned(), &record).await;
    }

    /// Records that the worker died while these were on a thread.
    pub fn crashed(&mut self, suspects: impl IntoIterator<Item = Suspect>, now: Timestamp) {
        let now = now.as_second();
        // The clock of a node may be set back: what lies ahead is no reason to forget.
        self.crashes.retain(|_, times| {
            times.retain(|time| now.saturating_sub(*time) < WINDOW);
            !times.is_empty()
        });
        // Both revisions of a slot may run the same digest: that is one crash.
        for suspect in suspects.into_iter().collect::<BTreeSet<_>>() {
            let times = self.crashes.entry(suspect.clone()).or_default();
            times.push(now);
            if times.len() >= MOST {
                self.crashes.remove(&suspect);
                self.quarantine(suspect);
            }
        }
    }

    /// Whether it must not be started.
    pub fn is_quarantined(&self, suspect: &Suspect) -> bool {
        self.quarantined.contains(suspect)
    }

    /// Whether it was on a thread at a crash of late: such are started after all others.
    pub fn is_suspected(&self, suspect: &Suspect) -> bool {
        self.crashes.contains_key(suspect)
    }

    fn quarantine(&mut self, suspect: Suspect) {
        if self.is_quarantined(&suspect) {
            return;
        }
        if self.quarantined.len() >= QUARANTINED_MAX {
            self.quarantined.pop_front();
        }
        self.quarantined.push_back(suspect);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::cache::{Cache, Key};

    fn suspect(content: &str) -> Suspect {
        Suspect {
            namespace: "shop".to_owned(),
            component: "orders".to_owned(),
            digest: Digest::of(content.as_bytes()),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn store(folder: &std::path::Path) -> Store {
        let key = Key::of_node(folder).unwrap();
        Store::new(Cache::open(&folder.join("documents"), key, 1 << 20).unwrap())
    }

    #[test]
    fn two_crashes_within_ten_minutes_are_a_quarantine_of_that_digest() {
        let mut strikes = Strikes::default();
        strikes.crashed([suspect("v1")], at(0));
        assert!(strikes.is_suspected(&suspect("v1")));
        assert!(!strikes.is_quarantined(&suspect("v1")));
        strikes.crashed([suspect("v1")], at(599));
        assert!(strikes.is_quarantined(&suspect("v1")));
        assert!(!strikes.is_quarantined(&suspect("v2")));
    }

    #[test]
    fn two_crashes_further_apart_are_two_accidents() {
        let mut strikes = Strikes::default();
        strikes.crashed([suspect("v1")], at(0));
        strikes.crashed([suspect("v1")], at(601));
        assert!(!strikes.is_quarantined(&suspect("v1")));
    }

    #[test]
    fn two_revisions_of_one_digest_crash_once() {
        let mut strikes = Strikes::default();
        strikes.crashed([suspect("v1"), suspect("v1")], at(0));
        assert!(!strikes.is_quarantined(&suspect("v1")));
    }

    #[tokio::test]
    async fn a_restart_of_control_gives_nobody_two_fresh_kills() {
        let folder = tempfile::tempdir().unwrap();
        let mut strikes = Strikes::default();
        strikes.crashed([suspect("v1"), suspect("v2")], at(0));
        strikes.crashed([suspect("v1")], at(1));
        strikes.save(&store(folder.path())).await;

        let mut again = Strikes::load(&store(folder.path())).await;
        assert_eq!(again, strikes);
        assert!(again.is_quarantined(&suspect("v1")));
        again.crashed([suspect("v2")], at(2));
        assert!(again.is_quarantined(&suspect("v2")));
    }

    #[tokio::test]
    async fn another_version_of_the_agent_tries_again() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record {
            agent: "0.0.0-another".to_owned(),
            crashes: Vec::new(),
            quarantined: VecDeque::from([suspect("v1")]),
        };
        let store = store(folder.path());
        store.save(KEPT.to_owned(), &record).await;
        assert_eq!(Strikes::load(&store).await, Strikes::default());
    }

    #[test]
    fn the_list_of_the_quarantined_has_an_end() {
        let mut strikes = Strikes::default();
        for number in 0..=QUARANTINED_MAX {
            let one = suspect(&number.to_string());
            strikes.crashed([one.clone()], at(0));
            strikes.crashed([one], at(1));
        }
        assert_eq!(strikes.quarantined.len(), QUARANTINED_MAX);
        assert!(!strikes.is_quarantined(&suspect("0")));
        assert!(strikes.is_quarantined(&suspect("1")));
    }
}
