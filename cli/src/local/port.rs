//! Which port of this machine stands for which trigger.
//!
//! A cluster allocates ports of its own behind a Service; here people type them. A
//! trigger keeps its own port when it can, and what it was given as long as this runs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};

use crate::failure::Failure;

/// The ports given so far, by component and trigger.
#[derive(Debug)]
pub(super) struct Ports {
    first: u16,
    given: BTreeMap<(String, String), u16>,
}

/// Below this an ordinary user may not listen.
const PRIVILEGED: u16 = 1024;
/// How many taken ports are passed over before somebody is asked to choose.
const ATTEMPTS: u16 = 200;

impl Ports {
    /// Gives ports from `first` upwards.
    pub(super) fn new(first: u16) -> Ports {
        Ports {
            first,
            given: BTreeMap::new(),
        }
    }

    /// The port of a trigger that a Service would publish as `wanted`.
    pub(super) fn of(
        &mut self,
        component: &str,
        trigger: &str,
        wanted: i32,
    ) -> Result<u16, Failure> {
        let holder = (component.to_owned(), trigger.to_owned());
        if let Some(port) = self.given.get(&holder) {
            return Ok(*port);
        }
        let own = u16::try_from(wanted)
            .ok()
            .filter(|port| *port >= PRIVILEGED);
        let last = self.first.saturating_add(ATTEMPTS);
        let port = own
            .into_iter()
            .chain(self.first..=last)
            .find(|port| !self.given.values().any(|given| given == port) && is_free(*port))
            .ok_or_else(|| {
                Failure::unavailable(
                    format!(
                        "every port from {} to {last} on 127.0.0.1 is taken",
                        self.first
                    ),
                    "name another first port with --port",
                )
            })?;
        self.given.insert(holder, port);
        Ok(port)
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_privileged_port_becomes_the_first_free_one_and_stays_with_its_trigger() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let first = taken.local_addr().unwrap().port();
        let mut ports = Ports::new(first);
        let web = ports.of("default/a", "web", 80).unwrap();
        assert!(web > first, "the first is taken");
        assert_eq!(ports.of("default/a", "web", 80).unwrap(), web);
        assert_ne!(ports.of("default/b", "web", 80).unwrap(), web);
    }

    #[test]
    fn a_trigger_keeps_a_port_of_its_own_that_is_free() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut ports = Ports::new(8080);
        assert_eq!(ports.of("default/a", "web", i32::from(free)).unwrap(), free);
    }
}
