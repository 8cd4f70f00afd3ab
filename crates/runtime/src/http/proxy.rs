//! Calls a guest's handler: a new store, an instance, one call, and all of it dropped.
//!
//! wasi:http 0.2 answers through an out-parameter, 0.3 by returning. Whatever goes wrong is
//! noted in the call before the store is dropped, so that whoever reads the body knows.

use super::body::RequestBody;
use crate::admission::Slot;
use crate::call::Call;
use crate::cpu::join_line;
use crate::guest::{Given, Guest};
use crate::outcome::Outcome;
use crate::pool::PoolExhausted;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::{Engine, PoolConcurrencyLimitError, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p3::bindings::ServicePre;
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

/// A body that a guest writes.
pub(super) type GuestBody = WasiBody;
/// A response, or the guest's word that there is none.
pub(super) type Head = Result<Response<GuestBody>, ()>;

/// A component that is ready to be instantiated and called.
pub(crate) struct Proxy {
    engine: Engine,
    handler: Handler,
}

pub(crate) enum Handler {
    P2(ProxyPre<Guest>),
    P3(ServicePre<Guest>),
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proxy")
    }
}

impl Proxy {
    pub(crate) fn new(engine: Engine, handler: Handler) -> Proxy {
        Proxy { engine, handler }
    }

    /// Makes an instance and throws it away.
    pub(crate) async fn instantiate(
        &self,
        given: &Arc<Given>,
        call: &Arc<Call>,
    ) -> wasmtime::Result<()> {
        let mut store = Guest::store(&self.engine, given, call);
        let made = match &self.handler {
            Handler::P2(pre) => pre.instantiate_async(&mut store).await.map(drop),
            Handler::P3(pre) => pre.instantiate_async(&mut store).await.map(drop),
        };
        made.inspect_err(|error| blame(given, call, error))
    }

    /// Calls the handler with one request. The head is sent as soon as the guest gives it;
    /// the future ends when the guest has.
    pub(super) fn call<B>(
        self: &Arc<Proxy>,
        given: &Arc<Given>,
        call: &Arc<Call>,
        slot: Option<Slot>,
        request: Request<RequestBody<B>>,
        head: oneshot::Sender<Head>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + 'static + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let proxy = Arc::clone(self);
        let given = Arc::clone(given);
        let call = Arc::clone(call);
        async move {
            join_line(&call).await;
            let mut store = Guest::store(&proxy.engine, &given, &call);
            let result = match &proxy.handler {
                Handler::P2(pre) => call_p2(pre, &mut store, request, head).await,
                Handler::P3(pre) => call_p3(pre, &mut store, request, head).await,
            };
            if let Err(error) = &result {
                blame(&given, &call, error);
            }
            drop(store);
            drop(slot);
            result
        }
    }
}

async fn call_p2<B>(
    pre: &ProxyPre<Guest>,
    store: &mut Store<Guest>,
    request: Request<RequestBody<B>>,
    head: oneshot::Sender<Head>,
) -> wasmtime::Result<()>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let outparam = http.new_response_outparam_from_callback(move |response| {
        // The receiver is gone when the call was given up.
        let _ = head.send(response.map_err(drop));
    })?;
    let proxy = pre.instantiate_async(&mut *store).await?;
    proxy
        .wasi_http_incoming_handler()
        .call_handle(store, request, outparam)
        .await
}

async fn call_p3<B>(
    pre: &ServicePre<Guest>,
    store: &mut Store<Guest>,
    request: Request<RequestBody<B>>,
    head: oneshot::Sender<Head>,
) -> wasmtime::Result<()>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    use wasmtime_wasi_http::p3;

    let service = pre.instantiate_async(&mut *store).await?;
    let (request, received) = p3::Request::from_http(store.data_mut().http().hooks, request);
    store
        .run_concurrent(async |accessor| {
            let response = match service.handle(accessor, request).await? {
                Ok(response) => response,
                Err(_code) => {
                    let _ = head.send(Err(()));
                    return Ok(());
                }
            };
            let response = accessor.with(|mut store| response.into_http(&mut store, received))?;
            let (read, sent) = oneshot::channel();
            let response = response.map(|body| Watched { body, _read: read }.boxed_unsync());
            let _ = head.send(Ok(response));
            // The store must go on while the body is read, and while tasks of the guest run.
            let _ = sent.await;
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            Ok(())
        })
        .await?
}

/// A body whose end is heard of: the sender is dropped with it.
struct Watched {
    body: GuestBody,
    _read: oneshot::Sender<()>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Finds the reason for an error of wasmtime, notes it in the call and tells the owner.
fn blame(given: &Given, call: &Call, error: &wasmtime::Error) {
    if call.ended_by().is_none() {
        call.end(reason(call, error));
    }
    // The root says what happened; the backtrace above it is mostly shims.
    given.lines.note(
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
    if error.is::<I32Exit>() {
        return Outcome::GuestError;
    }
    call.denied().unwrap_or(Outcome::Trapped)
}
