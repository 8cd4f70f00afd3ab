//! Laws of the port ledger.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use operator::component::Key;
use operator::port::{Holder, Ledger, PortRange, QUARANTINE};
use proptest::prelude::*;

fn holder(name: &str) -> Holder {
    Holder {
        component: Key::new("shop", name),
        uid: format!("uid-{name}"),
        trigger: "web".to_owned(),
    }
}

fn range() -> PortRange {
    "20000-20003".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn quarantine() -> i64 {
    i64::try_from(QUARANTINE.as_secs()).unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Allocate(String),
    Free(String),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(Step, i64)>> {
    let step = prop_oneof![
        3 => "[a-h]".prop_map(Step::Allocate),
        2 => "[a-h]".prop_map(Step::Free),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec((step, 0_i64..1_000), 0..60)
}

proptest! {
    #[test]
    fn no_port_is_held_twice_or_handed_on_before_it_has_rested(steps in steps()) {
        let (mut ledger, mut now) = (Ledger::new(range()), at(0));
        let mut held: BTreeMap<String, u16> = BTreeMap::new();
        let mut freed: BTreeMap<u16, Timestamp> = BTreeMap::new();
        for (step, wait) in steps {
            now += SignedDuration::from_secs(wait);
            match step {
                Step::Allocate(name) => {
                    let known = held.get(&name).copied();
                    match ledger.allocate(&holder(&name), now) {
                        Ok(port) => {
                            prop_assert!(known.is_none_or(|known| known == port), "a holder keeps its port");
                            if known.is_none() {
                                let rested = freed.get(&port).is_none_or(|freed| now.duration_since(*freed).as_secs() >= quarantine());
                                prop_assert!(rested, "{port} was handed on before it had rested");
                                held.insert(name, port);
                            }
                        }
                        Err(error) => {
                            prop_assert!(known.is_none());
                            let resting = freed.iter().filter(|(port, at)| !held.values().any(|held| held == *port) && now.duration_since(**at).as_secs() < quarantine()).count();
                            prop_assert_eq!(held.len() + resting, 4, "{}", error);
                        }
                    }
                }
                Step::Free(name) => {
                    ledger.retain(now, |holder| holder.component.name != name);
                    if let Some(port) = held.remove(&name) {
                        freed.insert(port, now);
                    }
                }
                Step::Restart => {
                    let claims: Vec<(Holder, u16)> = held.iter().map(|(name, port)| (holder(name), *port)).collect();
                    ledger = Ledger::rebuild(range(), claims, &ledger.data(now), now);
                }
            }
            let ports: BTreeSet<u16> = held.values().copied().collect();
            prop_assert_eq!(ports.len(), held.len());
            prop_assert_eq!(ledger.held(), held.len());
        }
    }
}

#[test]
fn the_port_that_was_freed_longest_ago_comes_first() {
    let mut ledger = Ledger::new(range());
    for name in ["a", "b", "c", "d"] {
        ledger.allocate(&holder(name), at(0)).unwrap();
    }
    ledger.retain(at(10), |holder| holder.component.name != "c");
    ledger.retain(at(20), |holder| holder.component.name != "a");
    let later = at(20 + quarantine());
    assert_eq!(ledger.allocate(&holder("e"), later), Ok(20_002));
    assert_eq!(ledger.allocate(&holder("f"), later), Ok(20_000));
}

#[test]
fn a_port_freed_while_no_operator_ran_rests_from_the_moment_it_is_noticed() {
    let data = BTreeMap::from([("20000".to_owned(), "held".to_owned())]);
    let mut ledger = Ledger::rebuild("20000-20000".parse().unwrap(), [], &data, at(0));
    assert!(ledger.allocate(&holder("a"), at(quarantine() - 1)).is_err());
    assert_eq!(ledger.allocate(&holder("a"), at(quarantine())), Ok(20_000));
}

#[test]
fn a_component_made_anew_under_the_same_name_is_another_holder() {
    let mut ledger = Ledger::new(range());
    let first = holder("a");
    let second = Holder {
        uid: "another".to_owned(),
        ..first.clone()
    };
    let port = ledger.allocate(&first, at(0)).unwrap();
    assert_ne!(ledger.allocate(&second, at(0)).unwrap(), port);
}

#[test]
fn two_claims_to_one_port_leave_it_to_the_first() {
    let mut ledger = Ledger::rebuild(
        range(),
        [(holder("b"), 20_000), (holder("a"), 20_000)],
        &BTreeMap::new(),
        at(0),
    );
    assert_eq!(ledger.port(&holder("a")), Some(20_000));
    assert_eq!(ledger.allocate(&holder("b"), at(0)), Ok(20_001));
}

#[test]
fn a_ledger_of_ten_thousand_ports_fits_a_config_map() {
    let mut ledger = Ledger::new("20000-29999".parse().unwrap());
    for n in 0..10_000 {
        ledger.allocate(&holder(&format!("c{n}")), at(0)).unwrap();
    }
    ledger.retain(at(1), |_| false);
    let bytes: usize = ledger
        .data(at(2))
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    assert!(
        bytes < 500_000,
        "{bytes} bytes of the one mebibyte that etcd takes"
    );
}

#[test]
fn what_is_no_port_range_is_refused() {
    for text in [
        "",
        "20000",
        "20000-",
        "30000-20000",
        "80-90",
        "20000-40000",
        "a-b",
    ] {
        assert!(text.parse::<PortRange>().is_err(), "{text}");
    }
}
