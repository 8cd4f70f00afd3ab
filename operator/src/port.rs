//! Which port belongs to which trigger, cluster-wide.
//!
//! Pure: the time comes in as an argument, the ConfigMap `lighterman-ports` as
//! a map of strings. `component::apply` persists the ledger before a placement
//! names a new port. A freed port is not given away for `QUARANTINE`, because
//! kube-proxies, ingress pools and open connections still aim at it: handed on
//! at once, one tenant's requests would reach another (security note 8).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::Timestamp;

use crate::component::Key;

/// How long a freed port rests: longer than proxies and pools keep an address.
pub const QUARANTINE: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// Name of the ConfigMap that keeps the ledger.
pub const CONFIG_MAP: &str = crds::names::PORTS_CONFIG_MAP;

/// The ports the operator may allocate, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange(RangeInclusive<u16>);

/// A trigger of a component: what a port is given to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The component.
    pub component: Key,
    /// Its uid: a component made anew under the same name is another tenant.
    pub uid: String,
    /// The trigger's name.
    pub trigger: String,
}

/// All ports: who holds them, and when the free ones became free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    range: PortRange,
    held: BTreeMap<u16, Holder>,
    by_holder: BTreeMap<Holder, u16>,
    freed: BTreeMap<u16, Timestamp>,
    /// Ports of the range that were never used, or so long ago that nobody knows.
    fresh: BTreeSet<u16>,
}

/// No port is left that is neither held nor in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "all ports of {range} are in use ({held}) or rest after use ({resting}); widen --port-range or remove components"
)]
pub struct NoPortFree {
    /// The range that is exhausted.
    pub range: PortRange,
    /// How many are held.
    pub held: usize,
    /// How many are in quarantine.
    pub resting: usize,
}

/// A `--port-range` that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a port range: give two ports from 1024 to 32767 as FIRST-LAST, for example 20000-29999"
)]
pub struct InvalidRange(String);

impl PortRange {
    /// Lowest port an unprivileged agent binds.
    const LOWEST: u16 = 1024;
    /// Linux gives ports above this to outgoing connections, which would
    /// collide with a listener by chance.
    const HIGHEST: u16 = 32_767;

    /// The ports in ascending order.
    pub fn iter(&self) -> RangeInclusive<u16> {
        self.0.clone()
    }

    /// Whether `port` may be allocated.
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRange(text.to_owned());
        let (first, last) = text.split_once('-').ok_or_else(invalid)?;
        let (first, last): (u16, u16) = (
            first.parse().map_err(|_| invalid())?,
            last.parse().map_err(|_| invalid())?,
        );
        if first < Self::LOWEST || last > Self::HIGHEST || first > last {
            return Err(invalid());
        }
        Ok(Self(first..=last))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.start(), self.0.end())
    }
}

impl Ledger {
    /// A ledger in which nothing is held and nothing rests.
    pub fn new(range: PortRange) -> Self {
        let fresh = range.iter().collect();
        Self {
            range,
            held: BTreeMap::new(),
            by_holder: BTreeMap::new(),
            freed: BTreeMap::new(),
            fresh,
        }
    }

    /// The ledger as a new leader finds it: `claims` are what placements and
    /// statuses name, `data` is the ConfigMap. A port that was held and that
    /// nobody claims any more was freed while nobody looked, so it rests from
    /// now. Of two claims to one port the first in order wins; a claim outside
    /// the range is kept, since traffic flows there.
    pub fn rebuild(
        range: PortRange,
        claims: impl IntoIterator<Item = (Holder, u16)>,
        data: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Self {
        let mut ledger = Self::new(range);
        let mut claims: Vec<(Holder, u16)> = claims.into_iter().collect();
        claims.sort();
        for (holder, port) in claims {
            ledger.hold(holder, port);
        }
        for (port, entry) in data {
            let Ok(port) = port.parse::<u16>() else {
                continue;
            };
            if ledger.held.contains_key(&port) {
                continue;
            }
            let freed = entry
                .strip_prefix("freed ")
                .and_then(|time| time.parse().ok())
                .unwrap_or(now);
            ledger.fresh.remove(&port);
            ledger.freed.insert(port, freed);
        }
        ledger
    }

    /// The port of `holder`, allocated if it has none: one never used before,
    /// else the one that was freed longest ago and has rested.
    ///
    /// # Errors
    /// When every port is held or resting.
    pub fn allocate(&mut self, holder: &Holder, now: Timestamp) -> Result<u16, NoPortFree> {
        if let Some(port) = self.by_holder.get(holder) {
            return Ok(*port);
        }
        let port = self.fresh.first().copied().or_else(|| {
            self.freed
                .iter()
                .filter(|(port, freed)| self.range.contains(**port) && has_rested(**freed, now))
                .min_by_key(|(port, freed)| (**freed, **port))
                .map(|(port, _)| *port)
        });
        let port = port.ok_or_else(|| NoPortFree {
            range: self.range.clone(),
            held: self.held.len(),
            resting: self.freed.len(),
        })?;
        self.hold(holder.clone(), port);
        Ok(port)
    }

    /// Frees every port that `keep` does not want to keep; they rest from `now`.
    /// Says whether anything was freed.
    pub fn retain(&mut self, now: Timestamp, keep: impl Fn(&Holder) -> bool) -> bool {
        let gone: Vec<(u16, Holder)> = self
            .held
            .iter()
            .filter(|(_, holder)| !keep(holder))
            .map(|(port, holder)| (*port, holder.clone()))
            .collect();
        for (port, holder) in &gone {
            self.held.remove(port);
            self.by_holder.remove(holder);
            self.freed.insert(*port, now);
        }
        !gone.is_empty()
    }

    /// The port `holder` has.
    pub fn port(&self, holder: &Holder) -> Option<u16> {
        self.by_holder.get(holder).copied()
    }

    /// How many ports are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// What the ConfigMap has to say: `held`, or `freed` with the time. Who
    /// holds a port is in the placements; ten thousand names would not fit.
    pub fn data(&self, now: Timestamp) -> BTreeMap<String, String> {
        let held = self
            .held
            .keys()
            .map(|port| (port.to_string(), "held".to_owned()));
        let resting = self
            .freed
            .iter()
            .filter(|(_, freed)| !has_rested(**freed, now));
        held.chain(resting.map(|(port, freed)| (port.to_string(), format!("freed {freed}"))))
            .collect()
    }

    fn hold(&mut self, holder: Holder, port: u16) {
        if self.held.contains_key(&port) || self.by_holder.contains_key(&holder) {
            return;
        }
        self.freed.remove(&port);
        self.fresh.remove(&port);
        self.held.insert(port, holder.clone());
        self.by_holder.insert(holder, port);
    }
}

/// A time in the future (another node's clock) counts as just now.
fn has_rested(freed: Timestamp, now: Timestamp) -> bool {
    std::time::Duration::try_from(now.duration_since(freed))
        .is_ok_and(|rested| rested >= QUARANTINE)
}
