//! Key files: cosign's formats on disk, and the password that opens them.
//!
//! A private key never leaves this machine and is never printed. Called by `keygen`,
//! `push --sign`, `sign` and by the development key of `run`.

use std::io::Write as _;
use std::path::Path;

use artifact::signature::{PublicKey, SigningKey};

use crate::failure::Failure;

/// cosign's variable for the password of a key; an empty one is a password too.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// Reads a private key, encrypted by cosign or plain.
pub(crate) fn read_private(file: &Path) -> Result<SigningKey, Failure> {
    let pem = std::fs::read_to_string(file).map_err(|error| {
        Failure::unavailable(
            format!("cannot read the key {}: {error}", file.display()),
            "`lighterman keygen` makes one",
        )
    })?;
    // Without the variable the key may still be one without a password.
    let password = std::env::var(PASSWORD).unwrap_or_default();
    SigningKey::from_pem(&pem, password.as_bytes()).map_err(|error| unusable(file, &error))
}

/// Reads a public key.
pub(crate) fn read_public(file: &Path) -> Result<PublicKey, Failure> {
    let pem = std::fs::read_to_string(file)
        .map_err(|error| Failure::file(file, "read the key", &error))?;
    PublicKey::from_pem(&pem).map_err(|error| unusable(file, &error))
}

/// Writes a private key, readable by its owner only, and the public one beside it.
/// Never replaces a file: a lost private key cannot be made again.
pub(crate) fn write(
    key: &SigningKey,
    password: &str,
    private: &Path,
    public: &Path,
) -> Result<(), Failure> {
    for file in [private, public] {
        if file.exists() {
            return Err(Failure::unavailable(
                format!("{} exists already", file.display()),
                "choose another name, or move the old key away first",
            ));
        }
    }
    let pem = key
        .to_cosign_pem(password.as_bytes())
        .map_err(|error| unusable(private, &error))?;
    create(private, 0o600, pem.as_bytes())
        .map_err(|error| Failure::file(private, "write", &error))?;
    create(public, 0o644, key.public_key().to_pem().as_bytes())
        .map_err(|error| Failure::file(public, "write", &error))
}

/// The password for a new key. It has to be given, if only as nothing, so that nobody
/// writes an unprotected key by oversight.
pub(crate) fn password() -> Result<String, Failure> {
    std::env::var(PASSWORD).map_err(|_| {
        Failure::usage(
            format!("{PASSWORD} is not set, and the private key is to be encrypted with it"),
            format!("set it to a password; for a key without one, set it to nothing: {PASSWORD}= lighterman keygen"),
        )
    })
}

fn unusable(file: &Path, error: &artifact::signature::KeyError) -> Failure {
    Failure::usage(format!("{}: {error}", file.display()), "")
}

fn create(file: &Path, mode: u32, content: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    options.open(file)?.write_all(content)
}
