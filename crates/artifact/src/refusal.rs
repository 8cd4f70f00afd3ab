//! Why an artifact may not run: one closed list, each with a sentence that
//! names the thing at fault and what mends it. The sentences end up in the
//! status of a component and on a developer's terminal; the codes become the
//! reasons of its conditions.

use crate::Digest;

/// An artifact that may not run: judged and found wanting, or, where
/// [`Refusal::is_verdict`] says no, not to be judged with what is here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No trust policy speaks about this image in this namespace.
    #[error(
        "no TrustPolicy covers {image} in namespace {namespace}: ask the platform team for one whose spec.images has a glob such as {image:?} and whose namespaceSelector selects the namespace"
    )]
    NoPolicyMatches {
        /// Host and repository.
        image: String,
        /// The component's namespace.
        namespace: String,
    },
    /// Only policies with `mode: Audit` speak about this image, and they never admit.
    #[error(
        "only TrustPolicies with mode: Audit cover {image} in namespace {namespace} ({policies}), and those never admit: ask the platform team for one with mode: Enforce"
    )]
    OnlyAudited {
        /// Host and repository.
        image: String,
        /// The component's namespace.
        namespace: String,
        /// The policies' names.
        policies: String,
    },
    /// A matching policy could not be read, so nothing can satisfy it.
    #[error(
        "TrustPolicy {policy} covers this image but cannot be used, so it admits nothing: {problem}"
    )]
    PolicyUnusable {
        /// The policy's name.
        policy: String,
        /// What is wrong with it, and the mend.
        problem: String,
    },
    /// Not one bundle is attached.
    #[error(
        "{digest} is not signed, and TrustPolicy {policy} wants a signature by {authorities}: run `lighterman sign` or `cosign sign` with that key on this digest"
    )]
    Unsigned {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// Whose signature would satisfy it.
        authorities: String,
    },
    /// Signatures are there, but none is by a key of the policy.
    #[error(
        "no signature of {digest} is by {authorities}, as TrustPolicy {policy} wants (found {found}): sign this digest with that key, or ask the platform team to add the key that was used"
    )]
    SignatureInvalid {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// Whose signature would satisfy it.
        authorities: String,
        /// What was found instead, one clause per bundle.
        found: String,
    },
    /// Signed by certificate, but by nobody whom the policy names.
    #[error(
        "{digest} is signed, but by no identity that TrustPolicy {policy} trusts (found {found}; wanted {authorities}): sign with a trusted identity, or ask the platform team to add this one"
    )]
    NotTrustedIdentity {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// Whose signature would satisfy it.
        authorities: String,
        /// Who signed instead, one clause each.
        found: String,
    },
    /// A trusted root that the policy needs is not here, so nothing was found out.
    #[error(
        "the signatures could not be checked: TrustPolicy {policy} needs a trusted root for authority {authority}, and {problem}"
    )]
    RootUnavailable {
        /// The policy that could not be judged by.
        policy: String,
        /// The authority that needs the root.
        authority: String,
        /// What is wrong with the root, and the mend.
        problem: String,
    },
    /// By a trusted signer, but without the proof of a transparency log that
    /// the policy demands.
    #[error(
        "the signature of {digest} by {authority} is not proven to be in a transparency log, as TrustPolicy {policy} wants with ctlog: Required ({found}): sign with a log (cosign does by default), or ask the platform team for ctlog: Ignore"
    )]
    NotInLog {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// The authority whose signature it is.
        authority: String,
        /// What is wrong with the proof.
        found: String,
    },
    /// By a key that the policy has revoked.
    #[error(
        "the signature of {digest} by {authority} counts no more: TrustPolicy {policy} has revoked {found}: sign with the new key"
    )]
    KeyRevoked {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that revokes it.
        policy: String,
        /// The authority whose key it was.
        authority: String,
        /// Which key, from when on, and what is known of the signature's time.
        found: String,
    },
    /// Signed before the policy's `notBefore`, or at a time that nothing proves.
    #[error(
        "the signature of {digest} by {authority} is not as new as TrustPolicy {policy} wants: it {found}: sign again, with a timestamp authority or a transparency log"
    )]
    SignedTooEarly {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// The authority whose signature it is.
        authority: String,
        /// What is known of the signature's time, and the policy's `notBefore`.
        found: String,
    },
    /// Fewer distinct signers than the policy's `minimumMatches`.
    #[error(
        "{digest} is signed by {found}, and TrustPolicy {policy} wants {wanted} different keys or identities of {authorities}: have the others sign this digest too"
    )]
    TooFewSigners {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// Whose signatures would satisfy it.
        authorities: String,
        /// How many signers are wanted.
        wanted: usize,
        /// Who has signed.
        found: String,
    },
    /// An attestation that the policy demands is not there.
    #[error(
        "TrustPolicy {policy} wants an attestation of type {predicate_type} by {authorities}, and this digest has none (found {found}): run `cosign attest --type {predicate_type}` on it as one of them"
    )]
    AttestationMissing {
        /// The policy that is not satisfied.
        policy: String,
        /// Whose attestation would satisfy it.
        authorities: String,
        /// The predicate type that is demanded.
        predicate_type: String,
        /// What was found instead, one clause each.
        found: String,
    },
    /// An attestation is there, but does not say what the policy demands.
    #[error(
        "the attestation of type {predicate_type} of {digest} does not meet the conditions of TrustPolicy {policy}: {found}"
    )]
    AttestationRejected {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that is not satisfied.
        policy: String,
        /// The predicate type that is demanded.
        predicate_type: String,
        /// Which condition, and what is there instead.
        found: String,
    },
    /// The policy's `deny.digests` names it.
    #[error(
        "{digest} is denied by TrustPolicy {policy}, whoever signed it: use another version, or ask the platform team to remove it from deny.digests"
    )]
    DigestDenied {
        /// The manifest's digest.
        digest: Digest,
        /// The policy that denies it.
        policy: String,
    },
    /// Older than the policy's `minVersions` allow.
    #[error(
        "component {name} has {found}, and TrustPolicy {policy} wants {minimum} or later: use a later version"
    )]
    VersionTooOld {
        /// The policy that is not satisfied.
        policy: String,
        /// The component's own name.
        name: String,
        /// Its version, or what is wrong with it.
        found: String,
        /// The least version.
        minimum: String,
    },
    /// A genuine signature of a trusted key, but for other content.
    #[error(
        "the signature by {authority} is for {signed}, not for {digest}: sign this very digest; a signature copied from another image does not count"
    )]
    SignatureForAnotherDigest {
        /// The manifest's digest.
        digest: Digest,
        /// What was signed.
        signed: String,
        /// The authority whose key made it.
        authority: String,
    },
    /// A trusted key attested something about the image without approving it.
    #[error(
        "{digest} carries only an attestation ({predicate_type}) by {authority}, which says something about the image but does not approve it: run `lighterman sign` or `cosign sign` on this digest"
    )]
    AttestationOnly {
        /// The manifest's digest.
        digest: Digest,
        /// The authority whose key made it.
        authority: String,
        /// What it attests.
        predicate_type: String,
    },
    /// Bundles are there, but none can be read as a signature.
    #[error(
        "no bundle attached to {digest} can be read (found {found}): sign it again with `lighterman sign`, or with cosign 3, which writes sigstore bundles v0.3"
    )]
    SignatureMalformed {
        /// The manifest's digest.
        digest: Digest,
        /// What is wrong, one clause per bundle.
        found: String,
    },
    /// Content is not what its digest or size says.
    #[error(
        "the {part} is not what {named_by} says (expected {expected}, got {actual}): it was damaged or swapped on the way; pull it again, and if that does not help, push it again"
    )]
    DigestMismatch {
        /// `manifest`, `config` or `wasm layer`.
        part: &'static str,
        /// Where the expectation comes from.
        named_by: &'static str,
        /// Digest or size that was expected.
        expected: String,
        /// Digest or size of what is there.
        actual: String,
    },
    /// A well-formed artifact of another kind.
    #[error("this is {found}, not a WebAssembly component: {mend}")]
    UnsupportedArtifact {
        /// What it is, with its article.
        found: String,
        /// What to do instead.
        mend: String,
    },
    /// A core module instead of a component.
    #[error(
        "this is a core WebAssembly module, not a component: build for the target wasm32-wasip2, or wrap it with `wasm-tools component new --adapt wasi_snapshot_preview1`"
    )]
    CoreModule,
    /// Machine code. Running it would mean to trust whoever compiled it.
    #[error(
        "this is precompiled machine code ({found}), which is never run: push the .wasm component itself; every node compiles what it has verified"
    )]
    Precompiled {
        /// What kind of machine code.
        found: &'static str,
    },
    /// A component that does not validate, or is no WebAssembly at all.
    #[error("the wasm layer is not a valid component: {problem}")]
    InvalidComponent {
        /// What is wrong, and the mend.
        problem: String,
    },
    /// A manifest that cannot be read, or says something else than the component.
    #[error("the component's manifest cannot be used: {problem}")]
    ManifestInvalid {
        /// What is wrong, where, and the mend.
        problem: String,
    },
    /// A part above its limit.
    #[error("the {part} takes {actual}, and at most {limit} are allowed: {mend}")]
    TooLarge {
        /// Which part.
        part: &'static str,
        /// How much it takes, with its unit.
        actual: String,
        /// How much it may take, with its unit.
        limit: String,
        /// What to do.
        mend: &'static str,
    },
}

/// The reason of a refusal, for conditions, metrics and retries.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    strum::AsRefStr,
    strum::Display,
    strum::EnumIter,
    strum::EnumString,
)]
pub enum RefusalCode {
    /// See [`Refusal::NoPolicyMatches`].
    NoPolicyMatches,
    /// See [`Refusal::OnlyAudited`].
    OnlyAudited,
    /// See [`Refusal::PolicyUnusable`].
    PolicyUnusable,
    /// See [`Refusal::Unsigned`].
    Unsigned,
    /// See [`Refusal::SignatureInvalid`].
    SignatureInvalid,
    /// See [`Refusal::NotTrustedIdentity`].
    NotTrustedIdentity,
    /// See [`Refusal::RootUnavailable`].
    RootUnavailable,
    /// See [`Refusal::NotInLog`].
    NotInLog,
    /// See [`Refusal::KeyRevoked`].
    KeyRevoked,
    /// See [`Refusal::SignedTooEarly`].
    SignedTooEarly,
    /// See [`Refusal::TooFewSigners`].
    TooFewSigners,
    /// See [`Refusal::AttestationMissing`].
    AttestationMissing,
    /// See [`Refusal::AttestationRejected`].
    AttestationRejected,
    /// See [`Refusal::DigestDenied`].
    DigestDenied,
    /// See [`Refusal::VersionTooOld`].
    VersionTooOld,
    /// See [`Refusal::SignatureForAnotherDigest`].
    SignatureForAnotherDigest,
    /// See [`Refusal::AttestationOnly`].
    AttestationOnly,
    /// See [`Refusal::SignatureMalformed`].
    SignatureMalformed,
    /// See [`Refusal::DigestMismatch`].
    DigestMismatch,
    /// See [`Refusal::UnsupportedArtifact`].
    UnsupportedArtifact,
    /// See [`Refusal::CoreModule`].
    CoreModule,
    /// See [`Refusal::Precompiled`].
    Precompiled,
    /// See [`Refusal::InvalidComponent`].
    InvalidComponent,
    /// See [`Refusal::ManifestInvalid`].
    ManifestInvalid,
    /// See [`Refusal::TooLarge`].
    TooLarge,
}

impl Refusal {
    /// The reason, without its particulars.
    #[must_use]
    pub fn code(&self) -> RefusalCode {
        match self {
            Self::NoPolicyMatches { .. } => RefusalCode::NoPolicyMatches,
            Self::OnlyAudited { .. } => RefusalCode::OnlyAudited,
            Self::PolicyUnusable { .. } => RefusalCode::PolicyUnusable,
            Self::Unsigned { .. } => RefusalCode::Unsigned,
            Self::SignatureInvalid { .. } => RefusalCode::SignatureInvalid,
            Self::NotTrustedIdentity { .. } => RefusalCode::NotTrustedIdentity,
            Self::RootUnavailable { .. } => RefusalCode::RootUnavailable,
            Self::NotInLog { .. } => RefusalCode::NotInLog,
            Self::KeyRevoked { .. } => RefusalCode::KeyRevoked,
            Self::SignedTooEarly { .. } => RefusalCode::SignedTooEarly,
            Self::TooFewSigners { .. } => RefusalCode::TooFewSigners,
            Self::AttestationMissing { .. } => RefusalCode::AttestationMissing,
            Self::AttestationRejected { .. } => RefusalCode::AttestationRejected,
            Self::DigestDenied { .. } => RefusalCode::DigestDenied,
            Self::VersionTooOld { .. } => RefusalCode::VersionTooOld,
            Self::SignatureForAnotherDigest { .. } => RefusalCode::SignatureForAnotherDigest,
            Self::AttestationOnly { .. } => RefusalCode::AttestationOnly,
            Self::SignatureMalformed { .. } => RefusalCode::SignatureMalformed,
            Self::DigestMismatch { .. } => RefusalCode::DigestMismatch,
            Self::UnsupportedArtifact { .. } => RefusalCode::UnsupportedArtifact,
            Self::CoreModule => RefusalCode::CoreModule,
            Self::Precompiled { .. } => RefusalCode::Precompiled,
            Self::InvalidComponent { .. } => RefusalCode::InvalidComponent,
            Self::ManifestInvalid { .. } => RefusalCode::ManifestInvalid,
            Self::TooLarge { .. } => RefusalCode::TooLarge,
        }
    }

    /// Whether the artifact was judged. Otherwise it may be admitted once what
    /// was missing is there, and nothing that runs is stopped because of it.
    #[must_use]
    pub fn is_verdict(&self) -> bool {
        !matches!(self, Self::RootUnavailable { .. })
    }

    /// A part with a limit in bytes that is above it.
    pub(crate) fn too_many_bytes(
        part: &'static str,
        actual: u64,
        limit: usize,
        mend: &'static str,
    ) -> Self {
        Self::TooLarge {
            part,
            actual: format!("{actual} bytes"),
            limit: format!("{limit} bytes"),
            mend,
        }
    }

    /// An artifact of another kind.
    pub(crate) fn unsupported(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::UnsupportedArtifact {
            found: found.into(),
            mend: mend.into(),
        }
    }

    /// A component that does not validate.
    pub(crate) fn invalid(problem: impl Into<String>) -> Self {
        Self::InvalidComponent {
            problem: problem.into(),
        }
    }
}
