//! Calls a guest's handler: an instance, one call, and in most cases all of it dropped.
//!
//! Whatever goes wrong is noted in the call before the store is dropped, so that whoever
//! reads the body knows.

use super::body::RequestBody;
use super::instance::{Handler, Head, Instance};
use super::resting::Resting;
use crate::admission::Slot;
use crate::call::Call;
use crate::cpu::join_line;
use crate::outcome::Outcome;
use crate::pool::PoolExhausted;
use bytes::Bytes;
use http::Request;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::oneshot;
use wasmtime::{Engine, PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

/// A component that is ready to be instantiated and called.
pub(crate) struct Proxy {
    engine: Engine,
    handler: Handler,
    /// None: every request gets an instance of its own.
    resting: Option<Arc<Resting>>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy")
    }
}

impl Proxy {
    pub(crate) fn new(engine: Engine, handler: Handler, resting: Option<Arc<Resting>>) -> Proxy {
        Proxy {
            engine,
            handler,
            resting,
        }
    }

    /// Drops the instances that wait for a request.
    pub(crate) fn dismiss(&self) {
        if let Some(resting) = &self.resting {
            resting.dismiss();
        }
    }

    /// Makes an instance and throws it away.
    pub(crate) async fn instantiate(&self, call: &Arc<Call>) -> wasmtime::Result<()> {
        let made = Instance::new(&self.engine, &self.handler, call).await;
        made.map(drop).inspect_err(|error| blame(call, error))
    }

    /// Has one request answered. The head is sent as soon as the guest gives it; the future
    /// ends when the guest has.
    pub(super) fn call<B>(
        self: &Arc<Proxy>,
        call: &Arc<Call>,
        slot: Option<Slot>,
        request: Request<RequestBody<B>>,
        head: oneshot::Sender<Head>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'static + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let proxy = Arc::clone(self);
        let call = Arc::clone(call);
        async move {
            join_line(&call).await;
            let result = match &proxy.resting {
                None => match Instance::new(&proxy.engine, &proxy.handler, &call).await {
                    Ok(mut fresh) => fresh.answer(request, head, None).await,
                    Err(error) => Err(error),
                },
                // Boxed: most components keep no instance, and do not need the room.
                Some(resting) => Box::pin(proxy.answer_again(resting, &call, request, head)).await,
            };
            if let Err(error) = &result {
                blame(&call, error);
            }
            drop(slot);
            result
        }
    }

    /// By an instance that has answered before, if one rests; and it may rest afterwards.
    async fn answer_again<B>(
        &self,
        resting: &Arc<Resting>,
        call: &Arc<Call>,
        mut request: Request<RequestBody<B>>,
        head: oneshot::Sender<Head>,
    ) -> wasmtime::Result<()>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let mut instance = match resting.wake(call) {
            Some(instance) => instance,
            None => Instance::new(&self.engine, &self.handler, call).await?,
        };
        let answered = Arc::new(AtomicBool::new(false));
        request.body_mut().hold(Arc::clone(&answered));
        let watch = Some(Arc::clone(&answered));
        instance.answer(request, head, watch).await?;
        // A guest that has kept the request's body holds up its connection.
        let nothing_kept = Arc::strong_count(&answered) == 1;
        if nothing_kept && answered.load(Ordering::Relaxed) && call.ended_by().is_none() {
            resting.rest(instance);
        }
        Ok(())
    }
}

/// Finds the reason for an error of wasmtime, notes it in the call and tells the owner.
pub(crate) fn blame(call: &Call, error: &wasmtime::Error) {
    if call.ended_by().is_none() {
        call.end(reason(call, error));
    }
    // The root says what happened; the backtrace above it is mostly shims.
    call.given().lines.note(
        &format!("the call ended: {}", error.root_cause()),
        call.trigger().map(AsRef::as_ref),
    );
}

fn reason(call: &Call, error: &wasmtime::Error) -> Outcome {
    let exhausted = error.is::<PoolExhausted>()
        || error.is::<PoolConcurrencyLimitError>()
        || error.root_cause().to_string() == PoolExhausted.to_string();
    if exhausted {
        return Outcome::NodeSaturated;
    }
    if error.downcast_ref() == Some(&Trap::OutOfFuel) {
        return Outcome::FuelExhausted;
    }
    if error.is::<I32Exit>() {
        return Outcome::GuestError;
    }
    call.denied().unwrap_or(Outcome::Trapped)
}
