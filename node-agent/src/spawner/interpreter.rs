//! The program that an executable names to load it: what `PT_INTERP` of an ELF file says. It
//! has to be open to the executable, and nothing else that can be executed has.
//!
//! The files are the platform's; still every offset is checked, because nothing here should
//! hang on that. A script names a shell, and no shell has a say: it has none here.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Program headers that are looked through; tools have a dozen.
const HEADERS_MAX: u16 = 128;
/// `PATH_MAX`, with its NUL.
const PATH_MAX: u64 = 4_096;
const PT_INTERP: u32 = 3;

/// The interpreter of a 64-bit little-endian ELF file; none for one that is linked statically,
/// or for another kind of file.
pub(super) fn interpreter(executable: &Path) -> io::Result<Option<PathBuf>> {
    let file = File::open(executable)?;
    let mut head = [0; 64];
    if file.read_at(&mut head, 0)? < head.len() || !head.starts_with(b"\x7fELF\x02\x01") {
        return Ok(None);
    }
    let (Some(start), Some(size), Some(count)) = (
        number(&head, 32, 8),
        number(&head, 54, 2),
        number(&head, 56, 2),
    ) else {
        return Ok(None);
    };
    for index in 0..count.min(HEADERS_MAX.into()) {
        let mut header = [0; 56];
        let at = index.saturating_mul(size).saturating_add(start);
        if file.read_at(&mut header, at)? < header.len() {
            break;
        }
        let kind = number(&header, 0, 4);
        let (Some(offset), Some(length)) = (number(&header, 8, 8), number(&header, 32, 8)) else {
            break;
        };
        if kind == Some(PT_INTERP.into()) && (1..=PATH_MAX).contains(&length) {
            let mut path = vec![0; usize::try_from(length).unwrap_or_default()];
            file.read_exact_at(&mut path, offset)?;
            let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
            return Ok(Some(PathBuf::from(OsStr::from_bytes(path))));
        }
    }
    Ok(None)
}

/// A little-endian number of at most eight bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(size)?)?;
    let value = bytes.iter().rev();
    Some(value.fold(0, |value, byte| (value << 8) | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a test says what it expects by panicking"
    )]

    use super::*;

    #[test]
    fn this_test_names_its_loader_and_a_text_names_nothing() {
        let this = std::env::current_exe().unwrap();
        let named = interpreter(&this).unwrap();
        assert!(named.is_none_or(|path| path.exists()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        assert_eq!(interpreter(&source).unwrap(), None);
    }
}
