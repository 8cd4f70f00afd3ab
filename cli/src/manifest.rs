//! `Component.toml`: read as strictly as a cluster reads it, and put into a component.
//!
//! Knows the file and the component's bytes; judges neither grants nor signatures. `push` and
//! `run --set-image` embed with it, `inspect` shows with it.

use std::fmt;
use std::path::{Path, PathBuf};

use artifact::manifest_section;
use bytes::Bytes;
use capability::Request;
use serde::Serialize;

use crate::documents;
use crate::failure::Failure;
use crate::output::printable;

/// The name that people give the file.
const FILE_NAME: &str = "Component.toml";

/// What a component asks for, in the words of the cluster's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    name: String,
    version: String,
    /// What it asks for and does not work without.
    requires: Vec<String>,
    /// What it asks for and works without.
    optional: Vec<String>,
}

/// The component with the manifest from `file` in the place of any other.
pub(crate) fn embed(file: &Path, wasm: &[u8]) -> Result<Bytes, Failure> {
    let text = documents::text(file)?;
    manifest_section::embed(wasm, &text)
        .map(Bytes::from)
        .map_err(|refusal| Failure::refused(format!("{}: {refusal}", file.display()), ""))
}

/// A manifest that lies where people look for it, for a hint when it is not used.
pub(crate) fn unused_beside(wasm: &Path) -> Option<PathBuf> {
    let beside = wasm.parent().map(|folder| folder.join(FILE_NAME));
    [Some(PathBuf::from(FILE_NAME)), beside]
        .into_iter()
        .flatten()
        .find(|file| file.is_file())
}

impl Asked {
    /// Everything that a request asks for.
    pub(crate) fn of(request: &Request) -> Asked {
        let texts = |wanted: bool| {
            request
                .asks()
                .filter(|(_, optional)| *optional == wanted)
                .map(|(ask, _)| ask.to_string())
                .collect()
        };
        Asked {
            name: request.component.name.clone(),
            version: request.component.version.clone(),
            requires: texts(false),
            optional: texts(true),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", printable(&self.name), printable(&self.version))?;
        if self.requires.is_empty() && self.optional.is_empty() {
            return write!(f, ", asks for nothing");
        }
        for ask in &self.requires {
            write!(f, "\n           {}", printable(ask))?;
        }
        for ask in &self.optional {
            write!(f, "\n           {} (optional)", printable(ask))?;
        }
        Ok(())
    }
}
