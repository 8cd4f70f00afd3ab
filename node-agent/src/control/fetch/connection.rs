//! How the operator is asked: over TLS with its own CA and nobody else's. One of these keeps its
//! connections; another one has others, which may lead to another replica.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client};

use super::chain;
use crate::source::SourceError;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take as a whole: 64 MiB over a slow link.
const WHOLE: Duration = Duration::from_secs(60);

/// A client, with the CA bundle that it was made with.
#[derive(Debug, Default)]
pub(super) struct Connection(Mutex<Option<(String, Client)>>);

impl Connection {
    /// The client for this CA bundle.
    pub(super) fn client(&self, bundle: &str) -> Result<Client, SourceError> {
        let mut made = self.lock();
        if let Some((made_with, client)) = made.as_ref()
            && made_with == bundle
        {
            return Ok(client.clone());
        }
        let unusable = |error: reqwest::Error| {
            SourceError::Unreachable(format!("the CA bundle cannot be used: {}", chain(&error)))
        };
        let roots = Certificate::from_pem_bundle(bundle.as_bytes()).map_err(unusable)?;
        let client = Client::builder()
            .tls_certs_only(roots)
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(WHOLE)
            .build()
            .map_err(unusable)?;
        *made = Some((bundle.to_owned(), client.clone()));
        Ok(client)
    }

    /// Lets its connections go: who is asked next is chosen anew.
    pub(super) fn renew(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<(String, Client)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
