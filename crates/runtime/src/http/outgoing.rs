//! Requests that a guest sends: judged, sent on the component's own connections, and in time.
//!
//! Only scheme, host and port decide, as they were read once; the target is then written
//! anew. Redirects are the guest's to follow, as requests of their own. What is refused is an
//! ordinary error of wasi:http and a record. Also which headers a guest can neither set nor
//! see. Linked for every component by `link`, for WASI 0.2 and 0.3.

mod fault;
mod request;
mod response;
mod scrub;
mod target;

pub(crate) use request::RequestBody;
pub(crate) use target::Target;

use crate::call::Call;
use crate::capability::audit::Capability;
use crate::capability::network::{Credential, Network};
use crate::errand::Errand;
use capability::{Destination, Rule};
use fault::{dial_fault, request_fault};
use http::header::{self, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::capture_connection;
use request::Sent;
use response::ResponseBody;
use scrub::Scrubber;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpHooks,
};

/// Bytes of a body that a guest hands over at once.
const CHUNK_SIZE: usize = 64 * 1024;
/// Chunks that wait for the caller: with the one in flight, what a slow caller can make the
/// host hold per call.
const CHUNKS: usize = 2;
/// Bytes of a body that can wait in the host while its guest writes on.
pub(super) const WAITING_MAX: usize = (CHUNKS + 1) * CHUNK_SIZE;

/// A request that may be sent.
struct Admitted {
    network: Arc<Network>,
    request: Request<WasiBody>,
    /// Headers that must not pass as trailers either.
    withheld: Arc<[HeaderName]>,
    /// What must not come back.
    scrubber: Option<Scrubber>,
}

/// How long each part may take: the host's limits, or less where the guest asks for less.
struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

type Sending = Box<
    dyn Future<
            Output = Result<(
                Response<WasiBody>,
                Box<dyn Future<Output = Result<()>> + Send>,
            )>,
        > + Send,
>;

impl Errand {
    /// Judges a request and makes it what is sent.
    fn admit(&self, mut request: Request<WasiBody>) -> Result<Admitted> {
        let delivered = self.call().given().delivered();
        let network = delivered.network();
        let caller = self.call().caller();
        let deny = |rule: Rule| {
            let object = request
                .uri()
                .authority()
                .map_or("", |authority| authority.as_str());
            network.dialer.deny(object, rule, caller);
            Error::HttpRequestDenied
        };
        if is_refused(request.method()) {
            return Err(deny(Rule::MethodRefused));
        }
        // Two lengths are two messages to two readers.
        let lengths = request.headers().get_all(header::CONTENT_LENGTH);
        if lengths.iter().count() > 1 {
            return Err(deny(Rule::Malformed));
        }
        let target = Target::parse(request.uri()).map_err(|_| deny(Rule::Malformed))?;
        let uri = written_anew(&target, request.uri()).ok_or_else(|| deny(Rule::Malformed))?;
        let destination = target.destination();
        network
            .dialer
            .admit(&destination, caller)
            .map_err(|error| dial_fault(&error))?;
        *request.uri_mut() = uri;
        super::head::strip(request.headers_mut());
        // The client writes it from the target.
        request.headers_mut().remove(header::HOST);
        let credentials = &delivered.credentials;
        for credential in credentials {
            request.headers_mut().remove(credential.header());
        }
        let mine: Vec<_> = credentials
            .iter()
            .filter(|one| one.is_for(&destination))
            .collect();
        for credential in &mine {
            self.lend(credential, &destination, &mut request);
        }
        if !mine.is_empty() {
            // What is compressed can not be looked through.
            let identity = HeaderValue::from_static("identity");
            request
                .headers_mut()
                .insert(header::ACCEPT_ENCODING, identity);
        }
        let secrets = mine.iter().map(|one| Arc::clone(one.secret())).collect();
        Ok(Admitted {
            network: Arc::clone(network),
            request,
            withheld: credentials.iter().map(|one| one.header().clone()).collect(),
            scrubber: Scrubber::new(secrets),
        })
    }

    /// Adds a credential to a request to its host, and says so.
    fn lend(
        &self,
        credential: &Credential,
        destination: &Destination,
        request: &mut Request<WasiBody>,
    ) {
        let applies = credential.applies(request.method(), request.uri());
        if applies {
            let (name, value) = (credential.header().clone(), credential.value().clone());
            request.headers_mut().insert(name, value);
        }
        // Otherwise the request goes without it.
        let rule = match applies {
            true => Rule::Granted,
            false => Rule::MethodRefused,
        };
        let object = format!("{} for {destination}", credential.header());
        let audit = &self.call().given().audit;
        audit.note(Capability::Credential, &object, rule, self.call().caller());
    }
}

/// Tunnels, echoes of the request: CONNECT would carry anything, TRACE shows the credential.
/// Some servers read methods without regard to case.
fn is_refused(method: &Method) -> bool {
    [Method::CONNECT, Method::TRACE]
        .iter()
        .any(|refused| refused.as_str().eq_ignore_ascii_case(method.as_str()))
}

/// The URI with the authority that was judged, and nothing else that could be read as one.
fn written_anew(target: &Target, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().cloned();
    Uri::builder()
        .scheme(target.scheme())
        .authority(target.authority()?)
        .path_and_query(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .ok()
}

impl Times {
    fn new(network: &Network, options: Option<RequestOptions>) -> Times {
        let settings = network.settings();
        let asked = options.unwrap_or_default();
        let least = |limit: Duration, asked: Option<Duration>| {
            asked.map_or(limit, |asked| asked.min(limit))
        };
        Times {
            connect: least(settings.connect, asked.connect_timeout),
            first_byte: least(settings.first_byte, asked.first_byte_timeout),
            between_bytes: least(settings.between_bytes, asked.between_bytes_timeout),
        }
    }
}

impl Admitted {
    async fn send(self, times: Times, call: Arc<Call>) -> Result<Response<WasiBody>> {
        let network = &self.network;
        let queue = Instant::now() + times.first_byte;
        let place = network.in_flight.take(queue).await;
        let place = place.ok_or(Error::ConnectionLimitReached)?;
        let sent = Sent::new();
        let withheld = self.withheld;
        let (activity, payer) = (Arc::clone(&sent), Arc::clone(&call));
        let request = self
            .request
            .map(|body| RequestBody::new(body, withheld, activity, payer));
        let response = exchange(network, request, &sent, &times).await?;
        // A switch of protocols that nobody asked for.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::HttpProtocolError);
        }
        let (mut parts, body) = response.into_parts();
        super::head::strip(&mut parts.headers);
        if let Some(scrubber) = &self.scrubber {
            scrubber.headers(&mut parts.headers);
        }
        let body = ResponseBody::new(body, self.scrubber, times.between_bytes, call, place);
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// Sends a request and waits for the head of its response.
async fn exchange(
    network: &Network,
    mut request: Request<RequestBody>,
    sent: &Sent,
    times: &Times,
) -> Result<Response<Incoming>> {
    let mut connection = capture_connection(&mut request);
    let mut sending = pin!(network.client().request(request));
    tokio::select! {
        biased;
        response = &mut sending => return response.map_err(|error| request_fault(&error)),
        connected = timeout(times.connect, connection.wait_for_connection_metadata()) => {
            if connected.is_err() {
                return Err(Error::ConnectionTimeout);
            }
        }
    }
    let connected = Instant::now();
    loop {
        let late = sent.last().max(connected) + times.first_byte;
        tokio::select! {
            biased;
            response = &mut sending => return response.map_err(|error| request_fault(&error)),
            // The guest may have gone on sending meanwhile.
            () = sleep_until(late) => if sent.last() + times.first_byte <= late {
                return Err(Error::HttpResponseTimeout);
            }
        }
    }
}

impl WasiHttpHooks for Errand {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        super::head::is_ours(name)
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        static FILTER: LazyLock<ForbiddenHeaderFilter> =
            LazyLock::new(|| Arc::new(super::head::is_ours));
        Arc::clone(&FILTER)
    }

    fn is_supported_scheme(&mut self, scheme: &Scheme) -> bool {
        *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Sending {
        let admitted = self.admit(request);
        let call = Arc::clone(self.call());
        Box::new(async move {
            let admitted = admitted?;
            let times = Times::new(&admitted.network, options);
            let response = admitted.send(times, call).await?;
            // The connection is driven by the client, for as long as the body is held.
            let nothing: Box<dyn Future<Output = Result<()>> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_SIZE
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_SIZE
    }
}
