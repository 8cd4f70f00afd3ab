//! The hand-over: what agents fetch from the operator, and who may.
//!
//! HTTPS with our own CA. An agent proves itself with its pod-bound token; it is
//! served only what is placed on its node. Every replica answers, leader or not.
//! `identity` says who asks, `authority` what they may have, `tls` makes the
//! certificates, `rotation` says under which CA, `server` speaks HTTP.

pub mod authority;
mod conditional;
pub mod identity;
pub mod rotation;
pub mod server;
pub mod tls;

use crds::Reason;
use crds::handover::Problem;

fn problem(reason: Reason, message: impl Into<String>) -> Problem {
    Problem {
        reason,
        message: message.into(),
    }
}
