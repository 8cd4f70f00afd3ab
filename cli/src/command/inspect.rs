//! `lighterman inspect`: what a component is and what it wants, without running it.
//!
//! Reads a file, a reference or a layout directory. Signatures are listed, not judged:
//! that is `verify`. Text that a publisher wrote is shown without control characters.

use std::fmt;
use std::path::Path;

use artifact::component::{self, Facts, World};
use artifact::{Digest, Parcel};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use capability::{Grant, Limits, Refusal, Request, judge};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Access, Inspect, Target};
use crate::failure::Failure;
use crate::manifest::Asked;
use crate::output::printable;
use crate::store::Store;
use crate::wit;

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Inspection {
    subject: String,
    /// `component`, or the reason why it is none.
    kind: String,
    /// Why it cannot run, when it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// Bytes.
    size: usize,
    /// Of the manifest; a file has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    name: Option<String>,
    version: Option<String>,
    /// How it wants to be called.
    world: Option<&'static str>,
    imports: Vec<String>,
    exports: Vec<String>,
    /// Bytes of memory of a new instance.
    initial_memory: Option<u64>,
    /// What its manifest asks for; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<Asked>,
    /// The manifest itself, field by field.
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
    /// The YAML below `spec:` that would grant all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    wit: Option<String>,
    signatures: Vec<Signature>,
}

/// A bundle beside the manifest, as it describes itself. Nothing of it is verified.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    key_hint: Option<String>,
    predicate_type: Option<String>,
    subject: Option<String>,
}

/// Looks at the subject.
pub(crate) async fn run(args: &Inspect) -> Result<Inspection, Failure> {
    let file = Path::new(&args.subject);
    if !args.subject.starts_with("oci:") && file.is_file() {
        let wasm = std::fs::read(file).map_err(|error| Failure::file(file, "read", &error))?;
        return Ok(inspection(args.subject.clone(), &wasm));
    }
    stored(&args.subject, &args.access).await
}

async fn stored(subject: &str, access: &Access) -> Result<Inspection, Failure> {
    let target: Target = subject.parse().map_err(|error| Failure::usage(error, ""))?;
    let store = Store::open(&target, access)?;
    let digest = store.resolve().await?;
    let Parcel { layer, bundles, .. } = store.pull(&digest).await?;
    Ok(Inspection {
        digest: Some(digest),
        signatures: bundles.iter().map(|bundle| signature(bundle)).collect(),
        ..inspection(store.to_string(), &layer)
    })
}

fn inspection(subject: String, wasm: &[u8]) -> Inspection {
    let nothing = Inspection {
        subject,
        kind: "component".to_owned(),
        refusal: None,
        size: wasm.len(),
        digest: None,
        name: None,
        version: None,
        world: None,
        imports: Vec::new(),
        exports: Vec::new(),
        initial_memory: None,
        manifest: None,
        request: None,
        grant: None,
        wit: None,
        signatures: Vec::new(),
    };
    match component::inspect(wasm) {
        Err(refusal) => Inspection {
            kind: refusal.code().to_string(),
            refusal: Some(refusal.to_string()),
            ..nothing
        },
        Ok(Facts {
            name,
            version,
            imports,
            exports,
            world,
            initial_memory,
            request,
            ..
        }) => Inspection {
            manifest: request.as_ref().map(Asked::of),
            grant: request.as_ref().and_then(grant),
            request,
            name,
            version,
            world: Some(world_name(world)),
            imports,
            exports,
            initial_memory: Some(initial_memory),
            wit: wit::of(wasm),
            ..nothing
        },
    }
}

/// What a component's object must say for all of a request to be granted, what is optional too.
fn grant(request: &Request) -> Option<String> {
    let mut request = request.clone();
    request.filesystem.optional = false;
    request.network.optional = false;
    let missing = judge(&[request], &Grant::default(), &[], &Limits::default());
    Refusal::component_yaml(&missing)
}

fn world_name(world: World) -> &'static str {
    match world {
        World::HttpP2 => "wasi:http 0.2",
        World::HttpP3 => "wasi:http 0.3",
        World::Command => "wasi:cli command",
        World::Other => "its own: an invoke trigger calls its functions",
    }
}

fn signature(bundle: &[u8]) -> Signature {
    let bundle: Value = serde_json::from_slice(bundle).unwrap_or_default();
    let text = |value: &Value, pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let statement: Value = text(&bundle, "/dsseEnvelope/payload")
        .and_then(|payload| STANDARD.decode(payload).ok())
        .and_then(|payload| serde_json::from_slice(&payload).ok())
        .unwrap_or_default();
    Signature {
        key_hint: text(&bundle, "/verificationMaterial/publicKey/hint"),
        predicate_type: text(&statement, "/predicateType"),
        subject: text(&statement, "/subject/0/digest/sha256").map(|hex| format!("sha256:{hex}")),
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.subject, self.size)?;
        write!(f, "\nkind       {}", self.kind)?;
        let lines = [
            ("digest", self.digest.as_ref().map(ToString::to_string)),
            ("refused", self.refusal.clone()),
            ("name", self.name.clone()),
            ("version", self.version.clone()),
            ("world", self.world.map(str::to_owned)),
            (
                "memory",
                self.initial_memory
                    .map(|bytes| format!("{bytes} bytes at the start")),
            ),
        ];
        for (label, text) in lines {
            if let Some(text) = text {
                write!(f, "\n{label:<10} {}", printable(&text))?;
            }
        }
        match &self.manifest {
            Some(asked) => write!(f, "\nmanifest   {asked}")?,
            None if self.refusal.is_none() => {
                write!(
                    f,
                    "\nmanifest   none: a cluster judges it by its grant alone"
                )?;
            }
            None => {}
        }
        if self.digest.is_some() && self.signatures.is_empty() {
            write!(f, "\nsignatures none")?;
        }
        for signature in &self.signatures {
            let part = |part: &Option<String>| printable(part.as_deref().unwrap_or("unknown"));
            write!(
                f,
                "\nsignature  {} for {} with key hint {} (not verified: `lighterman verify` does)",
                part(&signature.predicate_type),
                part(&signature.subject),
                part(&signature.key_hint),
            )?;
        }
        if let Some(grant) = &self.grant {
            write!(
                f,
                "\n\nA WasmComponent grants all of it with:\nspec:\n{}",
                grant.trim_end()
            )?;
        }
        match &self.wit {
            Some(wit) => write!(f, "\n\n{wit}"),
            None => Ok(()),
        }
    }
}
