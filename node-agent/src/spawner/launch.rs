//! What becomes of a child before it runs: it gives up everything but its three pipes and the
//! files of its own tools, and then becomes the executable. A process of its own, because it
//! has to be done between start and exec, and not in a process with threads.

use std::convert::Infallible;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use confine::{Access, Below, Enforced, Program, Rights};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::interpreter::interpreter;

/// The exit status of a child that never became its executable.
const NOT_STARTED: u8 = 126;
/// Memory of one child, in bytes.
pub const CHILD_MEMORY: u64 = 256 << 20;
/// What one child may use.
const PROGRAM: Program = Program {
    memory: CHILD_MEMORY,
    // Go reserves most of a gigabyte before it has done anything.
    address_space: 8 << 30,
    cpu_seconds: 60,
    file_size: 0,
    open_files: 64,
    threads: 64,
    nice: 5,
};
/// What every child may read besides: what languages ask the system for at their start.
const ALWAYS: [&str; 2] = ["/dev/null", "/dev/urandom"];

/// What is launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The process that asked for it; without it there is nobody to run for.
    pub parent: u32,
    /// What it may read.
    pub files: Vec<PathBuf>,
    /// Its variables.
    pub variables: Vec<(String, String)>,
    /// Its path.
    pub executable: PathBuf,
    /// The arguments behind its path.
    pub arguments: Vec<String>,
}

/// Why there is no child.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The spawner ended meanwhile.
    #[error("what asked for it is gone")]
    Orphaned,
    /// It could not give everything up.
    #[error(transparent)]
    Unconfined(#[from] confine::Error),
    /// The kernel holds no process to its files, so it could read whatever is there.
    #[error("this kernel has no Landlock: nothing is started without it")]
    NoLandlock,
    /// It cannot be executed.
    #[error("it cannot be executed: {0}")]
    Exec(#[from] io::Error),
}

/// The child: becomes the executable, or says why not where its own complaints would be. Called
/// by the binary before anything else, so that nothing of another part exists.
pub fn main(order: &Launch) -> ExitCode {
    let Err(error) = launch(order);
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(NOT_STARTED)
}

/// Becomes the executable. Returns only if that fails.
///
/// # Errors
/// When it cannot be confined or executed; nothing of it has run then.
fn launch(launch: &Launch) -> Result<Infallible, LaunchError> {
    // Killed with the spawner, however that ends.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)?;
    let parent = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(launch.parent) {
        return Err(LaunchError::Orphaned);
    }
    let loader = interpreter(&launch.executable)?;
    let open = |path, rights| Access {
        below: Below::Path(path),
        rights,
    };
    let executables = [Some(launch.executable.as_path()), loader.as_deref()];
    let executables = executables.into_iter().flatten();
    let files = launch.files.iter().map(PathBuf::as_path);
    let files: Vec<Access<'_>> = executables
        .map(|path| open(path, Rights::Execute))
        .chain(files.map(|path| open(path, Rights::Read)))
        .chain(ALWAYS.map(|path| open(Path::new(path), Rights::Read)))
        .collect();
    if confine::program(PROGRAM, &files)? == Enforced::Not {
        return Err(LaunchError::NoLandlock);
    }
    let variables = launch.variables.iter().map(|(name, value)| (name, value));
    let error = Command::new(&launch.executable)
        .args(&launch.arguments)
        .env_clear()
        .envs(variables)
        .exec();
    Err(error.into())
}
