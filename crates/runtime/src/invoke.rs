//! Functions that a component exports, called with values from outside: each call has an
//! instance of its own, and the limits of any other call.
//!
//! `typed` knows the functions and their values, `exchange` is the way of a call over HTTP,
//! `door` what is offered where, `openapi` how that is described. Called by `component`.

mod door;
mod exchange;
mod openapi;

pub use door::Door;
use door::Offered;
pub(crate) use exchange::exchange;

use crate::call::{Account, Call};
use crate::cpu::{Metered, join_line};
use crate::error::LoadError;
use crate::guest::Guest;
use crate::http::exchange::is_cut;
use crate::http::proxy::blame;
use crate::outcome::Outcome;
use crate::typed::{Contract, Function, Unfit, WaveError, wave};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout_at;
use wasmtime::Engine;
use wasmtime::component::{InstancePre, Val};

/// A component's functions, before there is an instance.
pub(crate) struct Invoke {
    engine: Engine,
    instance: InstancePre<Guest>,
    contract: Contract,
    /// By trigger.
    doors: BTreeMap<Arc<str>, Offered>,
}

/// The functions of a loaded component, and what their calls are charged to.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) invoke: Invoke,
    pub(crate) account: Arc<Account>,
    /// Becomes true when no call may go on.
    pub(crate) cut: watch::Sender<bool>,
}

/// What a function gave, in both notations. None: it gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// In the notation of WIT.
    pub wave: Option<String>,
    /// As JSON.
    pub json: Option<String>,
    /// Whether it is the error of a `result`.
    pub is_error: bool,
}

/// Why a function was not called, or gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum InvokeError {
    /// It is of no use outside of its component.
    #[error("{function} can not be called: {unfit}")]
    Unfit {
        /// The function.
        function: String,
        /// Why.
        unfit: Unfit,
    },
    /// What was typed does not fit.
    #[error(transparent)]
    Wave(#[from] WaveError),
    /// The call ended.
    #[error("the call ended with {outcome}: {}", .outcome.message())]
    Ended {
        /// How.
        outcome: Outcome,
    },
}

impl From<Outcome> for InvokeError {
    fn from(outcome: Outcome) -> InvokeError {
        InvokeError::Ended { outcome }
    }
}

impl std::fmt::Debug for Invoke {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Invoke")
    }
}

impl Invoke {
    /// All functions that there are, for whoever holds the component in their hands.
    pub(crate) fn all(engine: Engine, instance: InstancePre<Guest>) -> Invoke {
        let contract = Contract::of(&engine, instance.component(), |_| true);
        Invoke {
            engine,
            instance,
            contract,
            doors: BTreeMap::new(),
        }
    }

    /// Those that doors offer.
    ///
    /// # Errors
    /// When an interface is not there, or has a function that no caller could call.
    pub(crate) fn behind(
        engine: Engine,
        instance: InstancePre<Guest>,
        component: &str,
        doors: &[Door],
    ) -> Result<Invoke, LoadError> {
        let exports = door::exports(&engine, instance.component());
        let interfaces = door::interfaces(&exports, doors)?;
        let contract = Contract::of(&engine, instance.component(), |name| {
            name.is_some_and(|name| interfaces.iter().any(|(_, exported)| exported == name))
        });
        let mut offered = BTreeMap::new();
        for door in doors {
            let offer = Offered::new(component, door, &interfaces, &contract)?;
            offered.insert(Arc::clone(&door.trigger), offer);
        }
        Ok(Invoke {
            engine,
            instance,
            contract,
            doors: offered,
        })
    }

    pub(crate) fn functions(&self) -> &[Function] {
        self.contract.functions()
    }

    /// Whether this trigger leads here.
    pub(crate) fn has_door(&self, trigger: &str) -> bool {
        self.doors.contains_key(trigger)
    }

    /// Makes an instance and throws it away.
    pub(crate) async fn instantiate(&self, call: &Arc<Call>) -> wasmtime::Result<()> {
        let mut store = Guest::store(&self.engine, call);
        let made = self.instance.instantiate_async(&mut store).await;
        made.map(drop).inspect_err(|error| blame(call, error))
    }

    async fn enter(
        &self,
        call: &Arc<Call>,
        function: &Function,
        gives: bool,
        arguments: &[Val],
    ) -> wasmtime::Result<Option<Val>> {
        join_line(call).await;
        let mut store = Guest::store(&self.engine, call);
        let instance = self.instance.instantiate_async(&mut store).await?;
        let func = instance
            .get_func(&mut store, function.index)
            .ok_or_else(|| wasmtime::Error::msg("the function is not where it was"))?;
        // Overwritten: whatever it is.
        let mut results = vec![Val::Bool(false); usize::from(gives)];
        func.call_async(&mut store, arguments, &mut results).await?;
        Ok(results.pop())
    }
}

impl Calls {
    /// Has a function called once, and notes in the call how that ended.
    async fn perform(
        &self,
        call: &Arc<Call>,
        function: &Function,
        gives: bool,
        arguments: &[Val],
    ) -> Result<Option<Val>, Outcome> {
        let mut given = None;
        let guest = async {
            let entered = self.invoke.enter(call, function, gives, arguments).await;
            given = entered.inspect_err(|error| blame(call, error))?;
            Ok(())
        };
        Metered::new(Arc::clone(call), guest).await?;
        Ok(given)
    }

    /// As long as a call may take and may go on.
    async fn in_time<T>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T, Outcome>>,
    ) -> Result<T, Outcome> {
        let limits = &self.account.given.workload.limits;
        let deadline = call.started() + limits.per_call.timeout.0;
        let ended = tokio::select! {
            biased;
            ended = timeout_at(deadline.into(), work) => {
                ended.unwrap_or(Err(Outcome::TimeoutExceeded))
            }
            () = is_cut(&self.cut) => Err(Outcome::Truncated),
        };
        // The guest may have ended well although its call was ended under its hands.
        let ended = match call.ended_by() {
            Some(outcome) => Err(outcome),
            None => ended,
        };
        ended.inspect_err(|outcome| {
            call.end(*outcome);
            call.count(*outcome);
        })
    }

    /// Calls a function as it is typed: `add(1, 2)`.
    ///
    /// # Errors
    /// When it can not be called so, or the call ended.
    pub(crate) async fn typed(
        &self,
        function: &Function,
        text: &str,
    ) -> Result<Returned, InvokeError> {
        let unfit = |unfit| InvokeError::Unfit {
            function: function.to_string(),
            unfit,
        };
        let signature = function.signature().map_err(unfit)?;
        let arguments = wave::arguments(signature, text)?;
        let _slot = self.account.slots.take().await?;
        let call = Call::new(Arc::clone(&self.account), None);
        let gives = signature.result.is_some();
        let performed = self.perform(&call, function, gives, &arguments);
        let value = self.in_time(&call, performed).await?;
        call.answered(false);
        call.count(Outcome::Completed);
        let (wave, json) = match (&signature.result, &value) {
            (Some(shape), Some(value)) => {
                let json = crate::typed::write(shape, value, &mut |_| true);
                let json = json.map_err(|_| Outcome::HostFault)?;
                let json = String::from_utf8_lossy(&json).into_owned();
                (Some(wave::write(value)?), Some(json))
            }
            _ => (None, None),
        };
        Ok(Returned {
            wave,
            json,
            is_error: matches!(value, Some(Val::Result(Err(_)))),
        })
    }
}
