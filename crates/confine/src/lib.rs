//! What a process gives up before it touches hostile bytes: capabilities, new
//! privileges, files, networks, system calls, resources. Each process does this to
//! itself, before it starts a thread; nothing here can be undone by the process that
//! called it.
//!
//! Called by the agent's worker, compiler and spawner and by the operator's inspector, which
//! say what they still need. Knows nothing of what they do.

mod calls;
mod files;

use std::io;
use std::path::Path;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::SeccompAction;

pub use files::{Access, Below, Connections, Enforced, Rights};

/// Why a process could not give something up. It has to end then: it would be less confined
/// than everybody believes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused.
    #[error("the process could not be confined ({doing}): {source}")]
    Refused {
        /// What was being given up.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The rules for files could not be installed.
    #[error("the rules for files and networks could not be installed: {0}")]
    Files(#[from] landlock::RulesetError),
    /// The filter could not be built for this machine.
    #[error("the system call filter could not be built: {0}")]
    Filter(#[from] seccompiler::BackendError),
    /// The filter could not be installed.
    #[error("the system call filter could not be installed: {0}")]
    Install(#[from] seccompiler::Error),
}

/// What a computation may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Address space, in bytes.
    pub address_space: u64,
    /// CPU time, in seconds.
    pub cpu_seconds: u64,
    /// The largest file it may write, in bytes.
    pub file_size: u64,
    /// How much it gives way to other processes.
    pub nice: i32,
}

/// What a program that is not ours may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Memory of its own, in bytes: what it can write to.
    pub memory: u64,
    /// Address space, in bytes. Languages reserve far more than they use.
    pub address_space: u64,
    /// CPU time, in seconds.
    pub cpu_seconds: u64,
    /// The largest file it may write, in bytes. A pipe is none.
    pub file_size: u64,
    /// Descriptors at once.
    pub open_files: u64,
    /// Threads of its user at once.
    pub threads: u64,
    /// How much it gives way to other processes.
    pub nice: i32,
}

/// Confines a pure computation: from descriptors that are open to descriptors that are open.
///
/// # Errors
/// `Error`; the process has to end then.
pub fn computation(budget: Budget) -> Result<Enforced, Error> {
    limit(Resource::As, budget.address_space)?;
    limit(Resource::Cpu, budget.cpu_seconds)?;
    limit(Resource::Fsize, budget.file_size)?;
    limit(Resource::Core, 0)?;
    rustix::process::nice(budget.nice).map_err(refused("nice"))?;
    drop_privileges()?;
    let enforced = files::restrict(&[], Connections::Closed)?;
    calls::allow(calls::COMPUTATION, denied())?;
    Ok(enforced)
}

/// Confines a server that serves sockets it is handed: files other than `files` are closed to
/// it, it listens nowhere, and it opens sockets of the internet only, if `connections` are open.
///
/// # Errors
/// `Error`; the process has to end then.
pub fn server(files: &[Access<'_>], connections: Connections) -> Result<Enforced, Error> {
    limit(Resource::Core, 0)?;
    drop_privileges()?;
    let enforced = files::restrict(files, connections)?;
    calls::forbid(calls::NEVER, denied())?;
    Ok(enforced)
}

/// Confines a server that starts programs: it writes no file, and neither it nor what it starts
/// has a socket but those that it holds already.
///
/// # Errors
/// `Error`; the process has to end then.
pub fn starter() -> Result<Enforced, Error> {
    limit(Resource::Core, 0)?;
    drop_privileges()?;
    let everything = Access {
        below: Below::Path(Path::new("/")),
        rights: Rights::Execute,
    };
    let enforced = files::restrict(&[everything], Connections::Closed)?;
    calls::forbid_starter(denied())?;
    Ok(enforced)
}

/// Confines this process for a program that it is about to become: one process that reads
/// `files` and its own descriptors, computes, and writes to these. It has no sockets, starts no
/// other process and executes nothing but what `files` let it.
///
/// # Errors
/// `Error`; the process has to end then.
pub fn program(program: Program, files: &[Access<'_>]) -> Result<Enforced, Error> {
    limit(Resource::Data, program.memory)?;
    limit(Resource::As, program.address_space)?;
    limit(Resource::Cpu, program.cpu_seconds)?;
    limit(Resource::Nofile, program.open_files)?;
    limit(Resource::Nproc, program.threads)?;
    limit(Resource::Fsize, program.file_size)?;
    limit(Resource::Core, 0)?;
    rustix::process::nice(program.nice).map_err(refused("nice"))?;
    drop_privileges()?;
    let enforced = files::restrict(files, Connections::Closed)?;
    calls::forbid_program(denied())?;
    Ok(enforced)
}

/// Keeps secrets out of core dumps and out of reach of a debugger of the same user.
///
/// # Errors
/// `Error`; the process has to end then.
pub fn hide_memory() -> Result<(), Error> {
    limit(Resource::Core, 0)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(refused("core dumps"))
}

fn drop_privileges() -> Result<(), Error> {
    set_no_new_privs(true).map_err(refused("new privileges"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(refused("capabilities"))
}

fn limit(resource: Resource, most: u64) -> Result<(), Error> {
    let both = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(resource, both).map_err(refused("resource limits"))
}

fn refused(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |error| Error::Refused {
        doing,
        source: error.into(),
    }
}

/// A denied call fails instead of killing the process: a library that probes for a feature
/// finds it missing and goes on.
fn denied() -> SeccompAction {
    SeccompAction::Errno(libc::EPERM.unsigned_abs())
}
