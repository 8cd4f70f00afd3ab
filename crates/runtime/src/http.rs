//! wasi:http: from a hyper request to a guest's answer.
//!
//! `exchange` is the way of a request, `proxy` calls the guest, `body` carries bytes both
//! ways, `instance` is what answers, `resting` keeps some of them, `head` judges headers, `answer` speaks for the runtime, `outgoing` is what a guest
//! gets when it sends requests itself. Knows no sockets: those are `serve`'s.

mod answer;
pub(crate) mod body;
pub(crate) mod exchange;
pub(crate) mod head;
pub(crate) mod instance;
pub(crate) mod outgoing;
pub(crate) mod proxy;
pub(crate) mod resting;

pub use answer::answer;
pub(crate) use answer::refusal;
pub use body::{Body, BodyError};
