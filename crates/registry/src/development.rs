//! A registry in memory, for tests, for `lighterman registry` and for a first
//! try without installing anything. It speaks the OCI distribution
//! specification with real clients (cosign, wkg, crane), can ask for
//! credentials, and can misbehave on request. It is not for production: what it
//! holds is gone when it stops.

mod access;
mod blobs;
mod fault;
mod manifests;
mod response;
mod route;
mod serve;
mod store;
mod tls;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::ServerConfig;

pub use access::{Access, Account};
pub use fault::{Fault, Faults, Rule};

use access::Tokens;
use store::Store;
use tls::TlsListener;

/// Requests remembered for a test to look at; the oldest give way.
const RECORDED_MAX: usize = 4096;
/// How long answers under way may take to end when it stops.
const STOP_MAX: Duration = Duration::from_secs(2);

/// How a development registry behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether it has the referrers API; without it clients use the fallback tag.
    pub referrers: bool,
    /// Entries per page of the referrers API; all on one page when absent.
    pub referrers_page: Option<usize>,
    /// Who may do what.
    pub access: Access,
    /// Serves TLS with this configuration instead of plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// How it misbehaves.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            referrers: true,
            referrers_page: None,
            access: Access::Open,
            tls: None,
            faults: Faults::default(),
        }
    }
}

/// One request that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The method.
    pub method: http::Method,
    /// The path without query.
    pub path: String,
    /// The scheme of the credentials it carried (`Basic`, `Bearer`), if any.
    pub authorization: Option<String>,
}

/// A running registry. Dropping it stops it.
#[derive(Debug)]
pub struct DevelopmentRegistry {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    referrers: bool,
    referrers_page: Option<usize>,
    access: Access,
    /// `http://host:port` or `https://host:port`, when the client names no host.
    origin: String,
    state: Mutex<State>,
}

/// What changes while it runs.
#[derive(Debug, Default)]
struct State {
    store: Store,
    tokens: Tokens,
    faults: Faults,
    recorded: VecDeque<Recorded>,
}

impl DevelopmentRegistry {
    /// Starts a registry at `address`; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let scheme = if options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let shared = Arc::new(Shared {
            referrers: options.referrers,
            referrers_page: options.referrers_page,
            access: options.access,
            origin: format!("{scheme}://{address}"),
            state: Mutex::new(State {
                faults: options.faults,
                ..State::default()
            }),
        });
        let router = Router::new()
            .fallback(serve::serve)
            .with_state(Arc::clone(&shared));
        let (stop, stopped) = oneshot::channel::<()>();
        // A dropped sender counts as "stop".
        let stopped = async move { stopped.await.unwrap_or(()) };
        let server = match options.tls {
            None => tokio::spawn(async move {
                axum::serve(listener, router)
                    .with_graceful_shutdown(stopped)
                    .await
            }),
            Some(config) => {
                let listener = TlsListener::new(listener, config);
                tokio::spawn(async move {
                    axum::serve(listener, router)
                        .with_graceful_shutdown(stopped)
                        .await
                })
            }
        };
        Ok(Self {
            address,
            shared,
            stop: Some(stop),
            server,
        })
    }

    /// Where it listens; `host:port` of image references.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Changes how it misbehaves, from the next request on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.lock().faults = faults;
    }

    /// The requests so far, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.lock().recorded.iter().cloned().collect()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.lock().recorded.clear();
    }

    /// Makes every token that was given out useless, as a restarted token server.
    pub fn revoke_tokens(&self) {
        self.shared.lock().tokens.revoke_all();
    }

    /// Runs until it fails; for a program that is only a registry.
    ///
    /// # Errors
    /// When the listener breaks.
    pub async fn serve(mut self) -> io::Result<()> {
        (&mut self.server).await.map_err(io::Error::other)?
    }

    /// Stops listening at once, lets what is under way end, and returns when
    /// the port is free.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // Fails only when the server is gone already.
            let _ = stop.send(());
        }
        // A body that a fault drips out would hold it open for hours.
        let _ = tokio::time::timeout(STOP_MAX, &mut self.server).await;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn record(&mut self, recorded: Recorded) {
        if self.recorded.len() >= RECORDED_MAX {
            self.recorded.pop_front();
        }
        self.recorded.push_back(recorded);
    }
}
