//! What to type next, by the reason why a component is not ready.
//!
//! Pure. The message of the condition says what is wrong; this is where one looks then, or what
//! mends it. No wildcard: a new reason has to be given its place.

use crds::Reason;

/// Lines to type, the most useful first.
pub(super) fn next(
    is_ready: bool,
    reason: Reason,
    namespace: &str,
    name: &str,
    image: &str,
) -> Vec<String> {
    let status = format!("kubectl lm status {name} -n {namespace}");
    if is_ready {
        return vec![status];
    }
    let lines: Vec<String> = match reason {
        Reason::Unsigned
        | Reason::AttestationOnly
        | Reason::SignatureForAnotherDigest
        | Reason::TooFewSigners => vec![
            format!("cosign sign --key KEY {image}"),
            format!("lighterman verify --policy POLICY.yaml {image}"),
        ],
        Reason::SignatureInvalid
        | Reason::SignatureMalformed
        | Reason::NotTrustedIdentity
        | Reason::NotInLog
        | Reason::KeyRevoked
        | Reason::SignedTooEarly
        | Reason::AttestationMissing
        | Reason::AttestationRejected
        | Reason::DigestDenied
        | Reason::VersionTooOld
        | Reason::RootUnavailable
        | Reason::RootStale
        | Reason::TrustUnavailable
        | Reason::PolicyUnusable => vec![
            "kubectl get trustpolicies -o yaml".to_owned(),
            format!("lighterman verify --policy POLICY.yaml {image}"),
        ],
        Reason::NoPolicyMatches | Reason::OnlyAudited => vec![
            "kubectl get trustpolicies".to_owned(),
            format!("lighterman trust init --key KEY.pub --images {image}"),
        ],
        Reason::ApprovalRequired => vec![format!("kubectl lm approve {name} -n {namespace}")],
        Reason::CapabilityNotGranted
        | Reason::CapabilityAboveCeiling
        | Reason::LimitAboveCeiling
        | Reason::TotalsExceeded
        | Reason::ManifestRequired
        | Reason::ManifestInvalid
        | Reason::CapabilityPoliciesUnavailable
        | Reason::ImportNotGranted => vec![
            format!("lighterman inspect {image}"),
            "kubectl get capabilitypolicies -o yaml".to_owned(),
        ],
        Reason::UnsupportedArtifact
        | Reason::CoreModule
        | Reason::Precompiled
        | Reason::InvalidComponent
        | Reason::MalformedManifest
        | Reason::DigestMismatch
        | Reason::TooLarge
        | Reason::ExportMissing => vec![format!("lighterman inspect {image}")],
        Reason::RegistryUnreachable
        | Reason::RegistryTimeout
        | Reason::RegistryRateLimited
        | Reason::RegistryUnavailable
        | Reason::RegistryMisbehaved
        | Reason::RedirectRefused
        | Reason::RegistryAddressRefused
        | Reason::RegistryMisconfigured
        | Reason::ReferrersUnavailable
        | Reason::ImageNotFound
        | Reason::CredentialProviderFailed => vec![format!("lighterman inspect {image}")],
        Reason::RegistryUnauthorized
        | Reason::ImagePullSecretMissing
        | Reason::ImagePullSecretInvalid => vec![
            format!(
                "kubectl get secrets -n {namespace} --field-selector type=kubernetes.io/dockerconfigjson"
            ),
            format!(
                "kubectl create secret docker-registry NAME -n {namespace} --docker-server=HOST --docker-username=USER"
            ),
        ],
        Reason::SecretMissing
        | Reason::SecretKeyMissing
        | Reason::SecretForbidden
        | Reason::SecretsUnavailable => vec![format!("kubectl get secrets -n {namespace}")],
        Reason::ConfigMapMissing | Reason::ConfigMapKeyMissing => {
            vec![format!("kubectl get configmaps -n {namespace}")]
        }
        Reason::NoNodeAvailable
        | Reason::InsufficientMemory
        | Reason::InsufficientSlots
        | Reason::NodeSelectorMismatch
        | Reason::TaintNotTolerated
        | Reason::NodeNotReady
        | Reason::NodeUnschedulable
        | Reason::AgentMissing
        | Reason::AgentSilent
        | Reason::MassSilence
        | Reason::FeatureMissing
        | Reason::AwaitingAgent
        | Reason::NoSpace
        | Reason::VolumeUnavailable
        | Reason::NodeSaturated => {
            vec![
                "kubectl get wasmnodes".to_owned(),
                "kubectl get nodes --show-labels".to_owned(),
            ]
        }
        Reason::ServiceConflict | Reason::ServiceRefused => {
            vec![format!("kubectl get service {name} -n {namespace} -o yaml")]
        }
        Reason::QuotaExceeded => vec![format!("kubectl describe resourcequotas -n {namespace}")],
        Reason::InvalidSpec | Reason::InvalidImageReference | Reason::InvalidValue => vec![
            format!("kubectl get wc {name} -n {namespace} -o yaml > {name}.yaml"),
            format!("lighterman check {name}.yaml"),
        ],
        // It failed, or something of the platform did: what the node said is above.
        Reason::Undecodable
        | Reason::CrdsOutdated
        | Reason::AdmissionPolicyMissing
        | Reason::NoPortFree
        | Reason::PortInUse
        | Reason::CompileTimeout
        | Reason::CompileMemoryExceeded
        | Reason::CompileFailed
        | Reason::MachineCodeTooLarge
        | Reason::LinkFailed
        | Reason::StartFailed
        | Reason::StartTimeout
        | Reason::NotListening
        | Reason::HealthCheckFailed
        | Reason::CrashQuarantined
        | Reason::MemoryExceeded
        | Reason::CpuExceeded
        | Reason::FuelExhausted
        | Reason::IoExceeded
        | Reason::TimeoutExceeded
        | Reason::ConcurrencyLimit
        | Reason::Trapped
        | Reason::GuestError
        | Reason::Truncated
        | Reason::BadRequest
        | Reason::RequestTooLarge
        | Reason::Cancelled
        | Reason::HostFault
        | Reason::CapabilityDenied
        | Reason::HandOverUnreachable
        | Reason::HandOverUnauthenticated
        | Reason::HandOverForbidden
        | Reason::HandOverNotYet
        | Reason::HandOverBusy
        | Reason::HandOverNotLeading
        | Reason::RevisionUnknown
        | Reason::BlobUnknown
        | Reason::SealInvalid
        | Reason::GrantExceeded
        | Reason::AgentStopping
        | Reason::WorkerRestarting
        | Reason::CompilerUnavailable
        | Reason::CacheDamaged
        | Reason::ListenFailed
        | Reason::RevisionForged
        | Reason::Unknown => vec![format!(
            "kubectl describe wcp -n {namespace} -l lighterman.dev/component={name}"
        )],
        Reason::RevisionFailed
        | Reason::RunRestarting
        | Reason::RunFailed
        | Reason::RolledBack
        | Reason::CanaryFailed
        | Reason::ProgressDeadlineExceeded => vec![
            format!("kubectl lm rollout history {name} -n {namespace}"),
            format!("kubectl describe wcp -n {namespace} -l lighterman.dev/component={name}"),
        ],
        Reason::PinUnknown => {
            vec![format!("kubectl lm rollout history {name} -n {namespace}")]
        }
        Reason::CanaryPaused => vec![
            format!("kubectl lm rollout resume {name} -n {namespace}"),
            format!("kubectl lm rollout undo {name} -n {namespace}"),
        ],
        Reason::RolloutPaused => vec![format!("kubectl lm rollout resume {name} -n {namespace}")],
        // Under way, or as it should be.
        Reason::Ready
        | Reason::Resolved
        | Reason::Verified
        | Reason::Admitted
        | Reason::Placed
        | Reason::Available
        | Reason::Accepted
        | Reason::Complete
        | Reason::ScaledToZero
        | Reason::Running
        | Reason::RunCompleted
        | Reason::Resolving
        | Reason::Verifying
        | Reason::Placing
        | Reason::Preparing
        | Reason::RollingOut
        | Reason::Draining
        | Reason::MinReadyPending => {
            vec![format!(
                "kubectl wait wc/{name} -n {namespace} --for=condition=Ready"
            )]
        }
    };
    lines.into_iter().chain([status]).collect()
}
