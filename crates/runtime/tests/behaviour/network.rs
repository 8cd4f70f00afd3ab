//! What a component reaches of the network: what it was granted, and never anything besides.
//!
//! Every story is played with both builds of the same guest, for WASI 0.2 and 0.3, against
//! real servers on loopback. `stage` sets it up: parts of 127.0.0.0/8 stand for the public
//! Internet and for private networks, all others stay what they are.

mod addresses;
mod connections;
mod credentials;
pub(crate) mod dns;
mod http;
mod limits;
mod sockets;
pub(crate) mod stage;
pub(crate) mod upstream;
