//! Files without a name, and seals on them: how bytes travel between the three processes
//! so that nobody can change them after they were judged. Knows nothing of what is inside.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// A memory file that is still being written.
#[derive(Debug)]
pub struct Draft(File);

/// A memory file whose content can never change again: the kernel holds the seals.
#[derive(Debug)]
pub struct Sealed {
    fd: OwnedFd,
    length: u64,
}

/// No writer, no growth, no truncation, and no lifting of these seals.
const ALL: SealFlags = SealFlags::WRITE
    .union(SealFlags::GROW)
    .union(SealFlags::SHRINK)
    .union(SealFlags::SEAL);

impl Draft {
    /// An empty memory file; `name` is what `/proc/*/maps` shows.
    pub fn new(name: &str) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let plain = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 do not know NOEXEC_SEAL; the seals below do not depend on it.
        let fd = memfd_create(name, flags).or_else(|_| memfd_create(name, plain))?;
        Ok(Self(File::from(fd)))
    }

    /// Another descriptor of the same file, to give to a child as its output.
    pub fn try_clone(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// The bytes written so far.
    pub fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// Seals the file as it is now. A descriptor that a child still holds cannot write any more.
    pub fn seal(self) -> io::Result<Sealed> {
        fcntl_add_seals(&self.0, ALL)?;
        let length = self.0.metadata()?.len();
        Ok(Sealed {
            fd: self.0.into(),
            length,
        })
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sealed {
    /// A sealed file with these bytes.
    pub fn of(name: &str, bytes: &[u8]) -> io::Result<Self> {
        let mut draft = Draft::new(name)?;
        draft.write_all(bytes)?;
        draft.seal()
    }

    /// Takes a descriptor from another process, if it carries every seal.
    pub fn received(fd: OwnedFd) -> io::Result<Self> {
        if !fcntl_get_seals(&fd)?.contains(ALL) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the memory file is not sealed",
            ));
        }
        let file = File::from(fd);
        let length = file.metadata()?.len();
        Ok(Self {
            fd: file.into(),
            length,
        })
    }

    /// The length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Another descriptor of the same sealed file.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            length: self.length,
        })
    }

    /// The whole content, copied. The caller has checked [`Sealed::length`] against its bound.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        let file = File::from(self.fd.try_clone()?);
        let length = usize::try_from(self.length).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// The descriptor as a standard stream of a child, read from the start.
    pub fn into_stream(self) -> io::Result<OwnedFd> {
        let mut file = File::from(self.fd);
        file.rewind()?;
        Ok(file.into())
    }

    /// Gives up the guarantee of the type, for a process that will check the seals itself.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Reads at most `bound` bytes; one more is an error, so that nothing is cut in silence.
pub fn read_bounded(mut from: impl Read, bound: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.by_ref()
        .take(bound.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bound {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("more than {bound} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_file_cannot_be_written_even_by_a_descriptor_from_before() {
        let mut draft = Draft::new("test").unwrap();
        draft.write_all(b"judged").unwrap();
        let mut early = File::from(draft.try_clone().unwrap());
        let sealed = draft.seal().unwrap();
        assert_eq!(
            early.write(b"forged").unwrap_err().kind(),
            io::ErrorKind::PermissionDenied
        );
        assert_eq!(sealed.bytes().unwrap(), b"judged");
    }

    #[test]
    fn an_unsealed_file_is_not_received() {
        let draft = Draft::new("test").unwrap();
        assert!(Sealed::received(draft.try_clone().unwrap()).is_err());
        let sealed = Sealed::of("test", b"x").unwrap();
        assert_eq!(Sealed::received(sealed.into_fd()).unwrap().length(), 1);
    }

    #[test]
    fn one_byte_over_the_bound_is_an_error() {
        assert_eq!(read_bounded(&b"1234"[..], 4).unwrap(), b"1234");
        assert!(read_bounded(&b"12345"[..], 4).is_err());
    }
}
