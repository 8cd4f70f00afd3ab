//! The addresses that no guest may reach, whatever it is granted: those of this node and its
//! interfaces, of the agents and the operator, and of the API server. Written by `observe`, kept
//! on disk, told to the worker whenever they change. What cannot be read leaves what was read
//! last in place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::state::Store;

/// The name under which they are kept.
const KEPT: &str = "blocked";
/// Addresses of one kind: some five per node of a cluster of a few thousand. More come from
/// somebody who wants the list to have no end.
const ADDRESSES_MAX: usize = 16_384;
/// Local addresses of IPv4, as a tree, and those of IPv6, one a line.
const IPV4_TREE: &str = "/proc/net/fib_trie";
const IPV6_LIST: &str = "/proc/net/if_inet6";

/// Whose addresses they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Whose {
    /// This pod's, or this machine's.
    Interfaces,
    /// Pods of agents and operator, and the nodes they run on.
    System,
    /// The API server's.
    ApiServer,
}

/// The addresses, shared.
#[derive(Debug)]
pub struct Blocked {
    known: Mutex<BTreeMap<Whose, BTreeSet<IpAddr>>>,
    all: watch::Sender<BTreeSet<IpAddr>>,
    store: Store,
}

impl Blocked {
    /// Those of the interfaces, and what an earlier start has kept.
    pub async fn open(store: Store) -> Self {
        let known = store.load(KEPT.to_owned()).await.unwrap_or_default();
        let blocked = Self {
            all: watch::channel(union(&known)).0,
            known: Mutex::new(known),
            store,
        };
        blocked.learn(Whose::Interfaces, interfaces()).await;
        blocked
    }

    /// All of them, now and whenever they change.
    pub fn all(&self) -> watch::Receiver<BTreeSet<IpAddr>> {
        self.all.subscribe()
    }

    /// Replaces those of one kind, and keeps them if they are others now.
    pub async fn learn(&self, whose: Whose, addresses: BTreeSet<IpAddr>) {
        let mut addresses = addresses;
        while addresses.len() > ADDRESSES_MAX {
            addresses.pop_last();
        }
        let changed = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let before = known.insert(whose, addresses.clone());
            (before.as_ref() != Some(&addresses)).then(|| known.clone())
        };
        if let Some(known) = changed {
            let all = union(&known);
            self.all.send_if_modified(|before| {
                let changed = *before != all;
                *before = all;
                changed
            });
            self.store.save(KEPT.to_owned(), &known).await;
        }
    }
}

/// The addresses of the interfaces that this process sees.
pub fn interfaces() -> BTreeSet<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let four = of_tree(&read(IPV4_TREE)).into_iter().map(IpAddr::V4);
    let six = of_list(&read(IPV6_LIST)).into_iter().map(IpAddr::V6);
    four.chain(six).collect()
}

fn union(known: &BTreeMap<Whose, BTreeSet<IpAddr>>) -> BTreeSet<IpAddr> {
    known.values().flatten().copied().collect()
}

/// Every leaf is a line `|-- ADDRESS`, followed by lines of what it is; a local one is a
/// `/32 host LOCAL`.
fn of_tree(tree: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut leaf: Option<Ipv4Addr> = None;
    for line in tree.lines() {
        match line.trim_start().strip_prefix("|-- ") {
            Some(address) => leaf = address.trim().parse().ok(),
            None if line.trim() == "/32 host LOCAL" => found.extend(leaf),
            None => {}
        }
    }
    found
}

/// Thirty-two hexadecimal digits begin each line.
fn of_list(list: &str) -> BTreeSet<Ipv6Addr> {
    let digits = list.lines().filter_map(|line| line.get(..32));
    digits
        .filter_map(|digits| u128::from_str_radix(digits, 16).ok())
        .map(Ipv6Addr::from)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_found_in_the_kernels_tree() {
        let tree = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.1.2.0\n        /24 link UNICAST\n     \
                    |-- 10.1.2.3\n        /32 host LOCAL\n     |-- 10.1.2.255\n        /32 link BROADCAST\n";
        assert!(of_tree(tree).into_iter().eq([Ipv4Addr::new(10, 1, 2, 3)]));
        let list = "fe80000000000000020000fffe000001 02 40 20 80     eth0\n";
        let address: Ipv6Addr = "fe80::200:ff:fe00:1".parse().unwrap();
        assert!(of_list(list).into_iter().eq([address]));
    }

    #[test]
    fn this_machine_has_its_loopback() {
        assert!(interfaces().contains(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }
}
