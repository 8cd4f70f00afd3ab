//! Gets permission: answers a registry's challenge with Basic credentials or a
//! token, and keeps what it got per registry, repository, action and caller.
//! A failure to authenticate is said as such; nothing ever falls back to
//! anonymous. `repository` calls it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::HeaderValue;
use reqwest::Url;
use serde::Deserialize;

use crate::challenge::Challenge;
use crate::credentials::{Credentials, Identity};
use crate::endpoint;
use crate::error::Error;
use crate::transport::{Exchange, Transport};

/// Tokens kept at once; the one that expires first gives way.
const CACHED_MAX: usize = 1024;
/// What a token without an expiry is good for (distribution token specification).
const EXPIRY_DEFAULT: Duration = Duration::from_secs(60);
/// No token is kept longer, whatever its server promises: revocation must bite.
const EXPIRY_MAX: Duration = Duration::from_secs(3600);
/// A token is given up this long before it expires, to outlive one exchange.
const EXPIRY_MARGIN: Duration = Duration::from_secs(10);

/// What is asked for in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Pull,
    Push,
}

/// Whose permission, and for what: nothing is shared across any of these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Scope {
    pub(crate) registry: String,
    pub(crate) repository: String,
    pub(crate) action: Action,
    pub(crate) identity: Identity,
}

/// Permissions that were granted and have not expired.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<BTreeMap<Scope, Grant>>);

#[derive(Clone, Debug)]
struct Grant {
    header: HeaderValue,
    expires: Instant,
}

#[derive(Deserialize)]
struct TokenReply {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Grants {
    /// The header to send, when one was granted and is still good.
    pub(crate) fn get(&self, scope: &Scope) -> Option<HeaderValue> {
        let grants = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        grants
            .get(scope)
            .filter(|grant| grant.expires > Instant::now())
            .map(|grant| grant.header.clone())
    }

    /// Drops what a registry no longer accepts.
    pub(crate) fn forget(&self, scope: &Scope) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(scope);
    }

    /// Answers a challenge and keeps the result.
    pub(crate) async fn obtain(
        &self,
        transport: &Transport,
        token_max: usize,
        scope: &Scope,
        challenge: &Challenge,
        base: &Url,
        credentials: &Credentials,
    ) -> Result<HeaderValue, Error> {
        let grant = match challenge {
            Challenge::Basic => Grant {
                header: basic(credentials).ok_or_else(|| unauthorized(scope, credentials))?,
                expires: Instant::now() + EXPIRY_MAX,
            },
            Challenge::Bearer { realm, service } => {
                token(
                    transport,
                    token_max,
                    scope,
                    realm,
                    service.as_deref(),
                    base,
                    credentials,
                )
                .await?
            }
        };
        self.keep(scope.clone(), grant.clone());
        Ok(grant.header)
    }

    fn keep(&self, scope: Scope, grant: Grant) {
        let mut grants = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if grants.len() >= CACHED_MAX {
            let first = grants
                .iter()
                .min_by_key(|(_, grant)| grant.expires)
                .map(|(scope, _)| scope.clone());
            if let Some(first) = first {
                grants.remove(&first);
            }
        }
        grants.insert(scope, grant);
    }
}

/// The error for a caller that a registry does not let in.
pub(crate) fn unauthorized(scope: &Scope, credentials: &Credentials) -> Error {
    Error::Unauthorized {
        registry: scope.registry.clone(),
        repository: scope.repository.clone(),
        who: who(credentials),
    }
}

/// The caller's name for messages.
pub(crate) fn who(credentials: &Credentials) -> String {
    credentials.username().unwrap_or("anonymous").to_owned()
}

async fn token(
    transport: &Transport,
    token_max: usize,
    scope: &Scope,
    realm: &str,
    service: Option<&str>,
    base: &Url,
    credentials: &Credentials,
) -> Result<Grant, Error> {
    let registry = &scope.registry;
    let malformed = |source| Error::Malformed {
        registry: registry.clone(),
        what: "the token reply",
        source,
    };
    let mut url = Url::parse(realm).map_err(|_| malformed(None))?;
    // The registry chooses this URL, and a password is sent there: it must be
    // https, or the very host that was spoken to in plain HTTP anyway.
    if url.scheme() != "https" && url.origin() != base.origin() {
        return Err(Error::RealmRefused {
            registry: registry.clone(),
            realm: format!("{}://{}", url.scheme(), endpoint::authority(&url)),
        });
    }
    // Least authority: our own scope, not the one that the challenge suggests.
    let actions = match scope.action {
        Action::Pull => "pull",
        Action::Push => "pull,push",
    };
    if let Some(service) = service {
        url.query_pairs_mut().append_pair("service", service);
    }
    url.query_pairs_mut().append_pair(
        "scope",
        &format!("repository:{}:{actions}", scope.repository),
    );

    let mut exchange = Exchange::new(Method::GET, url);
    exchange.follow_redirects = false;
    exchange.pointed_by = Some(base.clone());
    exchange.authorization = basic(credentials);
    let asked = Instant::now();
    let answer = transport.send(exchange, registry).await?;
    match answer.status().as_u16() {
        200 => {}
        // A token server says "unknown user" in several ways.
        400 | 401 | 403 | 404 => return Err(unauthorized(scope, credentials)),
        _ => {
            return Err(answer
                .into_error("the token", &scope.repository, &who(credentials))
                .await);
        }
    }
    let body = answer
        .read("the reply of the token server", token_max)
        .await?;
    let reply: TokenReply =
        serde_json::from_slice(&body).map_err(|source| malformed(Some(source)))?;
    let token = reply
        .token
        .or(reply.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| unauthorized(scope, credentials))?;
    let mut header =
        HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| malformed(None))?;
    header.set_sensitive(true);
    let good_for = reply
        .expires_in
        .map_or(EXPIRY_DEFAULT, Duration::from_secs)
        .min(EXPIRY_MAX);
    Ok(Grant {
        header,
        expires: asked + good_for.saturating_sub(EXPIRY_MARGIN),
    })
}

fn basic(credentials: &Credentials) -> Option<HeaderValue> {
    let (username, password) = credentials.pair()?;
    let encoded = STANDARD.encode(format!("{username}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {encoded}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}
