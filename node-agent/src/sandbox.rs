//! What the processes of the agent give up before they touch anything hostile, by
//! [`confine`], and what they keep. Called by the binary before any thread exists.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use confine::{Access, Below, Budget, Connections, Enforced, Rights};

pub use confine::{Error as SandboxError, hide_memory};

/// The most address space of one compile, in bytes. The largest guests of the field (12-18 MB
/// of Python or JavaScript) pass under 512 MiB.
pub const COMPILE_ADDRESS_SPACE: u64 = 1 << 30;
/// The most CPU time of one compile, in seconds. The same guests take eleven.
pub const COMPILE_CPU_SECONDS: u64 = 60;
/// The largest machine code, in bytes.
pub const MACHINE_CODE_MAX: u64 = 128 * 1024 * 1024;
/// How much a compile gives way to requests.
const COMPILE_NICE: i32 = 10;
/// What the worker reads besides volumes: what the kernel says of it (its pages, its share of
/// the processors, its own descriptors, by which it maps code), randomness for libraries that
/// do not find the system call, and who resolves names.
const READ: [&str; 6] = [
    "/proc",
    "/sys",
    "/dev/urandom",
    "/dev/random",
    "/etc/resolv.conf",
    "/etc/hosts",
];

/// A directory above volumes of components.
#[derive(Debug)]
pub struct VolumesAbove {
    /// The directory, by a descriptor that control has handed over: the worker has no path to it.
    pub directory: OwnedFd,
    /// Whether volumes below may be written.
    pub write: bool,
}

/// Confines the compiler of one component: pure computation on two open descriptors.
///
/// # Errors
/// When the kernel refuses; the process has to end then.
pub fn confine_compile() -> Result<Enforced, SandboxError> {
    confine::computation(Budget {
        address_space: COMPILE_ADDRESS_SPACE,
        cpu_seconds: COMPILE_CPU_SECONDS,
        file_size: MACHINE_CODE_MAX,
        nice: COMPILE_NICE,
    })
}

/// Confines the spawner: it writes no file and has no socket but the one it came with, and so do
/// all that it starts.
///
/// # Errors
/// When the kernel refuses; the process has to end then.
pub fn confine_spawner() -> Result<Enforced, SandboxError> {
    confine::starter()
}

/// Confines the worker: it serves sockets and opens volumes that it is handed, maps code that it
/// is handed, and connects to where guests are let; nothing else.
/// To be called before any thread is started, so that all of them are confined.
///
/// # Errors
/// When the kernel refuses; the process has to end then.
pub fn confine_worker(volumes: &[VolumesAbove]) -> Result<Enforced, SandboxError> {
    let read = READ.map(|path| Access {
        below: Below::Path(Path::new(path)),
        rights: Rights::Read,
    });
    let volumes = volumes.iter().map(|above| Access {
        below: Below::Directory(above.directory.as_fd()),
        rights: if above.write {
            Rights::Write
        } else {
            Rights::Read
        },
    });
    let files: Vec<Access<'_>> = read.into_iter().chain(volumes).collect();
    confine::server(&files, Connections::Open)
}
