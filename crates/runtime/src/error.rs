//! What can go wrong before a component serves: making the runtime, compiling, mapping, linking.
//!
//! What goes wrong while it serves is an `Outcome`, not an error.

use std::io;

/// Why a `Runtime` could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// wasmtime refused the configuration, or the pools did not fit into the address space.
    #[error("the {class} engine could not be made: {source}; lower the sizes in runtime::Config")]
    Engine {
        /// Name of the engine class.
        class: &'static str,
        /// What wasmtime said.
        source: wasmtime::Error,
    },
    /// The thread that advances the epochs could not be started.
    #[error("the epoch thread could not be started: {0}")]
    Ticker(#[source] io::Error),
    /// The thread that writes guest output could not be started.
    #[error("the output thread could not be started: {0}")]
    Output(#[source] io::Error),
}

/// Why bytes did not become machine code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The compiler could not be set up.
    #[error("the compiler could not be set up: {0}")]
    Engine(#[source] wasmtime::Error),
    /// The component does not compile for this engine class.
    #[error("the component does not compile: {0:#}")]
    Refused(#[source] wasmtime::Error),
}

/// Why machine code is not accepted as a sealed `Code`.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// The memory-backed file could not be made, written or sealed.
    #[error("the memory for machine code could not be {doing}: {source}")]
    Memory {
        /// What was being done.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// More machine code than any known component has.
    #[error("{bytes} bytes of machine code are more than {} MiB; split the component", crate::code::MACHINE_CODE_MAX >> 20)]
    TooLarge {
        /// How many there are.
        bytes: usize,
    },
    /// The file could still change after it has been checked.
    #[error(
        "the file of machine code is not sealed against {missing}; it must come from Code::seal"
    )]
    Unsealed {
        /// The seals that are missing.
        missing: String,
    },
}

/// Why a component could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Machine code of another engine, or damaged.
    #[error("the machine code does not fit this engine: {0:#}; compile it again")]
    Incompatible(#[source] wasmtime::Error),
    /// The component imports what it was not given.
    #[error("the component imports {import}, which was not granted; {mend}")]
    ImportNotGranted {
        /// The interface as the component names it.
        import: String,
        /// What would mend it.
        mend: &'static str,
    },
    /// Neither `wasi:http/incoming-handler` nor `wasi:http/handler` is exported.
    #[error(
        "the component exports no wasi:http handler of the {class} engine; it can not be served over HTTP"
    )]
    NoHandler {
        /// Name of the engine class.
        class: &'static str,
    },
    /// Neither `wasi:cli/run` of WASI 0.2 nor `lighterman:core/lifecycle` is exported.
    #[error(
        "the component exports neither wasi:cli/run of WASI 0.2 nor lighterman:core/lifecycle; it can not be run"
    )]
    NoRun,
    /// No interface of that name and version is exported.
    #[error(
        "the component exports no {wanted}; it exports {}", if .exported.is_empty() { "no interface" } else { .exported }
    )]
    NoInterface {
        /// What was asked for.
        wanted: String,
        /// What there is.
        exported: String,
    },
    /// An interface has a function that nobody could call from outside.
    #[error("{function} can not be called from outside: {unfit}; offer an interface without it")]
    Unfit {
        /// The function, with its interface.
        function: String,
        /// Why.
        unfit: crate::typed::Unfit,
    },
    /// The component needs an engine that is switched off.
    #[error(
        "the component needs WASI 0.3, which is off on this node; start the agent with --p3 or build for WASI 0.2"
    )]
    P3Off,
    /// Instructions are to be counted by code that does not, or the other way round.
    #[error(
        "the machine code is of the {class} engine, and resources.perCall.fuel wants another; compile it again"
    )]
    Metering {
        /// Name of the engine class.
        class: &'static str,
    },
    /// Memory that the component has from the start is more than a call may hold.
    #[error(
        "the component starts with {needed} bytes of memory, but perCall.memory is {allowed}; raise resources.perCall.memory"
    )]
    MemoryTooSmall {
        /// Bytes of initial memory.
        needed: u64,
        /// Bytes a call may hold.
        allowed: u64,
    },
    /// The directory of a volume can not be used.
    #[error("the directory of volume {volume} can not be used: {source}")]
    Volume {
        /// Name of the volume.
        volume: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// wasmtime could not link or map it.
    #[error("the component could not be linked: {0:#}")]
    Link(#[source] wasmtime::Error),
}
