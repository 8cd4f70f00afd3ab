//! How fast the components of lost nodes move.

use std::time::Duration;

use operator::node::{LOSS_INTERVAL, Losses, NodeFact};
use tokio::time::Instant;

use super::*;

type Facts = operator::node::Nodes;

fn facts(standings: &[(String, Standing)]) -> Facts {
    let fact = |standing: Standing| NodeFact {
        planned: Node {
            labels: BTreeMap::new(),
            taints: Vec::new(),
            standing,
            features: Some(BTreeSet::new()),
            memory: Bytes::mib(64),
            reserved: Bytes(0),
        },
        zone: None,
        agent: None,
    };
    standings
        .iter()
        .map(|(name, standing)| (name.clone(), fact(*standing)))
        .collect()
}

fn given_up(facts: &Facts) -> BTreeSet<String> {
    facts
        .iter()
        .filter(|(_, fact)| fact.planned.standing == Standing::Lost)
        .map(|(name, _)| name.clone())
        .collect()
}

fn names(listed: &[&str]) -> BTreeSet<String> {
    listed.iter().map(|name| (*name).to_owned()).collect()
}

/// What is given up of `standings` after `seconds`.
fn paced(
    losses: &mut Losses,
    standings: &[(&str, Standing)],
    silent: &[(&str, u64)],
    start: Instant,
    seconds: u64,
) -> BTreeSet<String> {
    let owned: Vec<(String, Standing)> = standings
        .iter()
        .map(|(name, standing)| ((*name).to_owned(), *standing))
        .collect();
    let silent = silent
        .iter()
        .map(|(name, seconds)| ((*name).to_owned(), Duration::from_secs(*seconds)))
        .collect();
    let mut facts = facts(&owned);
    losses.pace(&mut facts, &silent, start + Duration::from_secs(seconds));
    given_up(&facts)
}

const LOST: Standing = Standing::Lost;
const READY: Standing = Standing::Ready;

#[test]
fn of_nodes_lost_together_the_longest_silent_is_given_up_first_and_the_others_wait() {
    let (mut losses, start) = (Losses::default(), Instant::now());
    let nodes = [("n1", LOST), ("n2", LOST), ("n3", READY)];
    let silent = [("n1", 40), ("n2", 45)];
    let mut at = |seconds| paced(&mut losses, &nodes, &silent, start, seconds);
    assert_eq!(at(0), names(&["n2"]), "a single one does not wait");
    assert_eq!(at(9), names(&["n2"]));
    assert_eq!(at(10), names(&["n1", "n2"]));
}

#[test]
fn a_node_that_came_back_and_is_lost_again_waits_for_a_turn() {
    let (mut losses, start) = (Losses::default(), Instant::now());
    let mut at =
        |n1, n2, seconds| paced(&mut losses, &[("n1", n1), ("n2", n2)], &[], start, seconds);
    assert_eq!(at(LOST, READY, 0), names(&["n1"]));
    assert_eq!(at(READY, READY, 5), names(&[]));
    assert_eq!(at(LOST, READY, 6), names(&[]));
    assert_eq!(at(LOST, READY, 10), names(&["n1"]));
}

proptest! {
    #[test]
    fn no_more_nodes_are_given_up_than_time_has_turns(
        steps in prop::collection::vec((0_u64..15, prop::collection::btree_map("n[1-8]", prop::bool::ANY, 1..8)), 1..20)
    ) {
        let (mut losses, start) = (Losses::default(), Instant::now());
        let (mut elapsed, mut before, mut turns) = (0, BTreeSet::new(), 0);
        for (seconds, lost) in steps {
            elapsed += seconds;
            let standings: Vec<(String, Standing)> = lost
                .iter()
                .map(|(name, lost)| (name.clone(), if *lost { LOST } else { READY }))
                .collect();
            let mut facts = facts(&standings);
            losses.pace(&mut facts, &BTreeMap::new(), start + Duration::from_secs(elapsed));
            let now = given_up(&facts);
            turns += now.difference(&before).count() as u64;
            prop_assert!(turns <= 1 + elapsed / LOSS_INTERVAL.as_secs());
            for (name, standing) in standings {
                let standing_now = facts[&name].planned.standing;
                let expected = if standing == READY { READY } else { standing_now };
                prop_assert_eq!(standing_now, expected, "{} is ready and stays so", name);
            }
            before = now;
        }
    }
}
