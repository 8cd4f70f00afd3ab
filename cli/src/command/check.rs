//! `lighterman check`: what a cluster would say to YAML, before it is asked.
//!
//! Stricter than an API server, which silently drops a field that it does not know. Manifests
//! are read as `push` reads them.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use capability::Request;
use serde::Serialize;

use crate::args::Check;
use crate::documents::{self, Fault};
use crate::failure::Failure;
use crate::output::Output;

/// What was read and what is wrong with it.
#[derive(Debug, Serialize)]
struct Report {
    files: usize,
    components: usize,
    /// Of trust and of capabilities.
    policies: usize,
    manifests: usize,
    faults: Vec<Fault>,
}

/// Prints every fault; fails when there is one.
pub(crate) fn run(args: &Check, output: &Output) -> Result<(), Failure> {
    let is_manifest = |file: &&PathBuf| file.extension() == Some(OsStr::new("toml"));
    let (manifests, yaml): (Vec<&PathBuf>, Vec<&PathBuf>) =
        args.files.iter().partition(is_manifest);
    let mut reading = documents::read(yaml)?;
    for file in &manifests {
        reading.faults.extend(manifest(file)?);
    }
    let documents = &reading.documents;
    let report = Report {
        files: args.files.len(),
        components: documents.components.len(),
        policies: documents.policies.len() + documents.capability_policies.len(),
        manifests: manifests.len(),
        faults: reading.faults,
    };
    output.answer(&report);
    match report.faults.len() {
        0 => Ok(()),
        1 => Err(Failure::refused("1 field is wrong", "")),
        count => Err(Failure::refused(format!("{count} fields are wrong"), "")),
    }
}

/// What is wrong with a manifest: the first fault, since what follows may be due to it.
fn manifest(file: &Path) -> Result<Option<Fault>, Failure> {
    let text = documents::text(file)?;
    Ok(Request::from_toml(&text).err().map(|error| Fault {
        file: file.display().to_string(),
        document: 1,
        field: "manifest".to_owned(),
        message: error.to_string(),
        mend: String::new(),
    }))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.faults.split_last() else {
            write!(
                f,
                "good: {} components and {} policies",
                self.components, self.policies
            )?;
            return match self.manifests {
                0 => Ok(()),
                count => write!(f, ", {count} manifests"),
            };
        };
        for fault in others {
            writeln!(f, "{fault}")?;
        }
        write!(f, "{last}")
    }
}
