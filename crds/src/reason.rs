//! Why: one closed list of reasons for conditions, Events, metric labels and
//! retry decisions.
//!
//! Every part names what happened with one of these words, so that a person finds
//! the same word in `kubectl describe`, in a metric and in the manual. Knows
//! nothing of how a reason comes about.

mod blame;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::bound;

/// Why something is as it is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::AsRefStr,
    strum::IntoStaticStr,
    strum::EnumIter,
    strum::EnumString,
)]
pub enum Reason {
    // Progress and good ends
    /// Everything is as the spec says.
    Ready,
    /// The image's tag stands for a known digest.
    Resolved,
    /// A trusted signature was found.
    Verified,
    /// What the component asks for and grants is allowed.
    Admitted,
    /// Every replica has a node.
    Placed,
    /// Enough replicas serve.
    Available,
    /// The object can be applied as it is.
    Accepted,
    /// The rollout has ended well.
    Complete,
    /// No replica is asked for.
    ScaledToZero,
    /// Enough replicas run.
    Running,
    /// Every replica has run and ended well; none is started again.
    RunCompleted,
    // On the way
    /// The image's tag is being resolved.
    Resolving,
    /// The image is being pulled and verified.
    Verifying,
    /// Nodes are being chosen.
    Placing,
    /// Nodes fetch, verify, compile or start the revision.
    Preparing,
    /// Nodes take over the revision, wave by wave.
    RollingOut,
    /// The last requests of an old revision are ending.
    Draining,
    /// The revision serves, but not yet for minReadySeconds.
    MinReadyPending,
    /// The agent of the node has not reported yet.
    AwaitingAgent,
    // The spec
    /// The spec contradicts itself or names what does not exist.
    InvalidSpec,
    /// The image is no registry/repository:tag.
    InvalidImageReference,
    /// A variable's name or value cannot be given to a component.
    InvalidValue,
    /// A trust policy cannot be applied as it is.
    PolicyUnusable,
    /// The object comes from a later version and cannot be read.
    Undecodable,
    /// The served definitions lack fields; the chart lighterman-crds is older than the operator.
    CrdsOutdated,
    /// The ValidatingAdmissionPolicy that guards placements is not in force.
    AdmissionPolicyMissing,
    // Registry
    /// The registry does not answer.
    RegistryUnreachable,
    /// The registry refuses the credentials, or asks for some.
    RegistryUnauthorized,
    /// The registry answers too slowly.
    RegistryTimeout,
    /// The registry asks to come back later.
    RegistryRateLimited,
    /// The registry fails with an error of its own.
    RegistryUnavailable,
    /// The registry answers in a way that the OCI specification does not allow.
    RegistryMisbehaved,
    /// The registry sends the pull to an address that may not be asked.
    RedirectRefused,
    /// The registry, or where it points to, has an address that the platform does not let images be pulled from.
    RegistryAddressRefused,
    /// The registry has no such repository, tag or digest.
    ImageNotFound,
    /// The registry could not be asked for signatures: not checked, which is neither signed nor unsigned.
    ReferrersUnavailable,
    /// The operator's registry settings cannot be used.
    RegistryMisconfigured,
    // The artifact
    /// No trust policy covers the image.
    NoPolicyMatches,
    /// Only policies with mode: Audit cover the image, and they never admit.
    OnlyAudited,
    /// The image has no signature.
    Unsigned,
    /// No signature was made by a key of the policy.
    SignatureInvalid,
    /// Signed by certificate, but by no identity of the policy.
    NotTrustedIdentity,
    /// A trusted root that the policy needs is not there: not checked, which is neither signed nor unsigned.
    RootUnavailable,
    /// The policy is in force by a public root whose update is overdue.
    RootStale,
    /// The signature is not proven to be in a transparency log, as the policy demands.
    NotInLog,
    /// The signature is by a key that the policy has revoked.
    KeyRevoked,
    /// The signature is older than the policy's notBefore, or nothing proves its age.
    SignedTooEarly,
    /// Fewer keys and identities have signed than the policy's minimumMatches.
    TooFewSigners,
    /// An attestation that the policy demands is missing.
    AttestationMissing,
    /// An attestation does not meet the policy's conditions.
    AttestationRejected,
    /// The policy's deny.digests names the image.
    DigestDenied,
    /// The component is older than the policy's minVersions.
    VersionTooOld,
    /// The signature speaks of another digest.
    SignatureForAnotherDigest,
    /// There are attestations, and no signature.
    AttestationOnly,
    /// A signature bundle cannot be read.
    SignatureMalformed,
    /// Bytes do not have the digest they were asked by.
    DigestMismatch,
    /// The manifest cannot be read.
    MalformedManifest,
    /// The image holds something other than one WebAssembly component.
    UnsupportedArtifact,
    /// The image holds a core module, not a component.
    CoreModule,
    /// The image holds machine code, which is never run.
    Precompiled,
    /// The component does not pass validation.
    InvalidComponent,
    /// The image, or a part of it, is larger than what is admitted.
    TooLarge,
    /// The component imports an interface that it is not granted.
    ImportNotGranted,
    /// The component lacks the export that its trigger calls.
    ExportMissing,
    // Capabilities
    /// The component's manifest of what it asks for cannot be read.
    ManifestInvalid,
    /// A capability policy asks for a manifest, and the component carries none.
    ManifestRequired,
    /// The manifest asks for something that the component does not grant.
    CapabilityNotGranted,
    /// The component grants something that a capability policy does not allow.
    CapabilityAboveCeiling,
    /// A limit of the component is above that of a capability policy or of its own manifest.
    LimitAboveCeiling,
    /// The namespace's components take together more than a capability policy allows.
    TotalsExceeded,
    /// The version asks for more than the last approved one, and nobody has approved it yet.
    ApprovalRequired,
    /// The agent cannot read the capability policies.
    CapabilityPoliciesUnavailable,
    /// A volume of the component cannot be provided on the node.
    VolumeUnavailable,
    /// The component tried to use something that it is not granted.
    CapabilityDenied,
    // Secrets and ConfigMaps
    /// A Secret of imagePullSecrets does not exist.
    ImagePullSecretMissing,
    /// A Secret of imagePullSecrets is no dockerconfigjson.
    ImagePullSecretInvalid,
    /// A credential provider of the platform failed, and the registry wants credentials.
    CredentialProviderFailed,
    /// A Secret does not exist.
    SecretMissing,
    /// A Secret lacks the key.
    SecretKeyMissing,
    /// The operator may not read Secrets of the namespace.
    SecretForbidden,
    /// Secret values are gone from the node, and the operator cannot be asked for them.
    SecretsUnavailable,
    /// A ConfigMap does not exist.
    ConfigMapMissing,
    /// A ConfigMap lacks the key.
    ConfigMapKeyMissing,
    // Placement
    /// No node can take the replica; the message has the reason of each.
    NoNodeAvailable,
    /// The node has too little memory left for resources.requests.
    InsufficientMemory,
    /// The node holds as many components as it can.
    InsufficientSlots,
    /// The node lacks labels of placement.nodeSelector.
    NodeSelectorMismatch,
    /// The node has a taint that the component does not tolerate.
    TaintNotTolerated,
    /// The node, or the agent on it, is not ready.
    NodeNotReady,
    /// The node is cordoned or about to go.
    NodeUnschedulable,
    /// No agent runs on the node.
    AgentMissing,
    /// The agent of the node has not been heard of for too long.
    AgentSilent,
    /// So many agents fell silent at once that nothing is moved.
    MassSilence,
    /// The agent of the node is too old for what the component asks, or was not told to do it.
    FeatureMissing,
    // Ports and the Service
    /// All ports for components are taken or in quarantine.
    NoPortFree,
    /// Something else listens on the port on the node.
    PortInUse,
    /// A Service of this name exists that is not the component's.
    ServiceConflict,
    /// The API server refuses the Service.
    ServiceRefused,
    /// A quota of the namespace does not admit what the component needs.
    QuotaExceeded,
    // Compilation and start
    /// Compilation took too long.
    CompileTimeout,
    /// Compilation took too much memory.
    CompileMemoryExceeded,
    /// The component could not be compiled.
    CompileFailed,
    /// The compiled code is larger than what is admitted.
    MachineCodeTooLarge,
    /// The component could not be linked.
    LinkFailed,
    /// The first instance trapped or failed.
    StartFailed,
    /// The component was not healthy within health.startTimeout.
    StartTimeout,
    /// The component did not listen on one of its ports within health.startTimeout.
    NotListening,
    /// The health check was answered with an error.
    HealthCheckFailed,
    /// The component ended the worker twice and is not started again.
    CrashQuarantined,
    /// A replica has ended, and waits to be started again.
    RunRestarting,
    /// A replica has failed, and its restartPolicy does not start it again.
    RunFailed,
    // Limits of a call
    /// A call asked for more memory than perCall.memory or perReplica.memory.
    MemoryExceeded,
    /// A call used more than perCall.cpuTime.
    CpuExceeded,
    /// A call used more than perCall.fuel.
    FuelExhausted,
    /// A call read and wrote more than perCall.io.
    IoExceeded,
    /// No response head within perCall.timeout.
    TimeoutExceeded,
    /// All of the component's calls are in flight.
    ConcurrencyLimit,
    /// All of the node's slots, or its memory for guests, are taken.
    NodeSaturated,
    /// The guest trapped.
    Trapped,
    /// The guest returned without an answer, or with an error.
    GuestError,
    /// The response began and could not be finished.
    Truncated,
    /// The request was refused before a guest saw it.
    BadRequest,
    /// The request body is larger than maxRequestBody.
    RequestTooLarge,
    /// The caller went away.
    Cancelled,
    /// The host failed while it worked for the guest.
    HostFault,
    // Hand-over
    /// The operator's hand-over does not answer.
    HandOverUnreachable,
    /// The hand-over does not accept the agent's token.
    HandOverUnauthenticated,
    /// The hand-over serves only what is placed on the node.
    HandOverForbidden,
    /// The hand-over has not seen the placement yet.
    HandOverNotYet,
    /// The hand-over serves as many transfers as it may.
    HandOverBusy,
    /// The replica of the operator that was asked does not lead; another one is asked.
    HandOverNotLeading,
    /// There is no such revision.
    RevisionUnknown,
    /// There are no such bytes.
    BlobUnknown,
    /// The revision was not sealed by the operator, or was changed since.
    SealInvalid,
    /// The revision gives its code something that the component, as the node reads it, does not.
    GrantExceeded,
    // The agent
    /// The agent is being stopped.
    AgentStopping,
    /// The agent's worker is being started again.
    WorkerRestarting,
    /// The agent's compiler does not answer.
    CompilerUnavailable,
    /// The node's disk is full.
    NoSpace,
    /// A cache file was damaged; the component is compiled again.
    CacheDamaged,
    /// The agent cannot read the trust policies.
    TrustUnavailable,
    /// The agent cannot listen on the component's port.
    ListenFailed,
    // Rollout
    /// The new revision failed on a node; the old one goes on serving.
    RevisionFailed,
    /// The new revision failed, and the one that served before is back.
    RolledBack,
    /// The new revision has not reached another node within rollout.progressDeadlineSeconds.
    ProgressDeadlineExceeded,
    /// Another revision is to take over, and rollout.paused says not yet.
    RolloutPaused,
    /// rollout.pin names a revision that is not kept.
    PinUnknown,
    /// A step of the canary lasts until somebody goes on with it.
    CanaryPaused,
    /// The requests of a canary went worse than rollout.canary.analysis allows.
    CanaryFailed,
    /// A ControllerRevision of this name was not written by the operator.
    RevisionForged,
    // Tolerance
    /// A reason of a later version.
    #[serde(other)]
    Unknown,
}

/// What to do about a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display)]
pub enum Retry {
    /// Nothing: this is how it should be.
    Settled,
    /// Wait for the next event; it is on its way.
    Soon,
    /// Try again, ever more seldom: something outside has to change.
    WithBackoff,
    /// Do not try again until somebody changes the object, the image or the policy.
    OnChange,
}

impl Reason {
    /// The reason that another list of this project calls by the same word, such as the
    /// codes of refused artifacts; [`Reason::Unknown`] when there is none.
    pub fn named(word: &str) -> Self {
        word.parse().unwrap_or(Self::Unknown)
    }

    /// What to do about it.
    pub fn retry(self) -> Retry {
        match self {
            Self::Ready
            | Self::Resolved
            | Self::Verified
            | Self::Admitted
            | Self::Placed
            | Self::Available
            | Self::Accepted
            | Self::Complete
            | Self::ScaledToZero
            | Self::Running
            | Self::RunCompleted => Retry::Settled,
            Self::Resolving
            | Self::Verifying
            | Self::Placing
            | Self::Preparing
            | Self::RollingOut
            | Self::Draining
            | Self::MinReadyPending
            | Self::AwaitingAgent
            | Self::MemoryExceeded
            | Self::CpuExceeded
            | Self::FuelExhausted
            | Self::IoExceeded
            | Self::TimeoutExceeded
            | Self::ConcurrencyLimit
            | Self::NodeSaturated
            | Self::Trapped
            | Self::GuestError
            | Self::Truncated
            | Self::BadRequest
            | Self::RequestTooLarge
            | Self::Cancelled
            | Self::HostFault
            | Self::CapabilityDenied => Retry::Soon,
            Self::RegistryUnreachable
            | Self::RegistryUnauthorized
            | Self::RegistryTimeout
            | Self::RegistryRateLimited
            | Self::RegistryUnavailable
            | Self::RegistryMisbehaved
            | Self::RedirectRefused
            | Self::RegistryAddressRefused
            | Self::ImageNotFound
            | Self::ReferrersUnavailable
            | Self::RegistryMisconfigured
            | Self::ImagePullSecretMissing
            | Self::ImagePullSecretInvalid
            | Self::CredentialProviderFailed
            | Self::SecretMissing
            | Self::SecretKeyMissing
            | Self::SecretForbidden
            | Self::SecretsUnavailable
            | Self::ConfigMapMissing
            | Self::ConfigMapKeyMissing
            | Self::NoNodeAvailable
            | Self::InsufficientMemory
            | Self::InsufficientSlots
            | Self::NodeSelectorMismatch
            | Self::TaintNotTolerated
            | Self::NodeNotReady
            | Self::NodeUnschedulable
            | Self::AgentMissing
            | Self::AgentSilent
            | Self::MassSilence
            | Self::FeatureMissing
            | Self::NoPortFree
            | Self::PortInUse
            | Self::ServiceConflict
            | Self::ServiceRefused
            | Self::QuotaExceeded
            | Self::HandOverUnreachable
            | Self::HandOverUnauthenticated
            | Self::HandOverForbidden
            | Self::HandOverNotYet
            | Self::HandOverBusy
            | Self::HandOverNotLeading
            | Self::RevisionUnknown
            | Self::BlobUnknown
            | Self::SealInvalid
            | Self::AgentStopping
            | Self::WorkerRestarting
            | Self::CompilerUnavailable
            | Self::NoSpace
            | Self::CacheDamaged
            | Self::TrustUnavailable
            | Self::CapabilityPoliciesUnavailable
            | Self::VolumeUnavailable
            | Self::TotalsExceeded
            | Self::RootUnavailable
            | Self::RootStale
            | Self::ListenFailed
            | Self::RunRestarting
            | Self::Unknown => Retry::WithBackoff,
            Self::InvalidSpec
            | Self::InvalidImageReference
            | Self::InvalidValue
            | Self::PolicyUnusable
            | Self::Undecodable
            | Self::CrdsOutdated
            | Self::AdmissionPolicyMissing
            | Self::NoPolicyMatches
            | Self::OnlyAudited
            | Self::Unsigned
            | Self::SignatureInvalid
            | Self::NotTrustedIdentity
            | Self::NotInLog
            | Self::KeyRevoked
            | Self::SignedTooEarly
            | Self::TooFewSigners
            | Self::AttestationMissing
            | Self::AttestationRejected
            | Self::DigestDenied
            | Self::VersionTooOld
            | Self::SignatureForAnotherDigest
            | Self::AttestationOnly
            | Self::SignatureMalformed
            | Self::DigestMismatch
            | Self::MalformedManifest
            | Self::UnsupportedArtifact
            | Self::CoreModule
            | Self::Precompiled
            | Self::InvalidComponent
            | Self::TooLarge
            | Self::ImportNotGranted
            | Self::ExportMissing
            | Self::CompileTimeout
            | Self::CompileMemoryExceeded
            | Self::CompileFailed
            | Self::MachineCodeTooLarge
            | Self::LinkFailed
            | Self::StartFailed
            | Self::StartTimeout
            | Self::NotListening
            | Self::HealthCheckFailed
            | Self::CrashQuarantined
            | Self::RunFailed
            | Self::RevisionFailed
            | Self::RolledBack
            | Self::ProgressDeadlineExceeded
            | Self::RolloutPaused
            | Self::CanaryPaused
            | Self::CanaryFailed
            | Self::PinUnknown
            | Self::GrantExceeded
            | Self::ManifestInvalid
            | Self::ManifestRequired
            | Self::CapabilityNotGranted
            | Self::CapabilityAboveCeiling
            | Self::LimitAboveCeiling
            | Self::ApprovalRequired
            | Self::RevisionForged => Retry::OnChange,
        }
    }

    /// Whether it stays until somebody changes something: what kstatus calls stalled.
    pub fn is_refusal(self) -> bool {
        self.retry() == Retry::OnChange
    }

    /// Whether this is how it should be.
    pub fn is_settled(self) -> bool {
        self.retry() == Retry::Settled
    }
}

/// A bounded text and no enumeration: a later version may add reasons, and objects
/// that carry them must pass an older schema.
impl JsonSchema for Reason {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": bound::WORD})
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn every_reason_is_a_legal_condition_reason_and_reads_back() {
        for reason in Reason::iter() {
            let text = reason.to_string();
            assert!(text.len() <= bound::WORD as usize, "{text}");
            assert!(text.chars().all(|c| c.is_ascii_alphanumeric()), "{text}");
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()), "{text}");
            assert_eq!(text.parse::<Reason>().unwrap(), reason);
            assert_eq!(serde_json::to_value(reason).unwrap(), text.as_str());
        }
    }

    #[test]
    fn a_reason_of_a_later_version_is_read_as_unknown_and_tried_again() {
        let read: Reason = serde_json::from_str("\"InventedTomorrow\"").unwrap();
        assert_eq!(read, Reason::Unknown);
        assert_eq!(read.retry(), Retry::WithBackoff);
    }

    #[test]
    fn a_refused_artifact_is_not_tried_again_and_a_silent_registry_is() {
        assert!(Reason::Unsigned.is_refusal());
        assert!(Reason::Precompiled.is_refusal());
        assert_eq!(Reason::RegistryUnreachable.retry(), Retry::WithBackoff);
        assert_eq!(Reason::ReferrersUnavailable.retry(), Retry::WithBackoff);
        assert!(Reason::Complete.is_settled());
    }
}
