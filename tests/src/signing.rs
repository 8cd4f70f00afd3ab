//! Signing components: with the artifact crate's own keys, and with the real
//! cosign. Called by the suite and by tests.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::signature::{self, SigningKey};
use registry::Credentials;
use serde_json::Value;

use crate::registry::{Image, attach};
use crate::tools::Tool;

/// A key, in memory.
pub struct Signer {
    key: SigningKey,
}

/// The real cosign with a key of its own, offline: no transparency log, no
/// timestamps, no network but the registry.
pub struct Cosign {
    binary: PathBuf,
    folder: PathBuf,
}

/// The parts of a signature of cosign 2 that was made without a key.
#[derive(Clone, Copy, Debug)]
pub struct LegacyKeyless<'a> {
    /// What was signed.
    pub payload: &'a [u8],
    /// base64
    pub signature: &'a str,
    /// In PEM.
    pub certificate: &'a str,
    /// In PEM.
    pub chain: &'a str,
    /// JSON of the log entry.
    pub entry: &'a str,
}

impl Signer {
    /// A new key.
    pub fn generate() -> Result<Signer> {
        Ok(Signer {
            key: SigningKey::generate()?,
        })
    }

    /// What a policy names: the public key as PEM.
    pub fn public_key(&self) -> String {
        self.key.public_key().to_pem()
    }

    /// The bundle that signs `image`'s digest.
    pub fn bundle(&self, image: &Image) -> Result<Vec<u8>> {
        Ok(signature::sign(&self.key, &image.digest)?)
    }

    /// Signs `image` where it is.
    pub async fn sign(&self, image: &Image) -> Result<()> {
        attach(image, self.bundle(image)?, &Credentials::anonymous()).await
    }
}

impl Cosign {
    /// Makes a key pair and the settings that keep cosign offline.
    pub async fn generate(folder: &Path) -> Result<Cosign> {
        let cosign = Cosign::offline(folder).await?;
        cosign.run(&["generate-key-pair"]).await?;
        Ok(cosign)
    }

    /// A cosign with the public key of `signer`: it can verify, not sign.
    pub async fn with_key_of(folder: &Path, signer: &Signer) -> Result<Cosign> {
        let cosign = Cosign::offline(folder).await?;
        std::fs::write(folder.join("cosign.pub"), signer.public_key())?;
        Ok(cosign)
    }

    /// What a policy names: the public key as PEM.
    pub fn public_key(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.join("cosign.pub"))?)
    }

    /// `cosign sign`.
    pub async fn sign(&self, image: &Image) -> Result<()> {
        self.with_key("sign", &[], image).await
    }

    /// `cosign sign` as cosign 2 did: a tag beside the image's.
    pub async fn sign_legacy(&self, image: &Image) -> Result<()> {
        let reference = image.by_digest()?;
        self.run(&[
            "sign",
            "--key",
            "cosign.key",
            "--tlog-upload=false",
            "--use-signing-config=false",
            "--new-bundle-format=false",
            "--yes",
            &reference,
        ])
        .await
    }

    /// `cosign attach signature`: puts a signature of cosign 2 where cosign 2 put it.
    pub async fn attach_legacy(&self, image: &Image, parts: &LegacyKeyless<'_>) -> Result<()> {
        // As `cosign sign-blob --bundle` of version 2 wrote it.
        let entry = format!("{{\"rekorBundle\": {}}}", parts.entry);
        for (name, content) in [
            ("payload", parts.payload),
            ("signature", parts.signature.as_bytes()),
            ("certificate", parts.certificate.as_bytes()),
            ("chain", parts.chain.as_bytes()),
            ("entry", entry.as_bytes()),
        ] {
            std::fs::write(self.folder.join(name), content)?;
        }
        self.run(&[
            "attach",
            "signature",
            "--payload",
            "payload",
            "--signature",
            "signature",
            "--certificate",
            "certificate",
            "--certificate-chain",
            "chain",
            "--rekor-response",
            "entry",
            &image.by_digest()?,
        ])
        .await
    }

    /// `cosign verify` of a signature of cosign 2 that was made without a key.
    pub async fn verify_legacy(
        &self,
        image: &Image,
        root: &str,
        identity: &str,
        issuer: &str,
    ) -> Result<()> {
        std::fs::write(self.folder.join("root-of-legacy.json"), root)?;
        self.run(&[
            "verify",
            "--new-bundle-format=false",
            "--trusted-root",
            "root-of-legacy.json",
            "--certificate-identity",
            identity,
            "--certificate-oidc-issuer",
            issuer,
            &image.by_digest()?,
        ])
        .await
    }

    /// `cosign attest`: says something about the image without approving it.
    pub async fn attest(&self, image: &Image, kind: &str, predicate: &Value) -> Result<()> {
        std::fs::write(self.folder.join("predicate.json"), predicate.to_string())?;
        let what = ["--type", kind, "--predicate", "predicate.json"];
        self.with_key("attest", &what, image).await
    }

    /// `cosign verify`.
    pub async fn verify(&self, image: &Image) -> Result<()> {
        let reference = image.by_digest()?;
        self.run(&[
            "verify",
            "--key",
            "cosign.pub",
            "--insecure-ignore-tlog=true",
            "--trusted-root",
            "trusted-root.json",
            &reference,
        ])
        .await
    }

    async fn offline(folder: &Path) -> Result<Cosign> {
        std::fs::create_dir_all(folder)?;
        let cosign = Cosign {
            binary: Tool::Cosign.find()?,
            folder: folder.to_owned(),
        };
        cosign
            .run(&["signing-config", "create", "--out", "signing-config.json"])
            .await?;
        let root = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
        std::fs::write(folder.join("trusted-root.json"), root)?;
        Ok(cosign)
    }

    async fn with_key(&self, command: &str, more: &[&str], image: &Image) -> Result<()> {
        let reference = image.by_digest()?;
        let mut arguments = vec![command, "--key", "cosign.key"];
        arguments.extend(["--signing-config", "signing-config.json"]);
        arguments.extend(["--trusted-root", "trusted-root.json", "--yes"]);
        arguments.extend(more);
        arguments.push(&reference);
        self.run(&arguments).await
    }

    async fn run(&self, arguments: &[&str]) -> Result<()> {
        let output = tokio::process::Command::new(&self.binary)
            .args(arguments)
            .current_dir(&self.folder)
            .env("COSIGN_PASSWORD", "")
            .env("HOME", &self.folder)
            .kill_on_drop(true)
            .output()
            .await
            .context("cosign")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "cosign {}: {said}",
            arguments.join(" ")
        );
        Ok(())
    }
}
