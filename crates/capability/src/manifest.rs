//! Reads `Component.toml`, the manifest that a component carries.
//!
//! The text comes from whoever pushed the component, so everything in it is bounded and
//! nothing is guessed: an unknown key is an error that names its place and lists the valid
//! ones, because a permission with a typing error must not pass for one that was not asked
//! for. Called by `artifact`, which finds the text, and by the command line.

mod section;

use toml::de::DeTable;

use crate::duration::Span;
use crate::limits::Limits;
use crate::quantity::Bytes;
use crate::request::{
    ComponentIdentity, ComponentsRequest, EnvironmentRequest, FilesystemRequest, LimitRequest,
    MessagingRequest, NetworkRequest, ProcessRequest, Request, StorageRequest,
};
use section::{Section, line_of, one_line};

/// Why a text is no manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// More than [`Request::SIZE_MAX`].
    #[error(
        "Component.toml has {found} bytes; write at most {}",
        Request::SIZE_MAX
    )]
    TooLarge {
        /// Bytes of the text.
        found: usize,
    },
    /// Not TOML.
    #[error("Component.toml, line {line}: {problem}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// A key that means nothing here.
    #[error("Component.toml, line {line}: unknown key `{key}`; valid here are {valid}")]
    UnknownKey {
        /// Line, from 1.
        line: usize,
        /// With the sections it is in.
        key: String,
        /// All that are valid in its place.
        valid: String,
    },
    /// A key that is needed.
    #[error("Component.toml has no `{key}`; write it, as in {example}")]
    Missing {
        /// With the section it belongs to.
        key: &'static str,
        /// What to write.
        example: &'static str,
    },
    /// A value of the wrong kind, or one that cannot be used.
    #[error("Component.toml, line {line}: `{key}`: {problem}")]
    Value {
        /// Line, from 1.
        line: usize,
        /// With the sections it is in.
        key: String,
        /// What is wrong with it, and what to write instead.
        problem: String,
    },
}

impl Request {
    /// Bytes of a manifest. The longest that people wrote by hand is a hundredth of it.
    pub const SIZE_MAX: usize = 64 * 1024;
    /// Entries of one list: every one of them is matched at every call.
    pub const ENTRIES_MAX: usize = 128;
    /// Characters of one name.
    pub const NAME_MAX: usize = 256;

    /// Reads a manifest.
    ///
    /// # Errors
    /// The first thing in it that is wrong, with its line and what to write instead.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        if text.len() > Self::SIZE_MAX {
            return Err(ManifestError::TooLarge { found: text.len() });
        }
        let document = DeTable::parse(text).map_err(|error| ManifestError::Syntax {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            problem: one_line(error.message()),
        })?;
        let root = Section::root(text, document.get_ref());
        root.allow(&["component", "resources", "permissions"])?;
        let permissions = root.section("permissions")?;
        permissions.allow(&[
            "filesystem",
            "network",
            "environment",
            "storage",
            "messaging",
            "components",
            "process",
        ])?;
        Ok(Self {
            component: component(&root.section("component")?)?,
            limits: limits(&root.section("resources")?)?,
            filesystem: filesystem(&permissions.section("filesystem")?)?,
            network: network(&permissions.section("network")?)?,
            environment: environment(&permissions.section("environment")?)?,
            storage: storage(&permissions.section("storage")?)?,
            messaging: messaging(&permissions.section("messaging")?)?,
            components: components(&permissions.section("components")?)?,
            process: process(&permissions.section("process")?)?,
        })
    }
}

fn component(section: &Section<'_, '_>) -> Result<ComponentIdentity, ManifestError> {
    section.allow(&["name", "version"])?;
    let needed = |key, full: &'static str, example| match section.entry(key) {
        Some(entry) => entry.name(),
        None => Err(ManifestError::Missing { key: full, example }),
    };
    Ok(ComponentIdentity {
        name: needed("name", "component.name", "`name = \"data-processor\"`")?,
        version: needed("version", "component.version", "`version = \"1.0.0\"`")?,
    })
}

fn limits(section: &Section<'_, '_>) -> Result<LimitRequest, ManifestError> {
    section.allow(&["memory", "cpu"])?;
    let memory = section.section("memory")?;
    memory.allow(&["max_memory_bytes"])?;
    let cpu = section.section("cpu")?;
    cpu.allow(&["max_time_ms", "max_fuel"])?;
    let least_memory = Limits::MEMORY_MIN.0;
    Ok(LimitRequest {
        memory: memory.number("max_memory_bytes", least_memory)?.map(Bytes),
        cpu_time: cpu.number("max_time_ms", 1)?.map(Span::milliseconds),
        fuel: cpu.number("max_fuel", Limits::FUEL_MIN)?,
    })
}

fn filesystem(section: &Section<'_, '_>) -> Result<FilesystemRequest, ManifestError> {
    section.allow(&[
        "readable_paths",
        "writable_paths",
        "executable_paths",
        "optional",
    ])?;
    Ok(FilesystemRequest {
        read: section.list("readable_paths")?,
        write: section.list("writable_paths")?,
        execute: section.list("executable_paths")?,
        optional: section.switch("optional")?,
    })
}

fn network(section: &Section<'_, '_>) -> Result<NetworkRequest, ManifestError> {
    section.allow(&["allowed_hosts", "inbound", "optional"])?;
    Ok(NetworkRequest {
        hosts: section.list("allowed_hosts")?,
        inbound: section.ports("inbound")?,
        optional: section.switch("optional")?,
    })
}

fn environment(section: &Section<'_, '_>) -> Result<EnvironmentRequest, ManifestError> {
    section.allow(&["variables", "optional"])?;
    Ok(EnvironmentRequest {
        variables: section.list("variables")?,
        optional: section.switch("optional")?,
    })
}

fn storage(section: &Section<'_, '_>) -> Result<StorageRequest, ManifestError> {
    section.allow(&["readable_buckets", "writable_buckets", "optional"])?;
    Ok(StorageRequest {
        read: section.names("readable_buckets")?,
        write: section.names("writable_buckets")?,
        optional: section.switch("optional")?,
    })
}

fn messaging(section: &Section<'_, '_>) -> Result<MessagingRequest, ManifestError> {
    section.allow(&["publish", "subscribe", "optional"])?;
    Ok(MessagingRequest {
        publish: section.names("publish")?,
        subscribe: section.names("subscribe")?,
        optional: section.switch("optional")?,
    })
}

fn components(section: &Section<'_, '_>) -> Result<ComponentsRequest, ManifestError> {
    section.allow(&["imports", "optional"])?;
    Ok(ComponentsRequest {
        imports: section.names("imports")?,
        optional: section.switch("optional")?,
    })
}

fn process(section: &Section<'_, '_>) -> Result<ProcessRequest, ManifestError> {
    section.allow(&["spawn", "signal", "optional"])?;
    Ok(ProcessRequest {
        spawn: section.list("spawn")?,
        signal: section.switch("signal")?,
        optional: section.switch("optional")?,
    })
}
