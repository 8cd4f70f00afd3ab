//! Which addresses may be connected to: by class, and never those that are blocked.
//!
//! The judge of every address, whether it was written by a guest or came out of a name. Every
//! disguise is undone first, and the worst of what is found counts. Shared by all components
//! of a runtime; what is blocked, the caller says and may change.

use capability::reach::{Class, class_of_one, stands_for};
use capability::{Reach, Rule};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

/// What can be said of addresses without knowing who asks.
#[derive(Debug)]
pub(crate) struct Addresses {
    networks: Vec<(IpNet, Class)>,
    blocked: RwLock<Vec<IpNet>>,
}

impl Addresses {
    pub(crate) fn new(networks: Vec<(IpNet, Class)>) -> Addresses {
        Addresses {
            networks,
            blocked: RwLock::default(),
        }
    }

    /// Replaces what is blocked, for connections made from now on.
    pub(crate) fn block(&self, networks: Vec<IpNet>) {
        *self.blocked.write().unwrap_or_else(PoisonError::into_inner) = networks;
    }

    /// Whether something with this reach may connect to the address.
    pub(crate) fn judge(&self, address: IpAddr, reach: Reach) -> Result<(), Rule> {
        if self.is_blocked(address) {
            return Err(Rule::BlockedAddress);
        }
        match (self.class(address), reach) {
            (Class::Public, _) | (Class::Private, Reach::Private) => Ok(()),
            (Class::Private, Reach::Public) => Err(Rule::PrivateAddress),
            (Class::Special, _) => Err(Rule::SpecialAddress),
        }
    }

    fn is_blocked(&self, address: IpAddr) -> bool {
        let blocked = self.blocked.read().unwrap_or_else(PoisonError::into_inner);
        stands_for(address).any(|one| blocked.iter().any(|network| network.contains(&one)))
    }

    fn class(&self, address: IpAddr) -> Class {
        let class = |one: IpAddr| {
            let named = self
                .networks
                .iter()
                .find(|(network, _)| network.contains(&one));
            named.map_or_else(|| class_of_one(one), |(_, class)| *class)
        };
        stands_for(address)
            .map(class)
            .max()
            .unwrap_or(Class::Special)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(addresses: &Addresses, address: &str, reach: Reach) -> bool {
        addresses.judge(address.parse().unwrap(), reach).is_ok()
    }

    #[test]
    fn private_addresses_need_a_private_reach_and_special_ones_have_none() {
        let addresses = Addresses::new(Vec::new());
        for (address, public, private) in [
            ("1.1.1.1", true, true),
            ("10.0.0.1", false, true),
            ("127.0.0.1", false, false),
            ("::ffff:10.0.0.1", false, true),
            ("64:ff9b::169.254.169.254", false, false),
        ] {
            assert_eq!(
                judge(&addresses, address, Reach::Public),
                public,
                "{address}"
            );
            assert_eq!(
                judge(&addresses, address, Reach::Private),
                private,
                "{address}"
            );
        }
    }

    #[test]
    fn what_is_blocked_stays_so_in_every_disguise() {
        let addresses = Addresses::new(Vec::new());
        assert!(judge(&addresses, "64:ff9b::1.1.1.1", Reach::Private));
        addresses.block(vec![
            "1.1.1.0/24".parse().unwrap(),
            "fd00::7/128".parse().unwrap(),
        ]);
        for address in [
            "1.1.1.1",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
            "fd00::7",
        ] {
            assert!(!judge(&addresses, address, Reach::Private), "{address}");
        }
        assert!(judge(&addresses, "1.1.2.1", Reach::Public));
    }

    #[test]
    fn the_caller_may_say_what_a_network_is_but_not_for_its_neighbours() {
        let addresses = Addresses::new(vec![
            ("127.0.0.2/32".parse().unwrap(), Class::Public),
            ("11.0.0.0/8".parse().unwrap(), Class::Private),
        ]);
        assert!(judge(&addresses, "127.0.0.2", Reach::Public));
        assert!(!judge(&addresses, "127.0.0.3", Reach::Private));
        assert!(!judge(&addresses, "11.1.1.1", Reach::Public));
        assert!(judge(&addresses, "11.1.1.1", Reach::Private));
        assert!(!judge(&addresses, "::ffff:11.1.1.1", Reach::Public));
    }
}
