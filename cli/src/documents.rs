//! YAML from files: everything that `check`, `verify --policy` and `run` read.
//!
//! Knows files and the contract's strict reader; judges fields with the contract's and
//! the artifact's own rules, and contacts nobody. A fault names its file, its field and its mend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use artifact::trust::Policy;
use crds::document::{self, Document};
use crds::{CapabilityPolicy, TrustPolicy, WasmComponent};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::Serialize;

use crate::failure::Failure;

/// The objects of all files together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Documents {
    /// The components.
    pub(crate) components: Vec<WasmComponent>,
    /// The trust policies.
    pub(crate) policies: Vec<TrustPolicy>,
    /// The capability policies.
    pub(crate) capability_policies: Vec<CapabilityPolicy>,
    /// The Secrets they refer to.
    pub(crate) secrets: Vec<Secret>,
    /// The ConfigMaps they refer to.
    pub(crate) config_maps: Vec<ConfigMap>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// The file, or `-`.
    pub(crate) file: String,
    /// The position of the document in its file, from 1.
    pub(crate) document: usize,
    /// Path of the field, as `spec.triggers[0].http.port`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
    /// What to write instead.
    pub(crate) mend: String,
}

/// What was read, and everything that is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// What could be read.
    pub(crate) documents: Documents,
    /// What is wrong.
    pub(crate) faults: Vec<Fault>,
}

/// A file of YAML for people is far smaller; the bound keeps a mistyped path to a disk image out of memory.
const FILE_MAX: u64 = 4 << 20;

/// Reads all files. Faults in them are findings; a file that cannot be read is a failure.
pub(crate) fn read<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    let mut names = BTreeSet::new();
    for file in files {
        let text = text(file)?;
        let name = file.display().to_string();
        match document::parse(&text) {
            Ok(documents) => {
                for (index, document) in documents.into_iter().enumerate() {
                    reading.add(&name, index, document, &mut names);
                }
            }
            Err(problems) => reading
                .faults
                .extend(problems.into_iter().map(|problem| Fault {
                    file: name.clone(),
                    document: problem.document.saturating_add(1),
                    field: problem.field,
                    message: problem.message,
                    mend: problem.mend,
                })),
        }
    }
    Ok(reading)
}

impl Reading {
    /// The documents, when nothing is wrong with them.
    pub(crate) fn complete(self) -> Result<Documents, Failure> {
        match self.faults.split_first() {
            None => Ok(self.documents),
            Some((first, [])) => Err(Failure::refused(first.what(), &first.mend)),
            Some((first, rest)) => Err(Failure::refused(
                format!(
                    "{} (and {} more: `lighterman check` lists them)",
                    first.what(),
                    rest.len()
                ),
                &first.mend,
            )),
        }
    }

    fn add(&mut self, file: &str, index: usize, document: Document, names: &mut BTreeSet<String>) {
        let mut fault = |field: &str, message: String, mend: String| {
            self.faults.push(Fault {
                file: file.to_owned(),
                document: index.saturating_add(1),
                field: field.to_owned(),
                message,
                mend,
            });
        };
        let name = identity(&document);
        if !names.insert(name.clone()) {
            fault(
                "metadata.name",
                format!("{name} is there twice"),
                "remove one, or rename it".to_owned(),
            );
        }
        match document {
            Document::WasmComponent(component) => {
                for problem in operator::component::validate(&component)
                    .err()
                    .unwrap_or_default()
                {
                    fault(&problem.field, problem.message, problem.mend);
                }
                self.documents.components.push(*component);
            }
            Document::TrustPolicy(policy) => {
                if let Err(error) = trust(&policy) {
                    fault("spec", error.to_string(), String::new());
                }
                self.documents.policies.push(*policy);
            }
            Document::CapabilityPolicy(policy) => {
                for problem in crds::capability_policy::problems(&policy) {
                    fault(&problem.field, problem.message, problem.mend);
                }
                self.documents.capability_policies.push(*policy);
            }
            Document::Secret(secret) => self.documents.secrets.push(*secret),
            Document::ConfigMap(config_map) => self.documents.config_maps.push(*config_map),
        }
    }
}

impl Documents {
    /// The trust policies, ready to judge.
    pub(crate) fn trust(&self) -> Result<Vec<Policy>, Failure> {
        self.policies
            .iter()
            .map(|policy| trust(policy).map_err(|error| Failure::refused(error, "")))
            .collect()
    }
}

/// The labels a namespace has without anybody's doing.
pub(crate) fn namespace_labels(namespace: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(
        "kubernetes.io/metadata.name".to_owned(),
        namespace.to_owned(),
    )])
}

fn trust(policy: &TrustPolicy) -> Result<Policy, artifact::trust::PolicyError> {
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    // The spec was just read from JSON, so it is JSON again; a null is refused by the reader.
    let spec = serde_json::to_value(&policy.spec).unwrap_or_default();
    Policy::parse(name, &spec)
}

fn identity(document: &Document) -> String {
    let (kind, metadata) = match document {
        Document::WasmComponent(object) => ("WasmComponent", &object.metadata),
        Document::TrustPolicy(object) => ("TrustPolicy", &object.metadata),
        Document::CapabilityPolicy(object) => ("CapabilityPolicy", &object.metadata),
        Document::Secret(object) => ("Secret", &object.metadata),
        Document::ConfigMap(object) => ("ConfigMap", &object.metadata),
    };
    let namespace = match document {
        Document::TrustPolicy(_) | Document::CapabilityPolicy(_) => String::new(),
        _ => format!("{}/", metadata.namespace.as_deref().unwrap_or("default")),
    };
    format!(
        "{kind} {namespace}{}",
        metadata.name.as_deref().unwrap_or_default()
    )
}

/// A file of text for people; `-` is standard input.
pub(crate) fn text(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin()
            .lock()
            .take(FILE_MAX)
            .read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(FILE_MAX).read_to_string(&mut text))
    };
    match read {
        Ok(length) if length as u64 == FILE_MAX => Err(Failure::unavailable(
            format!("{} is larger than {FILE_MAX} bytes", file.display()),
            "name a file with YAML in it",
        )),
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::file(file, "read", &error)),
    }
}

impl Fault {
    fn what(&self) -> String {
        format!(
            "{}: document {}: {}: {}",
            self.file, self.document, self.field, self.message
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        if !self.mend.is_empty() {
            write!(f, "\n  mend: {}", self.mend)?;
        }
        Ok(())
    }
}
