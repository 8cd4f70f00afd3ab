//! The running side of Lighterman: one binary, three processes.
//!
//! - **control** observes what is placed on its node, fetches it, verifies it, has it compiled,
//!   and owns secrets, cache, heartbeat and listening sockets.
//! - **worker** runs guests and serves requests. It has no token and no files.
//! - **compiler** turns one verified component into machine code, in a child per compile.
//!
//! They speak the messages of [`message`] over [`transport`]. Under `lighterman run`
//! ([`run_local`]) control and worker share a process over the same messages.
//! `app` lists every task. Nothing here talks to a registry.

mod app;
pub mod args;
pub mod claim;
pub mod compiler;
pub mod config;
pub mod control;
pub mod desired;
mod engine_class;
pub mod ledger;
pub mod memfd;
pub mod message;
pub mod network;
pub mod sandbox;
pub mod source;
pub mod spawner;
pub mod supervisor;
mod text;
pub mod transport;
pub mod worker;

pub use app::{
    Error, Greeted, run_cluster, run_compiler, run_local, run_spawner, run_worker, wait_for_control,
};
pub use config::Config;
pub use desired::{Desired, DesiredPlacement, DesiredRevision, PlacementKey};
pub use source::{Offered, Origin, ReportError, Rules, Sink, Source, SourceError, Trust};
