//! What a component asks for: the content of its manifest, `Component.toml`.
//!
//! Plain values, read by [`crate::manifest`] and judged elsewhere. A component may have
//! several that count together (one in its binary, one in a signed attestation): only what
//! all of them ask for is asked for. Lists are in the manifest's order.

mod variable;

use serde::{Deserialize, Serialize};

use crate::ask::Ask;
use crate::duration::Span;
use crate::outbound::{Destination, HostRequest, Ports};
use crate::path::{GuestPath, PathGlob};
use crate::quantity::Bytes;
pub use variable::{InvalidVariable, VariablePattern};

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Request {
    /// Who it is.
    pub component: ComponentIdentity,
    /// The most it needs. None: as much as it is given.
    pub limits: LimitRequest,
    /// Files.
    pub filesystem: FilesystemRequest,
    /// Connections.
    pub network: NetworkRequest,
    /// Environment variables.
    pub environment: EnvironmentRequest,
    /// Key-value buckets.
    pub storage: StorageRequest,
    /// Topics of a message bus.
    pub messaging: MessagingRequest,
    /// Other components.
    pub components: ComponentsRequest,
    /// Executables of the platform.
    pub process: ProcessRequest,
}

/// `[component]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ComponentIdentity {
    /// Name that its publisher gave it.
    pub name: String,
    /// Version that its publisher gave it.
    pub version: String,
}

/// `[resources]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LimitRequest {
    /// Memory of one call.
    pub memory: Option<Bytes>,
    /// Processor time of one call.
    pub cpu_time: Option<Span>,
    /// Fuel of one call, in wasmtime's units.
    pub fuel: Option<u64>,
}

/// `[permissions.filesystem]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FilesystemRequest {
    /// Files and directories to read and list.
    pub read: Vec<PathGlob>,
    /// Files and directories to create, change and remove.
    pub write: Vec<PathGlob>,
    /// Files to run.
    pub execute: Vec<PathGlob>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.network]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NetworkRequest {
    /// Hosts to connect to.
    pub hosts: Vec<HostRequest>,
    /// Ports to listen on by itself.
    pub inbound: Vec<Ports>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.environment]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvironmentRequest {
    /// Names of variables.
    pub variables: Vec<VariablePattern>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.storage]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StorageRequest {
    /// Buckets to read.
    pub read: Vec<String>,
    /// Buckets to change.
    pub write: Vec<String>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.messaging]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MessagingRequest {
    /// Topics to send to.
    pub publish: Vec<String>,
    /// Topics to receive from.
    pub subscribe: Vec<String>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.components]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ComponentsRequest {
    /// Interfaces that other components are to provide.
    pub imports: Vec<String>,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

/// `[permissions.process]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProcessRequest {
    /// Executables to start.
    pub spawn: Vec<GuestPath>,
    /// Whether to send signals to what it started.
    pub signal: bool,
    /// Whether the component works without what is not granted of this section.
    pub optional: bool,
}

impl Request {
    /// Everything it asks for, with whether it works without it.
    pub fn asks(&self) -> impl Iterator<Item = (Ask, bool)> {
        let Self {
            component: _,
            limits: _,
            filesystem,
            network,
            environment,
            storage,
            messaging,
            components,
            process,
        } = self;
        let files = ask_all(&filesystem.read, Ask::Read)
            .chain(ask_all(&filesystem.write, Ask::Write))
            .chain(ask_all(&filesystem.execute, Ask::Execute))
            .map(|ask| (ask, filesystem.optional));
        let connections = ask_all(&network.hosts, Ask::Connect)
            .chain(ask_all(&network.inbound, Ask::Listen))
            .map(|ask| (ask, network.optional));
        let variables = ask_all(&environment.variables, Ask::Environment)
            .map(|ask| (ask, environment.optional));
        let buckets = ask_all(&storage.read, Ask::ReadBucket)
            .chain(ask_all(&storage.write, Ask::WriteBucket))
            .map(|ask| (ask, storage.optional));
        let topics = ask_all(&messaging.publish, Ask::Publish)
            .chain(ask_all(&messaging.subscribe, Ask::Subscribe))
            .map(|ask| (ask, messaging.optional));
        let interfaces =
            ask_all(&components.imports, Ask::Import).map(|ask| (ask, components.optional));
        let processes = ask_all(&process.spawn, Ask::Spawn)
            .chain(process.signal.then_some(Ask::Signal))
            .map(|ask| (ask, process.optional));
        files
            .chain(connections)
            .chain(variables)
            .chain(buckets)
            .chain(topics)
            .chain(interfaces)
            .chain(processes)
    }

    /// Whether it asks for this connection.
    #[must_use]
    pub fn connects(&self, destination: &Destination) -> bool {
        let hosts = &self.network.hosts;
        hosts.iter().any(|request| request.matches(destination))
    }

    /// Whether it asks to start this executable.
    #[must_use]
    pub fn spawns(&self, executable: &GuestPath) -> bool {
        self.process.spawn.contains(executable)
    }

    /// Whether it asks for this environment variable.
    #[must_use]
    pub fn reads_variable(&self, name: &str) -> bool {
        let variables = &self.environment.variables;
        variables.iter().any(|pattern| pattern.matches(name))
    }
}

fn ask_all<T: Clone>(list: &[T], ask: fn(T) -> Ask) -> impl Iterator<Item = Ask> {
    list.iter().cloned().map(ask)
}
