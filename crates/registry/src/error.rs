//! Why an exchange with a registry failed: one closed list, so that a caller
//! can tell "wait and try again" from "mend the credentials" from "refused".
//! Text from the registry never gets in here but its error code: an image name
//! chosen by a tenant must not turn a status into a window on an inner network.

use std::time::Duration;

use artifact::Digest;

/// Why an exchange with a registry failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be built from its configuration.
    #[error("the registry client is misconfigured: {reason}; correct the registry settings")]
    Misconfigured {
        /// What is wrong with it.
        reason: String,
        /// The cause, when another library found it.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// No connection, or one that broke.
    #[error("{}", Outage::Unreachable.said_of(registry))]
    Unreachable {
        /// The registry, as `host[:port]`.
        registry: String,
        /// How long its host is left alone now.
        retry_after: Option<Duration>,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// It was not asked: its host cannot be reached, or it has asked this caller
    /// to slow down, and the time to try again has not come.
    #[error("{}", outage.said_of(registry))]
    Resting {
        /// The registry, as `host[:port]`.
        registry: String,
        /// What came of the last attempt.
        outage: Outage,
        /// How long until it may be asked again.
        retry_after: Duration,
    },
    /// The time for a read or for the whole operation ran out.
    #[error("{}", Outage::Timeout.said_of(registry))]
    Timeout {
        /// The registry, as `host[:port]`.
        registry: String,
    },
    /// The registry does not accept these credentials, or asks for some.
    #[error(
        "registry {registry} does not let {who} do this in {repository}; give credentials that may, in imagePullSecrets or by `docker login`"
    )]
    Unauthorized {
        /// The registry, as `host[:port]`.
        registry: String,
        /// The repository asked for.
        repository: String,
        /// The user's name, or `anonymous`.
        who: String,
    },
    /// The registry has no such thing.
    #[error("{what} does not exist in registry {registry}")]
    NotFound {
        /// The registry, as `host[:port]`.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// The registry asks to slow down (429).
    #[error("{}", Outage::RateLimited.said_of(registry))]
    RateLimited {
        /// The registry, as `host[:port]`.
        registry: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The registry has a fault of its own (5xx).
    #[error("registry {registry} answered {status}")]
    Unavailable {
        /// The registry, as `host[:port]`.
        registry: String,
        /// The status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// A status that the distribution specification does not foresee here.
    #[error("registry {registry} refused the request with status {status} and error code {code}")]
    Unexpected {
        /// The registry, as `host[:port]`.
        registry: String,
        /// The status.
        status: u16,
        /// The code of the first error in the body, or `none`.
        code: String,
    },
    /// A body is larger than anything of its kind may be.
    #[error("{what} is larger than the limit of {limit} bytes")]
    TooLarge {
        /// What was read.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A body is shorter or longer than its descriptor says.
    #[error("{what} has {actual} bytes where its descriptor says {expected}; push it again")]
    SizeMismatch {
        /// What was read.
        what: String,
        /// The size in the descriptor.
        expected: u64,
        /// What came; `expected + 1` when reading stopped there.
        actual: u64,
    },
    /// The bytes do not have the digest they were asked for by.
    #[error(
        "registry {registry} sent bytes with digest {actual} for {expected}; the registry or something between damages content"
    )]
    DigestMismatch {
        /// The registry, as `host[:port]`.
        registry: String,
        /// The digest asked for.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A redirect that is not followed.
    #[error("registry {registry} redirects where this client does not go: {refusal}")]
    RedirectRefused {
        /// The registry, as `host[:port]`.
        registry: String,
        /// Why it is not followed.
        refusal: RedirectRefusal,
    },
    /// The token server named by the registry is not one to send credentials to.
    #[error(
        "registry {registry} names the token server {realm}, which is neither https nor the registry itself; no credentials were sent"
    )]
    RealmRefused {
        /// The registry, as `host[:port]`.
        registry: String,
        /// Scheme and host of the token server.
        realm: String,
    },
    /// The address is never contacted: link-local, metadata, or this machine
    /// when another host points to it.
    #[error("{host} is an address that is never contacted for an image")]
    AddressRefused {
        /// The host as written.
        host: String,
    },
    /// The address is in a private network or on this machine, and the platform
    /// does not list it.
    #[error(
        "{host} is in a private network, where only registries are contacted that the platform lists: start the operator with --registry-private={host}"
    )]
    PrivateRefused {
        /// The host as written.
        host: String,
    },
    /// The registry asks for plain HTTP from a host that is not configured so.
    #[error(
        "{host} would be spoken to in plain HTTP, which is only done for loopback and hosts configured so"
    )]
    PlainHttpRefused {
        /// The host as written.
        host: String,
    },
    /// Whether there are signatures could not be found out. This is not
    /// "unsigned".
    #[error("whether {image} is signed could not be found out: {source}")]
    ReferrersUnavailable {
        /// The image, with its digest.
        image: String,
        /// The cause.
        #[source]
        source: Box<Error>,
    },
    /// More is attached to the image than is looked at, and none of what was
    /// looked at is a signature.
    #[error("more is attached to the image than the {limit} referrers that are looked at")]
    TooManyReferrers {
        /// How many are looked at.
        limit: usize,
    },
    /// The registry answered with something that is not what the specification
    /// says.
    #[error("{what} from registry {registry} is malformed")]
    Malformed {
        /// The registry, as `host[:port]`.
        registry: String,
        /// What was read.
        what: &'static str,
        /// The cause, when it is JSON that does not parse.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// Only a bundle with a DSSE envelope around an in-toto statement can be
    /// attached.
    #[error("this is not a sigstore bundle with an in-toto statement: {reason}")]
    NotABundle {
        /// What is missing.
        reason: &'static str,
    },
    /// Another writer kept changing the fallback index of signatures.
    #[error(
        "the signature index {tag} in {repository} was changed by others on each of {attempts} attempts; try again"
    )]
    Contended {
        /// The repository.
        repository: String,
        /// The fallback tag.
        tag: String,
        /// How often it was tried.
        attempts: usize,
    },
    /// What was pulled, or is to be pushed, is not a component that can run.
    #[error(transparent)]
    Refused(#[from] artifact::Refusal),
}

/// What keeps a registry from answering for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// No connection, or one that broke.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The registry asks to slow down.
    RateLimited,
}

/// Why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedirectRefusal {
    /// More than the limit in one exchange; a loop, most likely.
    #[error("there are too many redirects")]
    TooMany,
    /// From https to http.
    #[error("it leaves https")]
    LeavesHttps,
    /// Something else than http and https, or no location at all.
    #[error("its location is not an http URL")]
    NotHttp,
    /// Loopback, link-local or metadata.
    #[error("it leads to an address that is never contacted")]
    Address,
    /// A private network, or loopback, that the platform does not list.
    #[error(
        "it leads into a private network; the operator follows it there when started with --registry-private=HOST for the host it names"
    )]
    Private,
    /// Plain HTTP to a host that is not configured for it.
    #[error("it leads to plain HTTP")]
    PlainHttp,
    /// Uploads and token requests carry secrets or content, and stay where they are.
    #[error("this kind of request is not redirected")]
    NotRedirectable,
}

impl Outage {
    /// The same words whether it was just found out or is known from before: a
    /// status that says them must not change while a registry rests.
    fn said_of(self, registry: &str) -> String {
        match self {
            Self::Unreachable => format!(
                "registry {registry} cannot be reached; check its name, its certificate and the network"
            ),
            Self::Timeout => format!("registry {registry} did not answer in time"),
            Self::RateLimited => format!("registry {registry} limits the rate of requests"),
        }
    }
}

impl Error {
    /// Whether the same request may succeed later with nothing changed here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Resting { .. }
            | Self::Timeout { .. }
            | Self::RateLimited { .. }
            | Self::Unavailable { .. }
            | Self::SizeMismatch { .. }
            | Self::Contended { .. } => true,
            Self::ReferrersUnavailable { source, .. } => source.is_retryable(),
            Self::Misconfigured { .. }
            | Self::Unauthorized { .. }
            | Self::NotFound { .. }
            | Self::Unexpected { .. }
            | Self::TooLarge { .. }
            | Self::DigestMismatch { .. }
            | Self::RedirectRefused { .. }
            | Self::RealmRefused { .. }
            | Self::AddressRefused { .. }
            | Self::PrivateRefused { .. }
            | Self::PlainHttpRefused { .. }
            | Self::TooManyReferrers { .. }
            | Self::Malformed { .. }
            | Self::NotABundle { .. }
            | Self::Refused(_) => false,
        }
    }

    /// How long to wait at least: what the registry asks, bounded to an hour, or
    /// what its host rests.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. }
            | Self::Unavailable { retry_after, .. }
            | Self::Unreachable { retry_after, .. } => *retry_after,
            Self::Resting { retry_after, .. } => Some(*retry_after),
            Self::ReferrersUnavailable { source, .. } => source.retry_after(),
            _ => None,
        }
    }
}
