//! What is to run, and for whom: the identity, limits, rights and values of one revision.
//!
//! Plain data from the caller; nothing here is judged.

use crate::capability::audit::AuditLevel;
use crate::capability::network::Credential;
use capability::{Effective, GuestPath, Limits, Values};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Names a component in output and figures. Made by the platform, never by the guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Namespace of the component.
    pub namespace: String,
    /// Name of the component.
    pub component: String,
    /// Name of the revision.
    pub revision: String,
    /// Name of the node.
    pub node: String,
}

/// One revision as the runtime needs it.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Who it is.
    pub identity: Identity,
    /// What one call and one replica may use.
    pub limits: Limits,
    /// What it may do: request, grant and ceilings, judged at every use.
    pub effective: Arc<Effective>,
    /// Arguments, environment and configuration it is given.
    pub values: Values,
    /// Directories that it sees. What it may do in them, `effective` says.
    pub mounts: Vec<Mount>,
    /// Headers that the host adds to its requests.
    pub credentials: Vec<Credential>,
    /// Which of its uses are recorded.
    pub audit: AuditLevel,
    /// Replicas on this node: the perReplica budget is multiplied by it. At least 1.
    pub replicas: u32,
    /// Bytes of a request body; more is answered with 413.
    pub max_request_body: u64,
    /// Whether it listens on ports of its own, which each of its runs is given.
    pub listens: bool,
    /// Bytes of memory it has from its first instruction, from `Facts::initial_memory`.
    pub initial_memory: u64,
}

/// A directory of the host, as a guest sees it.
#[derive(Debug, Clone)]
pub struct Mount {
    /// Name of the volume, for messages.
    pub volume: String,
    /// Where the guest sees it. Mounts must not overlap.
    pub path: GuestPath,
    /// The directory itself. Nothing outside it is ever reached through it.
    pub root: Arc<OwnedFd>,
    /// Bytes that may be kept in it, for a volume that is emptied with its component. Then
    /// the directories that write globs name are made in it.
    pub size_limit: Option<u64>,
    /// Whether nothing can be written, whatever is granted.
    pub read_only: bool,
}
