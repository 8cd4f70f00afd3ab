//! Machine code in a sealed memory-backed file.
//!
//! Mapped code must never change after it was checked, whoever else has the file open, so
//! it lives in a memfd whose seals the kernel enforces. Must not be made from anything but
//! this node's own compilation. `node-agent` seals in `control` and maps in the `worker`.

use crate::engine::EngineClass;
use crate::error::CodeError;
use artifact::VerifiedComponent;
use rustix::fs::{MemfdFlags, SealFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use wasmtime::Engine;

/// Bytes of machine code, at most. The largest known guests (Python) make 32 MiB.
pub const MACHINE_CODE_MAX: usize = 128 << 20;

/// Without any one of these the file could still change.
const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

/// Machine code that can no longer change.
#[derive(Debug)]
pub struct Code {
    class: EngineClass,
    fd: OwnedFd,
}

impl Code {
    /// Copies machine code, compiled on this node from `verified`, into sealed memory.
    ///
    /// # Errors
    /// When it is too large, or the kernel gives no memory for it.
    pub fn seal(
        verified: &VerifiedComponent,
        class: EngineClass,
        machine_code: &[u8],
    ) -> Result<Code, CodeError> {
        // Nothing of it is needed but that it exists: no code without a passed check.
        let VerifiedComponent { .. } = verified;
        if machine_code.len() > MACHINE_CODE_MAX {
            return Err(CodeError::TooLarge {
                bytes: machine_code.len(),
            });
        }
        let failed = |doing| move |source: io::Error| CodeError::Memory { doing, source };
        let flags = MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let fd = rustix::fs::memfd_create("machine-code", flags)
            .map_err(|errno| failed("made")(errno.into()))?;
        let mut file = File::from(fd);
        file.write_all(machine_code).map_err(failed("written"))?;
        let fd = OwnedFd::from(file);
        rustix::fs::fcntl_add_seals(&fd, SEALS).map_err(|errno| failed("sealed")(errno.into()))?;
        Ok(Code { class, fd })
    }

    /// Takes a file that another process of this agent sealed, after looking at its seals.
    ///
    /// # Errors
    /// When it is not sealed.
    pub fn received(class: EngineClass, fd: OwnedFd) -> Result<Code, CodeError> {
        let seals = rustix::fs::fcntl_get_seals(&fd).map_err(|errno| CodeError::Memory {
            doing: "looked at",
            source: errno.into(),
        })?;
        if seals.contains(SEALS) {
            return Ok(Code { class, fd });
        }
        Err(CodeError::Unsealed {
            missing: format!("{:?}", SEALS.difference(seals)),
        })
    }

    /// The engine class it was compiled for.
    #[must_use]
    pub fn class(&self) -> EngineClass {
        self.class
    }

    /// Maps the code into this process.
    pub(crate) fn map(&self, engine: &Engine) -> wasmtime::Result<wasmtime::component::Component> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        // SAFETY: the file must be unmodified output of wasmtime and must not change while it
        // is mapped. It can not change: a `Code` exists only with all four seals set, which
        // the kernel neither lifts nor lets anyone write past. That it is honest output rests
        // on its maker: `seal` asks for proof of verification and is called with what this
        // node's compiler process returned; `received` takes it from `control` over a socket
        // that no guest has. A file for another version or other flags is refused by wasmtime.
        #[expect(
            unsafe_code,
            reason = "mapping machine code is the one thing this file is for"
        )]
        unsafe {
            wasmtime::component::Component::deserialize_file(engine, path)
        }
    }
}

impl AsFd for Code {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
