//! Executables of the platform, as one component may start them.
//!
//! Judges each start and signal with `capability::Effective`, bounds what is passed on, and
//! sends what passes to a spawner that the embedder gave. Starts nothing itself: a process
//! beside the guests could reach everything that they cannot. `order` is the way to whoever
//! starts, `child` what a guest holds, `p2` what it sees.

mod child;
mod order;
mod p2;

pub use order::{Exit, NotStarted, ProcessOrder, Signal, Spawner};
pub(crate) use p2::link;

use crate::caller::Caller;
use crate::capability::audit::{Audit, Capability};
use crate::capability::network::{Place, Places};
use capability::{Effective, GuestPath, Rule};
use child::{Child, Output};
use order::Wish;
use rustix::fs::{OFlags, fcntl_setfl};
use std::io::pipe;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// The interface that links when an executable is granted.
pub(crate) const INTERFACE: &str = "lighterman:ext-process/";
/// Children that a component has at once, on one node: about half of what a spawner of the usual
/// size has room for, so that one component never has all of it.
const CHILDREN: u32 = 4;
/// Arguments, and variables, of one child.
const WORDS: usize = 64;
/// Bytes of all arguments and variables of one child together.
const WORDS_SIZE: usize = 64 * 1024;
/// What a child may read: what a pipe holds without a reader.
const INPUT: usize = 64 * 1024;
/// How long a start may take before the guest hears that there was none.
const START: Duration = Duration::from_secs(10);

/// The executables of one component.
#[derive(Debug)]
pub(crate) struct Processes {
    spawner: Option<Spawner>,
    effective: Arc<Effective>,
    audit: Arc<Audit>,
    children: Places,
}

/// What a guest wants started.
pub(super) struct Start {
    pub(super) executable: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) input: Vec<u8>,
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    AccessDenied,
    InvalidArgument,
    LimitExceeded,
    Ended,
    Unavailable,
}

impl Processes {
    pub(crate) fn new(
        spawner: Option<&Spawner>,
        effective: &Arc<Effective>,
        audit: &Arc<Audit>,
    ) -> Arc<Processes> {
        Arc::new(Processes {
            spawner: spawner.cloned(),
            effective: Arc::clone(effective),
            audit: Arc::clone(audit),
            children: Places::new(CHILDREN),
        })
    }

    /// The same with other rights. Children that run go on.
    pub(crate) fn with_rights(&self, effective: &Arc<Effective>) -> Arc<Processes> {
        Arc::new(Processes {
            spawner: self.spawner.clone(),
            effective: Arc::clone(effective),
            audit: Arc::clone(&self.audit),
            children: self.children.clone(),
        })
    }

    pub(super) async fn spawn(
        &self,
        start: Start,
        caller: Option<&Arc<Caller>>,
    ) -> Result<Child, Failure> {
        let note = |rule: Rule| {
            let object = &start.executable;
            self.audit.note(Capability::Spawn, object, rule, caller);
        };
        let (executable, place) = self.admit(&start).map_err(|(rule, failure)| {
            note(rule);
            failure
        })?;
        let child = self.begin(&start, executable, place).await;
        note(match child {
            Ok(_) => Rule::Granted,
            Err(Failure::LimitExceeded) => Rule::LimitExceeded,
            Err(_) => Rule::SpawnerFailed,
        });
        child
    }

    /// Judges a start, and takes a place for it.
    fn admit(&self, start: &Start) -> Result<(GuestPath, Place), (Rule, Failure)> {
        let malformed = (Rule::Malformed, Failure::InvalidArgument);
        // Two spellings of one path would be two things to whoever reads the record.
        let executable = match start.executable.parse::<GuestPath>() {
            Ok(path) if path.as_str() == start.executable => path,
            _ => return Err(malformed),
        };
        self.effective
            .spawn(&executable)
            .map_err(|rule| (rule, Failure::AccessDenied))?;
        if !start.is_bounded() {
            return Err(malformed);
        }
        let place = self.children.try_take();
        let place = place.ok_or((Rule::LimitExceeded, Failure::LimitExceeded))?;
        Ok((executable, place))
    }

    async fn begin(
        &self,
        start: &Start,
        executable: GuestPath,
        place: Place,
    ) -> Result<Child, Failure> {
        let unavailable = |_: std::io::Error| Failure::Unavailable;
        let stdin = filled(&start.input).map_err(unavailable)?;
        let (stdout, writes_stdout) = output().map_err(unavailable)?;
        let (stderr, writes_stderr) = output().map_err(unavailable)?;
        let wish = Wish {
            executable: executable.clone(),
            arguments: start.arguments.clone(),
            environment: start.environment.clone(),
            stdin,
            stdout: writes_stdout,
            stderr: writes_stderr,
        };
        let spawner = self.spawner.as_ref().ok_or(Failure::Unavailable)?;
        let mut ordered = spawner.order(wish).ok_or(Failure::Unavailable)?;
        match timeout(START, &mut ordered.started).await {
            Ok(Ok(Ok(()))) => Ok(Child::new(executable, ordered, stdout, stderr, place)),
            Ok(Ok(Err(NotStarted::NoRoom))) => Err(Failure::LimitExceeded),
            // What is started all the same is killed, for nobody holds its signals.
            Ok(Ok(Err(NotStarted::Failed)) | Err(_)) | Err(_) => Err(Failure::Unavailable),
        }
    }

    pub(super) fn signal(
        &self,
        child: &mut Child,
        signal: Signal,
        caller: Option<&Arc<Caller>>,
    ) -> Result<(), Failure> {
        let object = format!("{} {}", signal.name(), child.executable());
        let allowed = self.effective.signal();
        let rule = allowed.clone().err().unwrap_or(Rule::Granted);
        self.audit.note(Capability::Signal, &object, rule, caller);
        allowed.map_err(|_| Failure::AccessDenied)?;
        if child.try_wait().is_some() {
            return Err(Failure::Ended);
        }
        match child.signal(signal) {
            true => Ok(()),
            false => Err(Failure::Unavailable),
        }
    }
}

impl Start {
    /// Whether all of it can be passed on.
    fn is_bounded(&self) -> bool {
        let Start {
            executable: _,
            arguments,
            environment,
            input,
        } = self;
        let words = arguments
            .iter()
            .chain(environment.iter().flat_map(|(name, value)| [name, value]));
        let size: usize = words.clone().map(String::len).sum();
        arguments.len() <= WORDS
            && environment.len() <= WORDS
            && size <= WORDS_SIZE
            && input.len() <= INPUT
            // A system call would cut a word off there.
            && words.clone().all(|word| !word.contains('\0'))
            && environment.iter().all(|(name, _)| is_name(name))
    }
}

/// Whether a variable may have this name. Those of the loader would decide what code runs.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with("LD_")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A pipe that holds `input` and nothing else, for whoever reads it.
fn filled(input: &[u8]) -> std::io::Result<OwnedFd> {
    let (reader, writer) = pipe()?;
    if !input.is_empty() {
        // Where the kernel is short of pages for pipes it holds less, and must not hold us up.
        fcntl_setfl(&writer, OFlags::NONBLOCK)?;
        if rustix::io::write(&writer, input)? < input.len() {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
    }
    Ok(reader.into())
}

/// The reading end of a pipe, and what writes into it.
fn output() -> std::io::Result<(Output, OwnedFd)> {
    let (reader, writer) = pipe()?;
    Ok((Output::new(reader.into())?, writer.into()))
}
