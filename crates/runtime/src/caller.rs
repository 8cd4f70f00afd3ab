//! Who asks a component for an answer, as far as the host has seen it itself.
//!
//! Says nothing that a request claims. Made by whoever accepts connections, one for each;
//! lines and records name it.

use std::net::IpAddr;
use std::sync::Arc;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The trigger that the request came to.
    pub trigger: Arc<str>,
    /// The other end of its connection: of a proxy or a node, where one stands in between.
    pub address: Option<IpAddr>,
}
