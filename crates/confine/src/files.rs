//! Files and networks: Landlock where the kernel has it (Linux 5.13 and later, each
//! version with more), nothing where it has not. Called by the confinements.

use std::os::fd::BorrowedFd;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use super::Error;

/// A file or a directory that stays open to a process.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Where.
    pub below: Below<'a>,
    /// What may be done there.
    pub rights: Rights,
}

/// Where a process keeps its access.
#[derive(Clone, Copy, Debug)]
pub enum Below<'a> {
    /// By its path; one that is not there stays closed.
    Path(&'a Path),
    /// By a descriptor: a directory that this process may have no path to.
    Directory(BorrowedFd<'a>),
}

/// What may be done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Read them and list their directories.
    Read,
    /// Read them, list their directories, and execute them.
    Execute,
    /// Read, and make, write, rename and remove files and directories: no devices, no
    /// sockets, no links, nothing to execute.
    Write,
}

/// Whether a process may begin TCP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// None.
    Closed,
    /// To everywhere: whoever asks for this judges every address itself.
    Open,
}

/// How much of the rules the kernel holds the process to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// All of them.
    Fully,
    /// Those that this kernel knows.
    Partly,
    /// None: what is left is what the other confinements and the container leave.
    Not,
}

/// The newest rules that are asked for; an older kernel holds those that it knows.
const NEWEST: ABI = ABI::V6;

/// Closes every file but those given, listening on TCP, connections unless they stay open,
/// and other processes' signals and abstract sockets.
pub(super) fn restrict(files: &[Access<'_>], connections: Connections) -> Result<Enforced, Error> {
    let network = match connections {
        Connections::Closed => AccessNet::from_all(NEWEST),
        Connections::Open => AccessNet::BindTcp.into(),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(network)?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    for Access { below, rights } in files {
        rules = keep(rules, *below, rights.flags())?;
    }
    Ok(match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

fn keep(
    rules: RulesetCreated,
    below: Below<'_>,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    match below {
        Below::Directory(directory) => rules.add_rule(PathBeneath::new(directory, rights)),
        Below::Path(path) => match PathFd::new(path) {
            // Rights of directories over a file are none, and count as not enforced.
            Ok(found) if !path.is_dir() => {
                let rights = rights & AccessFs::from_file(NEWEST);
                rules.add_rule(PathBeneath::new(found, rights))
            }
            Ok(found) => rules.add_rule(PathBeneath::new(found, rights)),
            Err(_) => Ok(rules),
        },
    }
}

impl Rights {
    fn flags(self) -> BitFlags<AccessFs> {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        match self {
            Self::Read => read,
            Self::Execute => read | AccessFs::Execute,
            Self::Write => {
                read | AccessFs::WriteFile
                    | AccessFs::Truncate
                    | AccessFs::MakeReg
                    | AccessFs::MakeDir
                    | AccessFs::RemoveFile
                    | AccessFs::RemoveDir
                    | AccessFs::Refer
            }
        }
    }
}
