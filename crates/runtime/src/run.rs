//! A component that runs for as long as it likes: its `wasi:cli/run`, or its
//! `lighterman:core/lifecycle`, called once in an instance of its own.
//!
//! There is no request, so nothing of a call's budget holds: no time to answer in, and CPU is a
//! matter of turns alone (`cpu`). Its memory is charged like a call's. How it ended is told;
//! whether it is started again is for whoever started it. `bindings` has its exports, `stop` how
//! it is asked to end, `state` what it hands on, `ports` what it listens on. Called by `component`.

mod bindings;
mod ports;
mod state;
mod stop;

pub(crate) use ports::{Accepted, Listening};
pub use ports::{Listener, Ports};
pub use state::Saved;
pub use stop::Stop;
pub(crate) use stop::link;

use crate::call::{Account, Call};
use crate::caller::Caller;
use crate::cpu::Metered;
use crate::error::LoadError;
use crate::guest::Guest;
use crate::http::proxy::blame;
use crate::outcome::Outcome;
use bindings::{Entry, Exports};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use wasmtime::component::InstancePre;
use wasmtime::{Engine, Store};
use wasmtime_wasi::I32Exit;

/// How long a component may take to save or to restore its state.
const STATE_TIME: Duration = Duration::from_secs(5);

/// How a run is started, beside what its component is given.
#[derive(Debug, Default)]
pub struct Start {
    /// The trigger that its lines name.
    pub caller: Option<Arc<Caller>>,
    /// How it will be asked to end.
    pub stop: Stop,
    /// What the version that it replaces hands on.
    pub state: Option<Saved>,
    /// What it may listen on.
    pub ports: Ports,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    /// `Completed` when the component said that it went well.
    pub outcome: Outcome,
    /// What it said itself: 0 when all went well. None when it was ended.
    pub exit_code: Option<u8>,
    /// What it hands on, if it was asked to and does.
    pub saved: Option<Saved>,
}

/// A component's run, before there is an instance.
pub(crate) struct Command {
    engine: Engine,
    exports: Exports,
}

/// An instance, and the call that it is charged to.
struct Running {
    call: Arc<Call>,
    store: Store<Guest>,
    entry: Entry,
}

/// Why an instance did not come back from what it was called for.
enum Failed {
    /// It has exited.
    Exited(u8),
    Ended(Outcome),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Ended {
    /// It ended for a reason that is not its own word.
    pub(crate) const fn by(outcome: Outcome) -> Ended {
        Ended {
            outcome,
            exit_code: None,
            saved: None,
        }
    }

    /// With this code: 0 says that all went well.
    const fn with_code(code: u8) -> Ended {
        Ended {
            outcome: match code {
                0 => Outcome::Completed,
                _ => Outcome::GuestError,
            },
            exit_code: Some(code),
            saved: None,
        }
    }

    /// Whether the component said that it went well.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.outcome, Outcome::Completed)
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Ended {
        match failed {
            Failed::Exited(code) => Ended::with_code(code),
            Failed::Ended(outcome) => Ended::by(outcome),
        }
    }
}

impl Command {
    pub(crate) fn new(engine: Engine, instance: InstancePre<Guest>) -> Result<Command, LoadError> {
        let exports = Exports::new(instance)?;
        Ok(Command { engine, exports })
    }

    /// Whether it looks for the word to end, so that waiting for it makes sense.
    pub(crate) fn can_be_asked(&self) -> bool {
        self.exports.imports(stop::INTERFACE)
    }

    /// Makes an instance and throws it away.
    pub(crate) async fn instantiate(&self, call: &Arc<Call>) -> wasmtime::Result<()> {
        let mut store = Guest::store(&self.engine, call);
        let made = self.exports.instantiate(&mut store).await;
        made.map(drop).inspect_err(|error| blame(call, error))
    }

    /// Runs once, to its end. `started` is called when there is an instance.
    pub(crate) async fn run(
        &self,
        account: &Arc<Account>,
        start: Start,
        started: impl FnOnce() + Send,
    ) -> Ended {
        let Start {
            caller,
            stop,
            state,
            ports,
        } = start;
        let means = (&stop, &ports);
        let call = || Call::lasting(Arc::clone(account), caller.as_ref());
        let restored = match state {
            Some(saved) if self.exports.has_state() => {
                restored(self.begin(call(), means).await, saved).await
            }
            _ => None,
        };
        let begun = match restored {
            Some(running) => Ok(running),
            None => self.begin(call(), means).await,
        };
        let mut running = match begun {
            Ok(running) => running,
            Err(failed) => return failed.into(),
        };
        started();
        let said = running.execute().await;
        let code = match said {
            Ok(Ok(())) => 0,
            Ok(Err(message)) => {
                running.note(&format!("the run failed: {message}"));
                1
            }
            Err(failed) => return failed.into(),
        };
        let wants_state = stop.wants_state() && code == 0;
        let saved = match wants_state && self.exports.has_state() {
            true => running.save().await,
            false => Ok(None),
        };
        // One that came to grief over it can not be called any more.
        let Ok(saved) = saved else {
            return Ended::with_code(code);
        };
        if let Err(failed) = running.shut_down().await {
            return failed.into();
        }
        Ended {
            saved,
            ..Ended::with_code(code)
        }
    }

    async fn begin(
        &self,
        call: Arc<Call>,
        (stop, ports): (&Stop, &Ports),
    ) -> Result<Running, Failed> {
        let mut store = Guest::store(&self.engine, &call);
        store.data_mut().stop_by(stop.clone());
        store.data_mut().listen_on(ports.clone());
        let entry = metered(&call, self.exports.instantiate(&mut store)).await?;
        Ok(Running { call, store, entry })
    }
}

/// The instance with the state of its predecessor, or none: then another one begins anew.
async fn restored(begun: Result<Running, Failed>, saved: Saved) -> Option<Running> {
    let mut running = begun.ok()?;
    let Running { call, store, entry } = &mut running;
    let restore = metered(call, entry.restore(store, &saved));
    let refusal = match timeout(STATE_TIME, restore).await {
        Ok(Ok(Ok(()))) => {
            running.note("it goes on with the state of the version before");
            return Some(running);
        }
        Ok(Ok(Err(message))) => message,
        Ok(Err(Failed::Exited(code))) => format!("it exited with code {code}"),
        Ok(Err(Failed::Ended(outcome))) => format!("it ended with {outcome}"),
        Err(_) => "it took too long".to_owned(),
    };
    running.note(&format!(
        "it begins anew, without the state of the version before: {refusal}"
    ));
    None
}

impl Running {
    /// Its work: what it says, or that it did not come back.
    async fn execute(&mut self) -> Result<Result<(), String>, Failed> {
        let Running { call, store, entry } = self;
        metered(call, entry.execute(store)).await
    }

    async fn shut_down(&mut self) -> Result<(), Failed> {
        let Running { call, store, entry } = self;
        metered(call, entry.shut_down(store)).await
    }

    /// What it hands on, if it does.
    ///
    /// # Errors
    /// It can not be called any more.
    async fn save(&mut self) -> Result<Option<Saved>, ()> {
        let most = Saved::most(&self.call);
        let Running { call, store, entry } = self;
        store.set_hostcall_fuel(Saved::fuel(most));
        let saving = metered(call, entry.save(store));
        let refusal = match timeout(STATE_TIME, saving).await {
            Ok(Ok(Ok((schema, data)))) => match Saved::hold(&self.call, schema, data, most) {
                Ok(saved) => return Ok(Some(saved)),
                Err(refusal) => refusal,
            },
            Ok(Ok(Err(message))) => message,
            Ok(Err(_)) | Err(_) => {
                self.note("its state is lost: it trapped, took too long or saved too much");
                return Err(());
            }
        };
        self.note(&format!("its state is not handed on: {refusal}"));
        Ok(None)
    }

    /// A word of the runtime among its lines.
    fn note(&self, text: &str) {
        let trigger = self.call.trigger().map(AsRef::as_ref);
        self.call.given().lines.note(text, trigger);
    }
}

/// Drives a guest for as long as it takes; what goes wrong is noted and told apart.
async fn metered<T>(
    call: &Arc<Call>,
    work: impl Future<Output = wasmtime::Result<T>>,
) -> Result<T, Failed> {
    let mut word = None;
    let guest = async {
        match work.await {
            Ok(value) => word = Some(Ok(value)),
            Err(error) => match error.downcast_ref() {
                Some(exit) => word = Some(Err(exit_code(exit))),
                None => {
                    blame(call, &error);
                    return Err(error);
                }
            },
        }
        Ok(())
    };
    let ended = Metered::lasting(Arc::clone(call), guest).await;
    match (ended, word) {
        (Ok(()), Some(Ok(value))) => Ok(value),
        (Ok(()), Some(Err(code))) => Err(Failed::Exited(code)),
        (ended, _) => Err(Failed::Ended(ended.err().unwrap_or(Outcome::HostFault))),
    }
}

/// A code that is none of a process's is a failure all the same.
fn exit_code(exit: &I32Exit) -> u8 {
    u8::try_from(exit.0).unwrap_or(u8::MAX)
}
