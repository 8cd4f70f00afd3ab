//! `lighterman keygen`: a key pair in cosign's format, and the policy that trusts it.
//!
//! Standard output is the policy alone, so that it can go into a file; what else
//! there is to say goes to standard error.

use std::fmt;
use std::path::{Path, PathBuf};

use artifact::signature::SigningKey;
use capability::ImageGlob;
use serde::Serialize;

use crate::args::Keygen;
use crate::failure::Failure;
use crate::key;

/// The key that was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    private_key: PathBuf,
    public_key: PathBuf,
    key_id: String,
    /// YAML of the TrustPolicy.
    policy: String,
}

/// Makes the pair and writes both files.
pub(crate) fn run(args: &Keygen) -> Result<Made, Failure> {
    let images: ImageGlob = args
        .images
        .parse()
        .map_err(|error| Failure::usage(format!("--images: {error}"), ""))?;
    let password = key::password()?;
    let signing = SigningKey::generate().map_err(|error| Failure::unavailable(error, ""))?;
    let (private, public) = (
        suffixed(&args.prefix, ".key"),
        suffixed(&args.prefix, ".pub"),
    );
    key::write(&signing, &password, &private, &public)?;
    eprintln!(
        "{} is the private key: keep it secret. {} may be shown to anybody.",
        private.display(),
        public.display()
    );
    Ok(Made {
        key_id: signing.public_key().key_id(),
        policy: policy(&name(&args.prefix), &images, &signing.public_key().to_pem()),
        private_key: private,
        public_key: public,
    })
}

/// The TrustPolicy that lets images run that this key has signed.
pub(crate) fn policy(name: &str, images: &ImageGlob, public_pem: &str) -> String {
    let mut text = format!(
        "apiVersion: lighterman.dev/v1alpha1
kind: TrustPolicy
metadata:
  name: {name}
spec:
  images:
  - glob: {glob:?}
  authorities:
  - name: {name}
    ctlog: Ignore
    key:
      data: |",
        glob = images.to_string(),
    );
    for line in public_pem.lines() {
        text.push_str("\n        ");
        text.push_str(line);
    }
    text
}

/// The policy and its authority are named after the files, when Kubernetes allows that name.
fn name(prefix: &Path) -> String {
    let name = prefix
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let legal = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.ends_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if legal { name } else { "release".to_owned() }
}

fn suffixed(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy)
    }
}
