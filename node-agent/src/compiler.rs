//! The compiling side. [`serve`] answers compile orders one at a time, each with a fresh child
//! process; [`main`] is that child. Machine code is native code of the agent, so it is made
//! where there is no network, no token, no file and little time. Knows nothing of trust:
//! control sends only what it verified.

use std::io::{self, Write};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use crds::Reason;
use runtime::EngineClass;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::config::Program;
use crate::memfd::{Draft, Sealed, read_bounded};
use crate::message::{CompileOrder, Compiled, Envelope, Refused};
use crate::sandbox::{self, MACHINE_CODE_MAX};
use crate::text::printable;
use crate::transport::Link;

/// The longest a compile may take; a child that waits for a busy machine is not at fault
/// before this.
pub const WALL_TIME: Duration = Duration::from_secs(120);
/// What the child may say about a failure.
const COMPLAINT_MAX: u64 = 4 * 1024;
/// The exit status of a child that found fault with the component, not with itself.
const REFUSED: u8 = 2;
/// The exit status of a child that could not confine itself.
const UNCONFINED: u8 = 3;

/// A component on the way to its child: the engine class on a line of its own, then the bytes.
/// One stream, because a confined child has only one.
#[derive(Debug)]
pub struct Input(Sealed);

/// The child: reads an [`Input`] from its standard input, writes machine code to its standard
/// output, complaints to its standard error. Called by the binary before anything else, so
/// that no thread, socket or file of another part exists.
pub fn main() -> ExitCode {
    let fail = |status: u8, error: &dyn std::error::Error| {
        let _ = write!(io::stderr(), "{error}");
        ExitCode::from(status)
    };
    if let Err(error) = sandbox::confine_compile() {
        return fail(UNCONFINED, &error);
    }
    let most = artifact::limits::WASM_MAX as u64 + Input::HEAD_MAX;
    let input = match read_bounded(io::stdin().lock(), most) {
        Ok(input) => input,
        Err(error) => return fail(REFUSED, &error),
    };
    let Some((class, wasm)) = Input::split(&input) else {
        return fail(REFUSED, &io::Error::other("the order names no engine"));
    };
    match runtime::compile::compile(class, wasm) {
        Ok(code) => match io::stdout().lock().write_all(&code) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(REFUSED, &error),
        },
        Err(error) => fail(REFUSED, &error),
    }
}

/// Answers compile orders until the link is gone. One at a time: a compile takes a core and
/// hundreds of megabytes.
pub async fn serve(mut link: Link<Compiled, CompileOrder>, program: Program) {
    while let Some(Envelope {
        message: CompileOrder { id },
        fds,
    }) = link.incoming.recv().await
    {
        let result = match fds.into_iter().next().map(Sealed::received) {
            Some(Ok(input)) => compile(&program, Input(input)).await,
            Some(Err(error)) => Err(failed(Reason::CompileFailed, error.to_string())),
            None => Err(failed(
                Reason::CompileFailed,
                "no component came with the order".to_owned(),
            )),
        };
        let answer = match result {
            Ok(code) => Envelope {
                message: Compiled { id, refused: None },
                fds: vec![code.into_fd()],
            },
            Err(refused) => Compiled {
                id,
                refused: Some(refused),
            }
            .into(),
        };
        if link.outgoing.send(answer).await.is_err() {
            break;
        }
    }
}

/// Compiles one component in a child of its own.
pub async fn compile(program: &Program, input: Input) -> Result<Sealed, Refused> {
    compile_within(program, input, WALL_TIME).await
}

async fn compile_within(
    program: &Program,
    input: Input,
    wall_time: Duration,
) -> Result<Sealed, Refused> {
    let own = |error: io::Error| {
        failed(
            Reason::CompilerUnavailable,
            format!("the compiler could not be started: {error}"),
        )
    };
    let output = Draft::new("machine-code").map_err(own)?;
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(input.0.into_stream().map_err(own)?))
        .stdout(Stdio::from(output.try_clone().map_err(own)?))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(own)?;
    let complaints = child.stderr.take();
    let ended = async {
        // Read to the end first: a child that fills the pipe would never end.
        let mut complaint = Vec::new();
        if let Some(stderr) = complaints {
            let _ = stderr.take(COMPLAINT_MAX).read_to_end(&mut complaint).await;
        }
        (child.wait().await, complaint)
    };
    let Ok((status, complaint)) = tokio::time::timeout(wall_time, ended).await else {
        let _ = child.kill().await;
        return Err(failed(
            Reason::CompileTimeout,
            format!(
                "the compilation did not end within {} s: make the component smaller",
                wall_time.as_secs()
            ),
        ));
    };
    judge(status.map_err(own)?, &complaint)?;
    let length = output.length().map_err(own)?;
    if length == 0 || length > MACHINE_CODE_MAX {
        return Err(too_large());
    }
    output.seal().map_err(own)
}

/// What the end of a child says. A limit ends it by a signal, or lets an allocation fail.
fn judge(status: ExitStatus, complaint: &[u8]) -> Result<(), Refused> {
    use std::os::unix::process::ExitStatusExt;
    let complaint = printable(&String::from_utf8_lossy(complaint));
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(i32::from(REFUSED)) {
        return Err(failed(Reason::CompileFailed, complaint));
    }
    if status.code() == Some(i32::from(UNCONFINED)) {
        return Err(failed(Reason::CompilerUnavailable, complaint));
    }
    match status.signal() {
        Some(libc::SIGXCPU) => Err(failed(
            Reason::CompileTimeout,
            format!(
                "the compilation took more than {} s of CPU time: make the component smaller",
                sandbox::COMPILE_CPU_SECONDS
            ),
        )),
        Some(libc::SIGXFSZ) => Err(too_large()),
        Some(libc::SIGABRT | libc::SIGSEGV | libc::SIGBUS | libc::SIGKILL) => Err(failed(
            Reason::CompileMemoryExceeded,
            format!(
                "the compilation took more than {} MiB of memory: make the component smaller",
                sandbox::COMPILE_ADDRESS_SPACE >> 20
            ),
        )),
        _ => Err(failed(
            Reason::CompileFailed,
            format!("the compiler ended with {status}: {complaint}"),
        )),
    }
}

fn too_large() -> Refused {
    failed(
        Reason::MachineCodeTooLarge,
        format!(
            "the machine code is over {} MiB: make the component smaller",
            MACHINE_CODE_MAX >> 20
        ),
    )
}

fn failed(reason: Reason, message: String) -> Refused {
    Refused { reason, message }
}

impl Input {
    /// The longest first line.
    const HEAD_MAX: u64 = 64;

    /// What a child needs to compile `wasm` for `class`.
    pub fn new(class: EngineClass, wasm: &[u8]) -> io::Result<Self> {
        let mut draft = Draft::new("component")?;
        writeln!(draft, "{}", class.name())?;
        draft.write_all(wasm)?;
        Ok(Self(draft.seal()?))
    }

    /// For a link to the process that starts the children.
    pub fn into_sealed(self) -> Sealed {
        self.0
    }

    fn split(input: &[u8]) -> Option<(EngineClass, &[u8])> {
        let end = input.iter().position(|byte| *byte == b'\n')?;
        let (class, rest) = input.split_at(end);
        Some((
            EngineClass::from_name(std::str::from_utf8(class).ok()?)?,
            rest.get(1..)?,
        ))
    }
}

#[cfg(test)]
mod tests;
