//! `lighterman trust init`: a TrustPolicy to start from, for a key, for a GitHub
//! organisation, or for a sigstore of one's own.
//!
//! Standard output is YAML alone, so that it can go into a file. What is printed has
//! been read by the cluster's own reader first.

use std::fmt;
use std::path::Path;

use artifact::root::TrustedRoot;
use capability::ImageGlob;
use crds::names::SYSTEM_NAMESPACE;
use serde::Serialize;

use crate::args::TrustInit;
use crate::command::keygen;
use crate::failure::Failure;
use crate::key;

/// The policy that was written.
#[derive(Debug, Serialize)]
pub(crate) struct Written {
    /// YAML of the TrustPolicy, and of the ConfigMap that it refers to.
    policy: String,
}

/// The issuer of GitHub's tokens for workflows.
const GITHUB_ISSUER: &str = "https://token.actions.githubusercontent.com";
/// Images of a policy for which nothing better can be guessed.
const IMAGES: &str = "registry.example/**";
/// The ConfigMap of a sigstore of one's own, and its key.
const ROOT_NAME: &str = "sigstore-root";
const ROOT_KEY: &str = "trusted_root.json";

/// Writes the policy.
pub(crate) fn run(args: &TrustInit) -> Result<Written, Failure> {
    let policy = match (&args.whom.key, &args.whom.github, &args.whom.trusted_root) {
        (Some(file), _, _) => {
            let pem = key::read_public(file)?.to_pem();
            let name = args.name.as_deref().unwrap_or("release");
            keygen::policy(name, &images(args, IMAGES)?, &pem)
        }
        (_, Some(owner), _) => github(args, owner)?,
        (_, _, Some(file)) => own_sigstore(args, file)?,
        (None, None, None) => {
            return Err(Failure::usage(
                "whom to trust is missing",
                "give --key, --github or --trusted-root",
            ));
        }
    };
    Ok(Written { policy })
}

fn images(args: &TrustInit, guess: &str) -> Result<ImageGlob, Failure> {
    args.images
        .as_deref()
        .unwrap_or(guess)
        .parse()
        .map_err(|error| Failure::usage(format!("--images: {error}"), ""))
}

/// Workflows on branches and tags of the owner's repositories, as GitHub names them in
/// certificates. A pull request from elsewhere gets no token, so it cannot sign.
fn github(args: &TrustInit, owner: &str) -> Result<String, Failure> {
    let legal = (1..=39).contains(&owner.len())
        && !owner.starts_with('-')
        && owner.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if !legal {
        return Err(Failure::usage(
            format!("--github: {owner:?} is no name of an organisation or user"),
            "write it as GitHub shows it, without https://github.com/",
        ));
    }
    let lower = owner.to_lowercase();
    let images = images(args, &format!("ghcr.io/{lower}/**"))?.to_string();
    let name = args.name.as_deref().unwrap_or(&lower);
    let subject = format!(
        "https://github[.]com/{owner}/[^/]+/[.]github/workflows/[^@]+@refs/(heads|tags)/.+"
    );
    Ok(format!(
        "apiVersion: lighterman.dev/v1alpha1
kind: TrustPolicy
metadata:
  name: {name}
spec:
  images:
  - glob: {images:?}
  authorities:
  - name: {name}
    ctlog: Required
    keyless:
      identities:
      - issuer: {GITHUB_ISSUER}
        # Every workflow of every repository. Narrow it to the one that releases.
        subjectRegExp: {subject:?}"
    ))
}

/// A sigstore of one's own: its root in a ConfigMap, and one identity.
fn own_sigstore(args: &TrustInit, file: &Path) -> Result<String, Failure> {
    let (Some(issuer), Some(identity)) = (&args.issuer, &args.identity) else {
        return Err(Failure::usage(
            "--trusted-root needs --issuer and --identity",
            "say who may sign, or every identity of that sigstore could",
        ));
    };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::file(file, "read the trusted root", &error))?;
    TrustedRoot::from_json(text.as_bytes())
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), ""))?;
    let images = images(args, IMAGES)?.to_string();
    let name = args.name.as_deref().unwrap_or("sigstore");
    let root: String = text.lines().map(|line| format!("\n    {line}")).collect();
    Ok(format!(
        "apiVersion: v1
kind: ConfigMap
metadata:
  name: {ROOT_NAME}
  # Where Lighterman is installed.
  namespace: {SYSTEM_NAMESPACE}
data:
  {ROOT_KEY}: |{root}
---
apiVersion: lighterman.dev/v1alpha1
kind: TrustPolicy
metadata:
  name: {name}
spec:
  images:
  - glob: {images:?}
  authorities:
  - name: {name}
    # Required, if the sigstore has a transparency log.
    ctlog: {log}
    keyless:
      identities:
      - issuer: {issuer:?}
        subject: {identity:?}
      trustedRoot:
        configMapKeyRef: {{name: {ROOT_NAME}, key: {ROOT_KEY}}}",
        log = if has_log(&text) { "Required" } else { "Ignore" },
    ))
}

/// Whether the root names a transparency log that could be asked.
fn has_log(root: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(root)
        .ok()
        .and_then(|root| Some(!root.get("tlogs")?.as_array()?.is_empty()))
        .unwrap_or_default()
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.policy)
    }
}
