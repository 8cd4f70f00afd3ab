//! From an image to verified bytes: digest, parcel, signatures, imports.
//!
//! The one step that talks to a registry. It asks the trust policies before it
//! contacts any host, so that an image name cannot make the operator knock on
//! inner doors. Knows neither Kubernetes objects nor the clock; `resolver` calls
//! it for the cluster, `lighterman run` for one machine.

use artifact::component::{Facts, World};
use artifact::interface::Wanted;
use artifact::trust::{Policy, Scope, Trust, admits_contact};
use artifact::{Digest, ImageReference, Parcel, Refusal, VerifiedComponent};
use capability::Request;
use crds::Reason;
use futures::FutureExt;
use futures::future::BoxFuture;
use registry::{Client, Credentials, Outage, Signatures};

use super::Validated;

/// An image whose bytes are here and admitted.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The bytes, and who vouched for them.
    pub verified: VerifiedComponent,
    /// The image with its digest.
    pub reference: ImageReference,
}

/// Why an image cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The tag could not be resolved, or the bytes not be pulled.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The bytes are not admitted.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The component imports what nothing grants.
    #[error("the component imports {import}, which is not granted: {mend}")]
    ImportNotGranted {
        /// The import, as the component names it.
        import: String,
        /// What would grant it.
        mend: &'static str,
    },
    /// A trigger calls an export that is not there.
    #[error(
        "trigger {trigger} needs a component that exports {export}, and this one does not: build it for the {world} world, or remove the trigger"
    )]
    ExportMissing {
        /// The trigger's name.
        trigger: String,
        /// What it calls.
        export: &'static str,
        /// A world that has it.
        world: &'static str,
    },
    /// A trigger opens an interface that is not there.
    #[error(
        "trigger {trigger} opens {interface}, which the component does not export; it exports {}: correct the interface, or build the component with it", exported(.exports)
    )]
    InterfaceMissing {
        /// The trigger's name.
        trigger: String,
        /// What it opens.
        interface: String,
        /// What there is.
        exports: Vec<String>,
    },
}

/// Interfaces that always link: they give nothing that was not granted, and
/// toolchains import them unused.
const ALWAYS_LINKED: [&str; 8] = [
    "lighterman:core/ending@",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:random/",
    "wasi:io/",
    "wasi:filesystem/",
    "wasi:sockets/",
    "wasi:http/",
];

/// What a run trigger calls: one of them.
const RUN: [&str; 2] = ["lighterman:core/lifecycle@1.", "wasi:cli/run@0.2."];

/// Interfaces with something behind them, by the start of their name: they link only when
/// something is granted.
const CONFIG: &str = "wasi:config/";
const PROCESS: &str = "lighterman:ext-process/";

fn needs_process(request: &Request) -> bool {
    !request.process.spawn.is_empty() && !request.process.optional
}

/// Resolves, pulls and verifies `image`. Tries `credentials` in their order and
/// goes on to the next when the registry refuses one.
///
/// # Errors
/// `ResolveError`; what the registry could not say is never "unsigned".
pub async fn resolve(
    client: &Client,
    credentials: &[Credentials],
    scope: &Scope<'_>,
    trust: &Trust<'_>,
    image: &ImageReference,
) -> Result<Resolved, ResolveError> {
    let digest = digest(client, credentials, scope, trust.policies, image).await?;
    let parcel = pull(client, credentials, image, &digest).await?;
    verify(scope, trust, &digest, &parcel)
}

/// The digest that `image` stands for now.
///
/// # Errors
/// When no policy covers the image, or the registry fails.
pub async fn digest(
    client: &Client,
    credentials: &[Credentials],
    scope: &Scope<'_>,
    policies: &[Policy],
    image: &ImageReference,
) -> Result<Digest, ResolveError> {
    admits_contact(policies, scope)?;
    if let Some(digest) = image.digest() {
        return Ok(*digest);
    }
    with_each(credentials, image, |credentials| {
        async move { client.resolve(image, &credentials).await }.boxed()
    })
    .await
}

/// The bytes of `image` at `digest`, with its signatures. Call only after
/// `digest` or `admits_contact` allowed the registry.
///
/// # Errors
/// When the registry fails or sends something else.
pub async fn pull(
    client: &Client,
    credentials: &[Credentials],
    image: &ImageReference,
    digest: &Digest,
) -> Result<Parcel, ResolveError> {
    with_each(credentials, image, |credentials| {
        async move { client.pull(image, digest, &credentials).await }.boxed()
    })
    .await
}

/// The manifest of `image` at `digest` and its signatures: proof that the
/// credentials open it, for who has the rest. Call only as `pull`.
///
/// # Errors
/// As `pull`.
pub async fn signatures(
    client: &Client,
    credentials: &[Credentials],
    image: &ImageReference,
    digest: &Digest,
) -> Result<Signatures, ResolveError> {
    with_each(credentials, image, |credentials| {
        async move { client.signatures(image, digest, &credentials).await }.boxed()
    })
    .await
}

/// Judges bytes that are here, whoever brought them.
///
/// # Errors
/// When the policies refuse them.
pub fn verify(
    scope: &Scope<'_>,
    trust: &Trust<'_>,
    digest: &Digest,
    parcel: &Parcel,
) -> Result<Resolved, ResolveError> {
    let verified = artifact::verify(scope, digest, parcel, trust)?;
    Ok(Resolved {
        verified,
        reference: scope.image.with_digest(*digest),
    })
}

/// Whether what the component imports and exports fits what it is given: an
/// import without a grant must be refused before it is placed, by name.
///
/// # Errors
/// `ImportNotGranted` or `ExportMissing`.
pub fn fits(
    validated: &Validated,
    facts: &Facts,
    requests: &[Request],
) -> Result<(), ResolveError> {
    for import in &facts.imports {
        let granted = if import.starts_with(CONFIG) {
            !validated.config.is_empty()
        } else if import.starts_with(PROCESS) {
            // What it asks for and is not granted is refused with the YAML that grants it.
            !validated.capabilities.process.spawn.is_empty() || requests.iter().any(needs_process)
        } else {
            ALWAYS_LINKED
                .iter()
                .any(|interface| import.starts_with(interface))
        };
        if !granted {
            let mend = if import.starts_with(CONFIG) {
                "give it values in spec.config"
            } else if import.starts_with(PROCESS) {
                "name its executables in spec.capabilities.process.spawn"
            } else {
                "this version has no grant for it; build the component without this import"
            };
            return Err(ResolveError::ImportNotGranted {
                import: import.clone(),
                mend,
            });
        }
    }
    let serves_http = matches!(facts.world, World::HttpP2 | World::HttpP3);
    let mut exports = facts.exports.iter();
    let runs = exports.any(|name| RUN.iter().any(|run| name.starts_with(run)));
    for trigger in &validated.triggers {
        let missing = |export, world| ResolveError::ExportMissing {
            trigger: trigger.name.clone(),
            export,
            world,
        };
        if trigger.http.is_some() && !serves_http {
            return Err(missing(
                "wasi:http/incoming-handler@0.2 or wasi:http/handler@0.3",
                "wasi:http/proxy",
            ));
        }
        if trigger.run.is_some() && !runs {
            return Err(missing(
                "wasi:cli/run@0.2 or lighterman:core/lifecycle@1",
                "wasi:cli/command",
            ));
        }
        let interfaces = trigger.invoke.iter().flat_map(|invoke| &invoke.interfaces);
        for interface in interfaces {
            let wanted = interface.parse::<Wanted>();
            // What can not be read was refused before.
            let is_there = wanted.is_ok_and(|wanted| wanted.among(&facts.exports).is_some());
            if !is_there {
                return Err(ResolveError::InterfaceMissing {
                    trigger: trigger.name.clone(),
                    interface: interface.clone(),
                    exports: facts.exports.clone(),
                });
            }
        }
    }
    Ok(())
}

impl ResolveError {
    /// The reason this is reported under.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Registry(error) => registry_reason(error),
            Self::Refused(refusal) => refusal_reason(refusal),
            Self::ImportNotGranted { .. } => Reason::ImportNotGranted,
            Self::ExportMissing { .. } | Self::InterfaceMissing { .. } => Reason::ExportMissing,
        }
    }

    /// Whether the bytes were judged: then `Verified` is false, and not merely unknown.
    pub fn is_verdict(&self) -> bool {
        match self {
            Self::Registry(registry::Error::Refused(refusal)) | Self::Refused(refusal) => {
                refusal.is_verdict()
            }
            Self::Registry(_) => false,
            Self::ImportNotGranted { .. }
            | Self::ExportMissing { .. }
            | Self::InterfaceMissing { .. } => true,
        }
    }

    /// How long the registry asked to wait.
    pub fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Registry(error) => error.retry_after(),
            _ => None,
        }
    }
}

/// The names of interfaces, so far as a message has room: a publisher writes them.
fn exported(exports: &[String]) -> String {
    const TOLD: usize = 8;
    match exports {
        [] => "nothing".to_owned(),
        exports => {
            let told: Vec<&str> = exports.iter().take(TOLD).map(String::as_str).collect();
            told.join(", ")
        }
    }
}

/// Asks with the credentials in their order, as the kubelet does, and without any
/// only if there are none. Many registries call what they do not show to a caller
/// "not found", so the next may see more.
async fn with_each<'a, T>(
    credentials: &[Credentials],
    image: &ImageReference,
    ask: impl Fn(Credentials) -> BoxFuture<'a, Result<T, registry::Error>>,
) -> Result<T, ResolveError> {
    use registry::Error as E;
    let anonymous = [Credentials::anonymous()];
    let credentials = match credentials {
        [] => &anonymous,
        given => given,
    };
    let mut refused: Option<E> = None;
    for credentials in credentials {
        match ask(credentials.clone()).await {
            Err(error @ (E::Unauthorized { .. } | E::NotFound { .. })) => {
                // "Not let in" says more than "not there".
                if !matches!(refused, Some(E::Unauthorized { .. })) {
                    refused = Some(error);
                }
            }
            outcome => return Ok(outcome?),
        }
    }
    Err(refused.map_or_else(|| unasked(image), Into::into))
}

/// Only reached with an empty list of credentials, which never is one.
fn unasked(image: &ImageReference) -> ResolveError {
    ResolveError::Registry(registry::Error::NotFound {
        registry: image.registry().to_owned(),
        what: image.to_string(),
    })
}

fn registry_reason(error: &registry::Error) -> Reason {
    use registry::Error as E;
    match error {
        E::Misconfigured { .. } => Reason::RegistryMisconfigured,
        E::Unreachable { .. } => Reason::RegistryUnreachable,
        E::Timeout { .. } => Reason::RegistryTimeout,
        E::Resting { outage, .. } => match outage {
            Outage::Unreachable => Reason::RegistryUnreachable,
            Outage::Timeout => Reason::RegistryTimeout,
            Outage::RateLimited => Reason::RegistryRateLimited,
        },
        E::Unauthorized { .. } => Reason::RegistryUnauthorized,
        E::NotFound { .. } => Reason::ImageNotFound,
        E::RateLimited { .. } => Reason::RegistryRateLimited,
        E::Unavailable { .. } => Reason::RegistryUnavailable,
        E::TooLarge { .. } => Reason::TooLarge,
        E::DigestMismatch { .. } | E::SizeMismatch { .. } => Reason::DigestMismatch,
        E::RedirectRefused { .. } | E::RealmRefused { .. } | E::PlainHttpRefused { .. } => {
            Reason::RedirectRefused
        }
        E::AddressRefused { .. } | E::PrivateRefused { .. } => Reason::RegistryAddressRefused,
        E::ReferrersUnavailable { .. } | E::TooManyReferrers { .. } => Reason::ReferrersUnavailable,
        E::Refused(refusal) => refusal_reason(refusal),
        _ => Reason::RegistryMisbehaved,
    }
}

/// The reason of the same name.
pub(crate) fn refusal_reason(refusal: &Refusal) -> Reason {
    Reason::named(refusal.code().as_ref())
}

#[cfg(test)]
mod tests {
    use artifact::RefusalCode;
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn every_refusal_of_an_artifact_has_a_reason_of_its_name() {
        for code in RefusalCode::iter() {
            assert_eq!(Reason::named(code.as_ref()).as_ref(), code.as_ref());
        }
    }
}
