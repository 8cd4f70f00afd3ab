//! The way of one request: which revision answers it. Called by the runtime for every request
//! of every connection of a slot; it must stay short, for it is on the path of all of them.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use runtime::serve::Handler;
use runtime::{Body, Caller};

use super::slot::Slot;
use crate::ledger::Ledger;

/// Answers the requests of one slot.
#[derive(Clone)]
pub(super) struct Dispatch {
    slot: Arc<Slot>,
    caller: Arc<Caller>,
    ledger: Option<Ledger>,
}

impl Dispatch {
    /// For connections that come to a trigger of a slot.
    pub(super) fn new(slot: Arc<Slot>, trigger: Arc<str>, ledger: Option<Ledger>) -> Self {
        let address = None;
        Self {
            slot,
            caller: Arc::new(Caller { trigger, address }),
            ledger,
        }
    }

    /// For the connection from one address.
    pub(super) fn from(&self, peer: IpAddr) -> Self {
        let caller = Caller {
            trigger: Arc::clone(&self.caller.trigger),
            address: Some(peer.to_canonical()),
        };
        Self {
            caller: Arc::new(caller),
            ..self.clone()
        }
    }
}

impl Handler for Dispatch {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let Some(serving) = self.slot.pick() else {
            return unavailable(
                "Preparing",
                "no revision of this component serves on this node",
            );
        };
        let answer = serving.component().handle_for(Some(&self.caller), request);
        match &self.ledger {
            Some(ledger) => ledger.record(self.slot.id(), answer).await,
            None => answer.await,
        }
    }
}

/// An answer of our own, in the form of the runtime's.
fn unavailable(reason: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "reason": reason, "message": message }).to_string();
    let mut response = Response::new(Body::text(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
