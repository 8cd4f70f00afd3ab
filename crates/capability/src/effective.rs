//! What a component may really do: request and grant and ceilings, all at once.
//!
//! Globs do not intersect to globs, so nothing is computed ahead: every layer is kept and
//! asked at the call, and a use is allowed when all of them allow it. Made by the node agent,
//! asked by the runtime.

use serde::{Deserialize, Serialize};

use crate::ceiling::Ceiling;
use crate::grant::{Grant, MountPoint, VolumeKind};
use crate::host::HostName;
use crate::outbound::{Destination, Ports, Protocol, Reach};
use crate::path::{GuestPath, PathGlob};
use crate::process::ProcessRights;
use crate::request::Request;
use crate::rule::Rule;

/// The three layers of one component. The default allows nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Effective {
    /// What the component asks for: all of these hold together. Empty for a component without
    /// a manifest, which is judged by grant and ceiling alone.
    pub requests: Vec<Request>,
    /// What its object grants.
    pub grant: Grant,
    /// The policies that enforce in its namespace: all of these hold together, and without one
    /// nothing is allowed.
    pub ceilings: Vec<Ceiling>,
}

/// What a guest may do at one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRights {
    /// Open it as a directory on the way to something below, list what has rights there, and
    /// learn its type.
    pub traverse: bool,
    /// Read it, or list it.
    pub read: bool,
    /// Create, change and remove it.
    pub write: bool,
}

/// One of [`PathRights`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// [`PathRights::traverse`].
    Traverse,
    /// [`PathRights::read`].
    Read,
    /// [`PathRights::write`].
    Write,
}

impl Effective {
    /// What the guest may do at a path.
    #[must_use]
    pub fn path(&self, path: &GuestPath) -> PathRights {
        let Some((mount, granted)) = granted_rights(&self.grant, path) else {
            return PathRights::default();
        };
        if self.volume_refused_by(mount).is_some() {
            return PathRights::default();
        }
        let requested = self.requests.iter().map(|request| {
            let files = &request.filesystem;
            rights_by(&files.read, &files.write, path)
        });
        requested.fold(granted, PathRights::and)
    }

    /// The rule that decides about one right at a path: the first layer without it, or
    /// [`Rule::Granted`].
    #[must_use]
    pub fn path_denied_by(&self, path: &GuestPath, right: Right) -> Rule {
        let unrequested = self.requests.iter().any(|request| {
            let files = &request.filesystem;
            !rights_by(&files.read, &files.write, path).has(right)
        });
        if unrequested {
            return Rule::NotRequested;
        }
        let Some((mount, granted)) = granted_rights(&self.grant, path) else {
            return Rule::NotGranted;
        };
        if right == Right::Write && is_read_only(mount.source.kind()) {
            return Rule::ReadOnlyVolume;
        }
        if !granted.has(right) {
            return Rule::NotGranted;
        }
        self.volume_refused_by(mount).unwrap_or(Rule::Granted)
    }

    /// Whether an instance may answer more than one request.
    #[must_use]
    pub fn reuses_instances(&self) -> bool {
        let admits = |ceiling: &Ceiling| ceiling.allow.instance_reuse;
        !self.ceilings.is_empty() && self.ceilings.iter().all(admits)
    }

    /// How far a connection may reach.
    ///
    /// # Errors
    /// The first layer that does not allow it.
    pub fn destination(&self, destination: &Destination) -> Result<Reach, Rule> {
        if !self
            .requests
            .iter()
            .all(|request| request.connects(destination))
        {
            return Err(Rule::NotRequested);
        }
        let granted = match &self.grant {
            Grant::Listed { outbound, .. } => widest(outbound, destination),
            // How far is then for the policies alone to say.
            Grant::Requested { .. } if !self.requests.is_empty() => Some(Reach::Private),
            Grant::Requested { .. } => None,
        };
        let mut reach = granted.ok_or(Rule::NotGranted)?;
        if self.ceilings.is_empty() {
            return Err(Rule::NoCeiling);
        }
        for ceiling in &self.ceilings {
            let admitted = widest(&ceiling.allow.outbound, destination);
            reach = reach.min(admitted.ok_or_else(|| above(ceiling))?);
        }
        Ok(reach)
    }

    /// Whether the name may be looked up: whether any connection to it is allowed. A look-up
    /// reaches its server even when nothing comes of it, so it would carry data out.
    ///
    /// # Errors
    /// The first layer that leaves no connection to it.
    pub fn host_may_resolve(&self, host: &HostName) -> Result<(), Rule> {
        let mut open: Vec<(Protocol, Ports)> = Protocol::ALL
            .into_iter()
            .map(|protocol| (protocol, Ports::ANY))
            .collect();
        for request in &self.requests {
            let hosts = &request.network.hosts;
            let asked = hosts.iter().filter(|entry| entry.host.matches(host));
            let asked: Vec<_> = asked
                .flat_map(|entry| {
                    Protocol::ALL
                        .into_iter()
                        .filter_map(|protocol| Some((protocol, entry.ports_of(protocol)?)))
                })
                .collect();
            open = in_both(&open, &asked).ok_or(Rule::NotRequested)?;
        }
        match &self.grant {
            Grant::Listed { outbound, .. } => {
                open = in_both(&open, &open_ports(outbound, host)).ok_or(Rule::NotGranted)?;
            }
            Grant::Requested { .. } if !self.requests.is_empty() => {}
            Grant::Requested { .. } => return Err(Rule::NotGranted),
        }
        if self.ceilings.is_empty() {
            return Err(Rule::NoCeiling);
        }
        for ceiling in &self.ceilings {
            let admitted = open_ports(&ceiling.allow.outbound, host);
            open = in_both(&open, &admitted).ok_or_else(|| above(ceiling))?;
        }
        Ok(())
    }

    /// Whether the guest may see the environment variable that it is given.
    ///
    /// # Errors
    /// When a manifest does not ask for it.
    pub fn env(&self, name: &str) -> Result<(), Rule> {
        let asked = |request: &Request| request.reads_variable(name);
        match self.requests.iter().all(asked) {
            true => Ok(()),
            false => Err(Rule::NotRequested),
        }
    }

    /// Whether the guest may start this executable.
    ///
    /// # Errors
    /// The first layer that does not allow it.
    pub fn spawn(&self, executable: &GuestPath) -> Result<(), Rule> {
        self.process(
            |request| request.spawns(executable),
            |rights| rights.starts(executable),
        )
    }

    /// Whether the guest may send signals to what it started.
    ///
    /// # Errors
    /// The first layer that does not allow it.
    pub fn signal(&self) -> Result<(), Rule> {
        self.process(|request| request.process.signal, |rights| rights.signal)
    }

    /// The executables that the guest may start.
    #[must_use]
    pub fn executables(&self) -> Vec<&GuestPath> {
        let candidates = match &self.grant {
            Grant::Listed { process, .. } => Some(&process.spawn),
            // All of them hold together, so none starts what the first does not ask for.
            Grant::Requested { .. } => self.requests.first().map(|request| &request.process.spawn),
        };
        candidates
            .into_iter()
            .flatten()
            .filter(|executable| self.spawn(executable).is_ok())
            .collect()
    }

    fn process(
        &self,
        asked: impl Fn(&Request) -> bool,
        allowed: impl Fn(&ProcessRights) -> bool,
    ) -> Result<(), Rule> {
        if !self.requests.iter().all(asked) {
            return Err(Rule::NotRequested);
        }
        let granted = match &self.grant {
            Grant::Listed { process, .. } => allowed(process),
            Grant::Requested { .. } => !self.requests.is_empty(),
        };
        if !granted {
            return Err(Rule::NotGranted);
        }
        if self.ceilings.is_empty() {
            return Err(Rule::NoCeiling);
        }
        let refuses = |ceiling: &&Ceiling| !allowed(&ceiling.allow.process);
        match self.ceilings.iter().find(refuses) {
            Some(ceiling) => Err(above(ceiling)),
            None => Ok(()),
        }
    }

    fn volume_refused_by(&self, mount: &MountPoint) -> Option<Rule> {
        if self.ceilings.is_empty() {
            return Some(Rule::NoCeiling);
        }
        let refuses = |ceiling: &&Ceiling| !ceiling.allow.admits_volume(&mount.source);
        self.ceilings.iter().find(refuses).map(above)
    }
}

impl PathRights {
    /// Whether there is any right at all; without one the guest must not learn that the path
    /// exists.
    #[must_use]
    pub fn any(self) -> bool {
        self.traverse || self.read || self.write
    }

    /// Whether this right is among them.
    #[must_use]
    pub fn has(self, right: Right) -> bool {
        match right {
            Right::Traverse => self.traverse,
            Right::Read => self.read,
            Right::Write => self.write,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            traverse: self.traverse && other.traverse,
            read: self.read && other.read,
            write: self.write && other.write,
        }
    }
}

/// Whether nothing is ever written to volumes of this kind.
pub(crate) fn is_read_only(kind: VolumeKind) -> bool {
    matches!(kind, VolumeKind::ConfigMap | VolumeKind::Secret)
}

fn granted_rights<'a>(grant: &'a Grant, path: &GuestPath) -> Option<(&'a MountPoint, PathRights)> {
    let (mount, mut rights) = match grant {
        Grant::Listed { filesystem, .. } => {
            let within = filesystem
                .iter()
                .filter(|grant| path.is_within(&grant.mount.path));
            // Mounts do not lie within one another; should they, the inner one is what is seen.
            let grant = within.max_by_key(|grant| grant.mount.path.as_str().len())?;
            (&grant.mount, rights_by(&grant.read, &grant.write, path))
        }
        Grant::Requested { mounts } => {
            let within = mounts.iter().filter(|mount| path.is_within(&mount.path));
            let mount = within.max_by_key(|mount| mount.path.as_str().len())?;
            let all = PathRights {
                traverse: true,
                read: true,
                write: true,
            };
            (mount, all)
        }
    };
    rights.write &= !is_read_only(mount.source.kind());
    Some((mount, rights))
}

fn rights_by(read: &[PathGlob], write: &[PathGlob], path: &GuestPath) -> PathRights {
    let matched = |globs: &[PathGlob]| globs.iter().any(|glob| glob.matches(path));
    let (reads, writes) = (matched(read), matched(write));
    let on_the_way = || {
        let mut globs = read.iter().chain(write);
        globs.any(|glob| glob.has_ancestor(path))
    };
    PathRights {
        traverse: reads || writes || on_the_way(),
        read: reads,
        write: writes,
    }
}

fn widest(rules: &[crate::OutboundRule], destination: &Destination) -> Option<Reach> {
    rules
        .iter()
        .filter(|rule| rule.matches(destination))
        .map(|rule| rule.reach)
        .max()
}

fn open_ports(rules: &[crate::OutboundRule], host: &HostName) -> Vec<(Protocol, Ports)> {
    rules
        .iter()
        .filter(|rule| rule.host.matches(host))
        .map(|rule| (rule.protocol, rule.ports))
        .collect()
}

/// What is in both, without what lies within something else of it, so that it stays short;
/// none when nothing is left.
fn in_both(
    some: &[(Protocol, Ports)],
    others: &[(Protocol, Ports)],
) -> Option<Vec<(Protocol, Ports)>> {
    let mut both: Vec<(Protocol, Ports)> = Vec::new();
    for (protocol, ports) in some {
        for (other_protocol, other_ports) in others {
            if protocol != other_protocol {
                continue;
            }
            let Some(common) = ports.intersect(*other_ports) else {
                continue;
            };
            let within =
                |(known, range): &(Protocol, Ports)| known == protocol && range.covers(common);
            if !both.iter().any(within) {
                both.retain(|(known, range)| known != protocol || !common.covers(*range));
                both.push((*protocol, common));
            }
        }
    }
    (!both.is_empty()).then_some(both)
}

fn above(ceiling: &Ceiling) -> Rule {
    Rule::AboveCeiling {
        policy: ceiling.policy.clone(),
    }
}
