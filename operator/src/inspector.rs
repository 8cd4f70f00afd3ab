//! Hostile bytes are read first by a process that may die of them.
//!
//! The operator reads what every tenant pushes, for the whole cluster: an artifact
//! that takes all memory, or finds a fault in a parser, would end every replica over
//! and over. So the parsers run before in a child with little memory, little time and
//! nothing else; what ends the child is refused, for the component that asked alone.
//! The child's verdict counts for nothing: whoever comes through is judged as ever.
//! Called by `resolver` after a pull.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use artifact::limits::{BUNDLE_MAX, BUNDLES_MAX, CONFIG_MAX, MANIFEST_MAX, WASM_MAX};
use artifact::root::Roots;
use artifact::signature::SigningKey;
use artifact::trust::{Policy, Scope, Trust};
use artifact::{Digest, Parcel};
use bytes::Bytes;
use confine::Budget;
use crds::Reason;
use k8s_openapi::jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::Semaphore;

/// The argument that starts the child.
pub const ROLE: &str = "inspect";

/// What the child may use. With the operator itself it stays below the memory of the
/// container, or the kernel would end both.
const BUDGET: Budget = Budget {
    address_space: 300 << 20,
    cpu_seconds: 20,
    file_size: 0,
    nice: 10,
};
/// The longest that a child may take; one that waits for a busy machine is not at fault before.
const WALL_TIME: Duration = Duration::from_secs(60);
/// The exit status of a child that could not confine itself.
const UNCONFINED: u8 = 3;
/// Bytes of the length before each part.
const LENGTH: usize = 8;

/// Starts children, one at a time; cheap to clone.
#[derive(Debug, Clone)]
pub struct Inspector {
    program: PathBuf,
    arguments: Vec<String>,
    turn: Arc<Semaphore>,
}

/// Why a parcel is not looked at in this process.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The child did not survive it.
    #[error(
        "reading the image took more than {} MiB of memory or {} s, or ended the process that read it ({how}): build the component again with a current toolchain, or make it smaller",
        BUDGET.address_space >> 20,
        BUDGET.cpu_seconds
    )]
    Fatal {
        /// How the child ended.
        how: String,
    },
    /// There was no child; the image is not at fault.
    #[error("the image could not be inspected, because no process could be started for it: {0}")]
    Unavailable(#[source] io::Error),
}

impl InspectError {
    /// The reason this is reported under.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Fatal { .. } => Reason::InvalidComponent,
            Self::Unavailable(_) => Reason::HostFault,
        }
    }

    /// Whether the image is at fault.
    pub fn is_verdict(&self) -> bool {
        matches!(self, Self::Fatal { .. })
    }
}

impl Inspector {
    /// With `program`, started with `arguments`, for a child.
    pub fn new(program: PathBuf, arguments: Vec<String>) -> Self {
        Self {
            program,
            arguments,
            turn: Arc::new(Semaphore::new(1)),
        }
    }

    /// With this very program.
    ///
    /// # Errors
    /// When the system does not say where this program is.
    pub fn of_this_program() -> io::Result<Self> {
        Ok(Self::new(std::env::current_exe()?, vec![ROLE.to_owned()]))
    }

    /// Lets a child read every part of a parcel.
    ///
    /// # Errors
    /// `InspectError`; the parcel must not be read in this process then.
    pub async fn inspect(&self, parcel: &Parcel) -> Result<(), InspectError> {
        // Never closed; were it, going on would be right.
        let _turn = self.turn.acquire().await.ok();
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(InspectError::Unavailable)?;
        let input = child.stdin.take();
        let parts: Vec<Bytes> = parts(parcel).cloned().collect();
        let ended = async {
            if let Some(mut input) = input {
                for part in &parts {
                    // A child that has ended says by its status why it reads no more.
                    let length = (part.len() as u64).to_be_bytes();
                    if input.write_all(&length).await.is_err()
                        || input.write_all(part).await.is_err()
                    {
                        break;
                    }
                }
            }
            child.wait().await
        };
        match tokio::time::timeout(WALL_TIME, ended).await {
            Ok(Ok(status)) => judge(status),
            Ok(Err(error)) => Err(InspectError::Unavailable(error)),
            Err(_) => Err(InspectError::Fatal {
                how: format!("no end within {} s", WALL_TIME.as_secs()),
            }),
        }
    }
}

fn judge(status: ExitStatus) -> Result<(), InspectError> {
    if status.success() {
        return Ok(());
    }
    if status.code() == Some(i32::from(UNCONFINED)) {
        let error = io::Error::other("the kernel does not let it confine itself");
        return Err(InspectError::Unavailable(error));
    }
    Err(InspectError::Fatal {
        how: status.to_string(),
    })
}

/// The child: confines itself, then reads all that judging reads. `main` calls it before
/// anything else, so that no thread, socket or file of another part exists.
pub fn main() -> ExitCode {
    if let Err(error) = confine::computation(BUDGET) {
        // There is nobody to tell but the status.
        let _ = writeln!(io::stderr(), "{error}");
        return ExitCode::from(UNCONFINED);
    }
    match receive(&mut io::stdin().lock()) {
        Ok(parcel) => read_all(&parcel),
        // More or less than a parcel: the operator has judged sizes already, so it has ended.
        Err(_) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Reads the component, then judges as nobody, to no end but to have read everything: manifest,
/// signatures and certificates.
fn read_all(parcel: &Parcel) {
    let _ = artifact::component::inspect(&parcel.layer);
    let Some((policy, image)) = nobody() else {
        return;
    };
    let labels = std::collections::BTreeMap::new();
    let scope = Scope {
        image: &image,
        namespace: "inspector",
        labels: &labels,
    };
    let trust = Trust {
        policies: &[policy],
        roots: &Roots::default(),
        now: Timestamp::now(),
    };
    let _ = artifact::judge(&scope, &Digest::of(&parcel.manifest), parcel, &trust);
}

/// An image, and a policy for it with a key that has signed nothing.
fn nobody() -> Option<(Policy, artifact::ImageReference)> {
    let key = SigningKey::generate().ok()?.public_key().to_pem();
    let spec = serde_json::json!({
        "images": [{"glob": "inspector.invalid/**"}],
        "authorities": [{"name": "nobody", "key": {"data": key}, "ctlog": "Ignore"}],
    });
    let policy = Policy::parse("inspector", &spec).ok()?;
    Some((policy, "inspector.invalid/image:1".parse().ok()?))
}

/// The parts in the order in which they are sent.
fn parts(parcel: &Parcel) -> impl Iterator<Item = &Bytes> {
    [&parcel.manifest, &parcel.config, &parcel.layer]
        .into_iter()
        .chain(&parcel.bundles)
}

fn receive(input: &mut impl Read) -> io::Result<Parcel> {
    let mut part = |most: usize| -> io::Result<Option<Bytes>> {
        let mut length = [0; LENGTH];
        match input.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let length = usize::try_from(u64::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(Some(bytes.into()))
    };
    let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let manifest = part(MANIFEST_MAX)?.ok_or_else(missing)?;
    let config = part(CONFIG_MAX)?.ok_or_else(missing)?;
    let layer = part(WASM_MAX)?.ok_or_else(missing)?;
    let mut bundles = Vec::new();
    while let Some(bundle) = part(BUNDLE_MAX)? {
        if bundles.len() == BUNDLES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        bundles.push(bundle);
    }
    Ok(Parcel {
        manifest,
        config,
        layer,
        bundles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_arrives_as_it_was_sent() {
        let parcel = Parcel {
            manifest: Bytes::from_static(b"manifest"),
            config: Bytes::from_static(b""),
            layer: Bytes::from_static(b"layer"),
            bundles: vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")],
        };
        let mut sent = Vec::new();
        for part in parts(&parcel) {
            sent.extend((part.len() as u64).to_be_bytes());
            sent.extend_from_slice(part);
        }
        assert_eq!(receive(&mut sent.as_slice()).unwrap(), parcel);
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_memory_is_taken_for_it() {
        let length = (MANIFEST_MAX as u64 + 1).to_be_bytes();
        assert!(receive(&mut length.as_slice()).is_err());
    }

    #[test]
    fn there_is_a_policy_to_judge_by() {
        assert!(nobody().is_some());
    }
}
