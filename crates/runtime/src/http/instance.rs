//! One instance of a component in its store, and how it is asked for an answer.
//!
//! wasi:http 0.2 answers through an out-parameter, 0.3 by returning. Made by `proxy`; most
//! instances answer once, some wait in `resting` between their requests.

use super::body::RequestBody;
use crate::call::Call;
use crate::guest::Guest;
use crate::outcome::Outcome;
use bytes::Bytes;
use futures::future::Either;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime::component::Resource;
use wasmtime::{Engine, Store};
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::p2::bindings::{Proxy, ProxyPre};
use wasmtime_wasi_http::p2::types::{HostIncomingRequest, HostResponseOutparam};
use wasmtime_wasi_http::p3::bindings::{Service, ServicePre};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

/// A body that a guest writes.
pub(super) type GuestBody = WasiBody;
/// A response, or the guest's word that there is none.
pub(super) type Head = Result<Response<GuestBody>, ()>;

/// A component's handler, before there is an instance.
pub(crate) enum Handler {
    P2(ProxyPre<Guest>),
    P3(ServicePre<Guest>),
}

/// An instance and the store that it lives in.
pub(super) struct Instance {
    store: Store<Guest>,
    exports: Exports,
    /// Requests that it was given.
    served: u32,
}

/// A head that is still to come.
struct Answering {
    head: oneshot::Sender<Head>,
    answered: Option<Arc<AtomicBool>>,
}

enum Exports {
    P2(Proxy),
    P3(Service),
}

impl Instance {
    pub(super) async fn new(
        engine: &Engine,
        handler: &Handler,
        call: &Arc<Call>,
    ) -> wasmtime::Result<Instance> {
        let mut store = Guest::store(engine, call);
        let exports = match handler {
            Handler::P2(pre) => Exports::P2(pre.instantiate_async(&mut store).await?),
            Handler::P3(pre) => Exports::P3(pre.instantiate_async(&mut store).await?),
        };
        Ok(Instance {
            store,
            exports,
            served: 0,
        })
    }

    pub(super) fn guest(&self) -> &Guest {
        self.store.data()
    }

    pub(super) fn served(&self) -> u32 {
        self.served
    }

    /// Charges what it holds to another call, under whose limits it goes on.
    ///
    /// # Errors
    /// The limit that leaves no room for it.
    pub(super) fn renew(&mut self, call: &Arc<Call>) -> Result<(), Outcome> {
        self.store.data_mut().renew(call)?;
        Guest::refuel(&mut self.store);
        Ok(())
    }

    /// Calls the handler with one request. The head is sent as soon as the guest gives it;
    /// the future ends when the guest has. `answered` becomes true with the head, and is held
    /// as long as one can come.
    pub(super) fn answer<B>(
        &mut self,
        request: Request<RequestBody<B>>,
        head: oneshot::Sender<Head>,
        answered: Option<Arc<AtomicBool>>,
    ) -> impl Future<Output = wasmtime::Result<()>> + Send + use<'_, B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let Instance {
            store,
            exports,
            served,
        } = self;
        *served += 1;
        let head = Answering { head, answered };
        // What can be done at once is done before there is a future: it is made for each call,
        // and carries the room for whatever it captures.
        match exports {
            Exports::P2(proxy) => {
                let lowered = lower_p2(store, request, head);
                Either::Left(async move {
                    let (request, outparam) = lowered?;
                    let handler = proxy.wasi_http_incoming_handler();
                    handler.call_handle(store, request, outparam).await
                })
            }
            Exports::P3(service) => Either::Right(Box::pin(call_p3(service, store, request, head))),
        }
    }
}

/// What a handler of 0.2 is called with. No part of the future that waits for the guest.
fn lower_p2<B>(
    store: &mut Store<Guest>,
    request: Request<RequestBody<B>>,
    head: Answering,
) -> wasmtime::Result<(
    Resource<HostIncomingRequest>,
    Resource<HostResponseOutparam>,
)>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let outparam = http.new_response_outparam_from_callback(move |response| {
        head.send(response.map_err(drop));
    })?;
    Ok((request, outparam))
}

async fn call_p3<B>(
    service: &Service,
    store: &mut Store<Guest>,
    request: Request<RequestBody<B>>,
    head: Answering,
) -> wasmtime::Result<()>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    use wasmtime_wasi_http::p3;

    let (request, received) = p3::Request::from_http(store.data_mut().http().hooks, request);
    store
        .run_concurrent(async |accessor| {
            let response = match service.handle(accessor, request).await? {
                Ok(response) => response,
                Err(_code) => {
                    head.send(Err(()));
                    return Ok(());
                }
            };
            let response = accessor.with(|mut store| response.into_http(&mut store, received))?;
            let (read, sent) = oneshot::channel();
            let response = response.map(|body| Watched { body, _read: read }.boxed_unsync());
            head.send(Ok(response));
            // The store must go on while the body is read, and while tasks of the guest run.
            let _ = sent.await;
            poll_fn(|context| accessor.poll_no_interesting_tasks(context)).await;
            Ok(())
        })
        .await?
}

impl Answering {
    fn send(self, head: Head) {
        if let (Ok(_), Some(answered)) = (&head, &self.answered) {
            answered.store(true, Ordering::Relaxed);
        }
        // The receiver is gone when the call was given up.
        let _ = self.head.send(head);
    }
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
