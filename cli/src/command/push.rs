//! `lighterman push`: from a build to a signed image.
//!
//! A pipeline: wrap a wasip1 module, put the manifest in, look at what came out, push, sign.
//! Whatever a cluster would refuse about the bytes is refused here, before anything is
//! uploaded.

use std::fmt;
use std::path::{Path, PathBuf};

use artifact::Digest;
use artifact::component::{self, Facts};
use bytes::Bytes;
use serde::Serialize;

use super::sign;
use crate::args::Push;
use crate::failure::Failure;
use crate::key;
use crate::manifest::{self, Asked};
use crate::store::Store;
use crate::wrap::{self, Build};

/// What was pushed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pushed {
    reference: String,
    digest: Digest,
    /// Bytes of the component.
    size: usize,
    /// Whether it was a core module and has been wrapped.
    wrapped: bool,
    /// What its manifest asks for.
    manifest: Option<Asked>,
    /// A manifest that is at hand and was not put in.
    #[serde(skip_serializing_if = "Option::is_none")]
    unused_manifest: Option<PathBuf>,
    /// The id of the key that signed it.
    signed_by: Option<String>,
}

/// A build that a cluster can run, as far as its bytes tell.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The component, with its manifest.
    pub(crate) wasm: Bytes,
    /// What it says of itself.
    pub(crate) facts: Facts,
    wrapped: bool,
}

/// Pushes the file.
pub(crate) async fn run(args: &Push) -> Result<Pushed, Failure> {
    // The key first: a wrong password must not leave an unsigned image behind.
    let key = args.sign.as_deref().map(key::read_private).transpose()?;
    let Ready {
        wasm,
        facts,
        wrapped,
    } = read(&args.file, args.manifest.as_deref())?;
    let size = wasm.len();
    let store = Store::open(&args.target, &args.access)?;
    let digest = store.push(wasm).await?;
    if let Some(key) = &key {
        sign::attach(&store, &digest, key).await?;
    }
    let manifest = facts.request.as_ref().map(Asked::of);
    Ok(Pushed {
        reference: store.to_string(),
        digest,
        size,
        wrapped,
        unused_manifest: match &manifest {
            Some(_) => None,
            None => manifest::unused_beside(&args.file),
        },
        manifest,
        signed_by: key.map(|key| key.public_key().key_id()),
    })
}

/// Reads a build, wraps it when it is a module, and puts the manifest in when there is one.
pub(crate) fn read(file: &Path, manifest: Option<&Path>) -> Result<Ready, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file(file, "read", &error))?;
    let Build { mut wasm, wrapped } = wrap::component(Bytes::from(bytes))?;
    let inspect = |wasm: &[u8]| {
        component::inspect(wasm)
            .map_err(|refusal| Failure::refused(format!("{}: {refusal}", file.display()), ""))
    };
    // Before the manifest is put in: what is no component is refused as that.
    let mut facts = inspect(&wasm)?;
    if let Some(manifest) = manifest {
        wasm = manifest::embed(manifest, &wasm)?;
        facts = inspect(&wasm)?;
    }
    Ok(Ready {
        wasm,
        facts,
        wrapped,
    })
}

impl fmt::Display for Pushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "pushed  {} ({} bytes)", self.reference, self.size)?;
        if self.wrapped {
            writeln!(f, "wrapped a core module into a component")?;
        }
        writeln!(f, "digest  {}", self.digest)?;
        match (&self.manifest, &self.unused_manifest) {
            (Some(asked), _) => writeln!(f, "manifest {asked}")?,
            (None, None) => writeln!(f, "no manifest: a cluster judges it by its grant alone")?,
            (None, Some(file)) => writeln!(
                f,
                "no manifest: a cluster judges it by its grant alone; there is one, which --manifest {} puts in",
                file.display()
            )?,
        }
        match &self.signed_by {
            Some(key) => write!(f, "signed  by key {key}"),
            None => write!(
                f,
                "not signed: a cluster refuses it until `lighterman sign {} --key KEY`",
                self.reference
            ),
        }
    }
}
