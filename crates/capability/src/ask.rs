//! One thing that a manifest asks for, in a form that can be compared, listed and judged.
//!
//! Knows nothing of who grants it. Made by [`crate::Request::asks`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::outbound::{HostRequest, Ports};
use crate::path::{GuestPath, PathGlob};
use crate::request::VariablePattern;

/// One thing that a manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// To read and list files.
    Read(PathGlob),
    /// To create, change and remove files.
    Write(PathGlob),
    /// To run files.
    Execute(PathGlob),
    /// To connect to a host.
    Connect(HostRequest),
    /// To listen on ports by itself.
    Listen(Ports),
    /// To see environment variables.
    Environment(VariablePattern),
    /// To read a key-value bucket.
    ReadBucket(String),
    /// To change a key-value bucket.
    WriteBucket(String),
    /// To send to a topic.
    Publish(String),
    /// To receive from a topic.
    Subscribe(String),
    /// To call another component.
    Import(String),
    /// To start an executable of the platform.
    Spawn(GuestPath),
    /// To send signals to what it started.
    Signal,
}

impl Ask {
    /// Whether whoever has `self` has `other` as well. What cannot be proven is not.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Read(mine), Self::Read(theirs))
            | (Self::Write(mine), Self::Write(theirs))
            | (Self::Execute(mine), Self::Execute(theirs)) => mine.covers(theirs),
            (Self::Connect(mine), Self::Connect(theirs)) => mine.covers(theirs),
            (Self::Listen(mine), Self::Listen(theirs)) => mine.covers(*theirs),
            (Self::Environment(mine), Self::Environment(theirs)) => mine.covers(theirs),
            (mine, theirs) => mine == theirs,
        }
    }

    /// Why no platform can give it yet; none for what can be granted.
    #[must_use]
    pub fn unsupported(&self) -> Option<&'static str> {
        Some(match self {
            Self::Read(_)
            | Self::Write(_)
            | Self::Connect(_)
            | Self::Environment(_)
            | Self::Spawn(_)
            | Self::Signal => return None,
            Self::Execute(_) => {
                "nothing in a volume is run here, since it could be native code of the component's own making: ask by `permissions.process` for executables that the platform provides"
            }
            Self::Listen(_) => {
                "what calls a component comes through spec.triggers, also what listens itself (run.ports): it needs no request"
            }
            Self::ReadBucket(_) | Self::WriteBucket(_) => "there is no key-value storage here",
            Self::Publish(_) | Self::Subscribe(_) => "there is no message bus here",
            Self::Import(_) => {
                "components are not linked to one another here: compose them into one before the push"
            }
        })
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(glob) => write!(f, "read {glob}"),
            Self::Write(glob) => write!(f, "write {glob}"),
            Self::Execute(glob) => write!(f, "execute {glob}"),
            Self::Connect(host) => write!(f, "connect {host}"),
            Self::Listen(ports) => write!(f, "listen {ports}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::ReadBucket(bucket) => write!(f, "read bucket {bucket}"),
            Self::WriteBucket(bucket) => write!(f, "write bucket {bucket}"),
            Self::Publish(topic) => write!(f, "publish {topic}"),
            Self::Subscribe(topic) => write!(f, "subscribe {topic}"),
            Self::Import(interface) => write!(f, "import {interface}"),
            Self::Spawn(executable) => write!(f, "spawn {executable}"),
            Self::Signal => f.write_str("signal"),
        }
    }
}
