//! Runs WebAssembly components: wasmtime, its engines, limits, and HTTP in front of them.
//!
//! Takes only what `artifact::verify` let through, gives a component exactly what its
//! `Values` say, and ends every call that goes over its `Limits` without harm to others.
//! Knows neither Kubernetes nor registries. The node agent embeds it; so may any host.

mod admission;
mod call;
mod caller;
mod capability;
pub mod code;
pub mod compile;
mod component;
mod config;
mod cpu;
mod engine;
mod errand;
mod error;
mod guest;
pub mod http;
mod invoke;
mod latency;
mod limits;
mod link;
mod outcome;
mod output;
mod pool;
mod run;
mod runtime;
pub mod serve;
mod ticker;
mod typed;
mod workload;

pub use crate::capability::audit::{
    AuditLevel, AuditRecord, AuditRecords, AuditSink, Capability, Uses,
};
pub use crate::capability::network::{Credential, InvalidCredential, Settings as NetworkSettings};
pub use crate::capability::process::{Exit, NotStarted, ProcessOrder, Signal, Spawner};
pub use caller::Caller;
pub use code::Code;
pub use component::{Component, ProbeFailure};
pub use config::Config;
pub use engine::{EngineClass, WASMTIME_VERSION, bare_engine};
pub use error::{CodeError, CompileError, Error, LoadError};
pub use http::Body;
pub use invoke::{Door, InvokeError, Returned};
pub use outcome::{Outcome, Stats};
pub use output::Output;
pub use run::{Ended, Listener, Ports, Saved, Start, Stop};
pub use runtime::Runtime;
pub use typed::{Function, Strangeness, Unfit, WaveError};
pub use workload::{Identity, Mount, Workload};
