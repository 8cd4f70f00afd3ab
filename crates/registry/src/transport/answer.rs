//! An answer of a registry, and the ways to read it: every body with a bound,
//! every other status as the error it stands for. `transport` makes answers.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use reqwest::Url;

use crate::address::Forbidden;
use crate::document::ErrorBody;
use crate::error::Error;
use crate::retry_after;

/// The code of an error is an identifier, never longer.
const CODE_MAX: usize = 64;

/// An answer whose body is not yet read.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The registry of the exchange, for messages.
    pub(crate) registry: String,
    pub(super) response: reqwest::Response,
    pub(super) error_body: usize,
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    /// A header as text, when it is text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Reads a body of unknown size, up to `limit` bytes.
    pub(crate) async fn read(self, what: &str, limit: usize) -> Result<Bytes, Error> {
        let too_large = || Error::TooLarge {
            what: what.to_owned(),
            limit: limit as u64,
        };
        if self
            .response
            .content_length()
            .is_some_and(|length| length > limit as u64)
        {
            return Err(too_large());
        }
        let (body, _) = self.collect(limit).await?;
        body.ok_or_else(too_large)
    }

    /// Reads a body that a descriptor says is `size` bytes, and not one more.
    pub(crate) async fn read_exactly(self, what: &str, size: usize) -> Result<Bytes, Error> {
        let mismatch = |actual: usize| Error::SizeMismatch {
            what: what.to_owned(),
            expected: size as u64,
            actual: actual as u64,
        };
        match self.collect(size).await? {
            (Some(body), _) if body.len() == size => Ok(body),
            (Some(body), _) => Err(mismatch(body.len())),
            (None, seen) => Err(mismatch(seen)),
        }
    }

    /// The error that this answer, which is not a success, stands for.
    pub(crate) async fn into_error(self, what: &str, repository: &str, who: &str) -> Error {
        let status = self.status();
        let registry = self.registry.clone();
        let retry_after = retry_after::asked(self.headers(), Timestamp::now());
        match status.as_u16() {
            401 | 403 => Error::Unauthorized {
                registry,
                repository: repository.to_owned(),
                who: who.to_owned(),
            },
            404 => Error::NotFound {
                registry,
                what: what.to_owned(),
            },
            429 => Error::RateLimited {
                registry,
                retry_after,
            },
            500..=599 => Error::Unavailable {
                registry,
                status: status.as_u16(),
                retry_after,
            },
            status => {
                let limit = self.error_body;
                let body = self.read("an error", limit).await.unwrap_or_default();
                Error::Unexpected {
                    registry,
                    status,
                    code: code_of(&body),
                }
            }
        }
    }

    /// The body, or none and `limit + 1` when there is more of it than that.
    async fn collect(mut self, limit: usize) -> Result<(Option<Bytes>, usize), Error> {
        let mut body = BytesMut::new();
        loop {
            match self.response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() > limit => {
                    return Ok((None, limit + 1));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(source) => return Err(failed(source, &self.registry)),
            }
        }
        let length = body.len();
        Ok((Some(body.freeze()), length))
    }
}

impl From<Forbidden> for Error {
    fn from(Forbidden { host, listable }: Forbidden) -> Self {
        if listable {
            Self::PrivateRefused { host }
        } else {
            Self::AddressRefused { host }
        }
    }
}

/// What a failure to send or to read is.
pub(super) fn failed(source: reqwest::Error, registry: &str) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
    while let Some(error) = cause {
        if let Some(forbidden) = error.downcast_ref::<Forbidden>() {
            return forbidden.clone().into();
        }
        cause = error.source();
    }
    let registry = registry.to_owned();
    if source.is_timeout() {
        return Error::Timeout { registry };
    }
    Error::Unreachable {
        registry,
        retry_after: None,
        source: source.without_url(),
    }
}

/// The code of the first error in a body, if it looks like one. Nothing else of
/// the body is ever shown.
fn code_of(body: &[u8]) -> String {
    serde_json::from_slice::<ErrorBody>(body)
        .ok()
        .and_then(|body| body.errors.into_iter().next())
        .map(|error| error.code)
        .filter(|code| {
            code.len() <= CODE_MAX
                && code
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
        })
        .unwrap_or_else(|| "none".to_owned())
}
