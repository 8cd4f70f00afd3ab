//! From a component as written to one that may run: validate, resolve, verify, admit.
//!
//! Every step is the operator's own; this file only puts them in order, with documents for
//! what an API server knows, and gives a refusal the reason that a cluster would report.
//! Talks to registries.

use std::collections::BTreeMap;
use std::sync::Arc;

use artifact::trust::{Scope, Trust};
use artifact::{Digest, ImageReference};
use crds::Reason;
use crds::handover::Values;
use crds::revision::{RevisionDocument, Seal};
use jiff::Timestamp;
use operator::ceilings::{Policies, Usage};
use operator::component::observe::{Blocked, Observed};
use operator::component::resolve::{self, ResolveError, Resolved};
use operator::component::revision::KnownRevision;
use operator::component::{Decision, Validated, admit, revision, validate};
use operator::node::Nodes;
use operator::placement::Mode;
use operator::resolver::{Admitted, Resolution};
use operator::rollout::Calls;
use operator::service::Standing;
use operator::values as lookup;
use registry::{Client, Credentials, PullSecret};

use super::observe::Wanted;
use super::values::Files;
use crate::access;
use crate::documents::{self, Documents};
use crate::failure::Failure;
use crate::roots;

/// Why a component may not run, or why that could not be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The reason that a cluster would report.
    pub(super) reason: Reason,
    /// What is wrong and what mends it.
    pub(super) message: String,
    /// Whether it is a verdict; otherwise something did not answer.
    pub(super) verdict: bool,
}

/// A component whose image stands for a digest; nothing is verified yet.
#[derive(Debug)]
pub(super) struct Named {
    /// The component.
    pub(super) validated: Validated,
    /// The digest that the image stands for.
    pub(super) digest: Digest,
    credentials: Vec<Credentials>,
}

/// What the rest of the files means for a component.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    /// The documents.
    pub(super) documents: &'a Documents,
    /// What was admitted of the component last.
    pub(super) earlier: Option<RevisionDocument>,
    /// What the other components of its namespace take.
    pub(super) usage: Usage,
}

/// A component that may run.
#[derive(Debug)]
pub(super) struct Judged {
    /// What runs.
    pub(super) document: RevisionDocument,
    /// Its bytes and who vouched for them.
    pub(super) resolved: Resolved,
    /// Its values.
    pub(super) values: Values,
    /// Whether a manifest says what it asks for.
    pub(super) has_manifest: bool,
}

impl Named {
    /// How many times the budget of one replica is given on the one node there is.
    pub(super) fn replicas(&self) -> u32 {
        match self.validated.demand.mode {
            Mode::EveryNode => 1,
            Mode::Spread { replicas } => replicas,
        }
    }
}

/// Looks up what the image stands for now. Asks the policies before any registry.
pub(super) async fn name(
    client: &Client,
    wanted: &Wanted,
    documents: &Documents,
) -> Result<Named, Refused> {
    let validated = validate(&wanted.component).map_err(|problems| Refused {
        reason: Reason::InvalidSpec,
        message: problems
            .first()
            .map(|problem| format!("{}: {}: {}", problem.field, problem.message, problem.mend))
            .unwrap_or_default(),
        verdict: true,
    })?;
    let credentials = credentials(&validated, documents)?;
    let labels = documents::namespace_labels(&validated.key.namespace);
    let scope = Scope {
        image: &validated.image,
        namespace: &validated.key.namespace,
        labels: &labels,
    };
    let digest = resolve::digest(
        client,
        &credentials,
        &scope,
        &wanted.policies,
        &validated.image,
    )
    .await?;
    Ok(Named {
        validated,
        digest,
        credentials,
    })
}

/// Pulls, verifies, and admits.
pub(super) async fn judge(
    client: &Client,
    wanted: &Wanted,
    named: &Named,
    around: Surroundings<'_>,
) -> Result<Judged, Refused> {
    let Named {
        validated,
        digest,
        credentials,
    } = named;
    let documents = around.documents;
    let labels = documents::namespace_labels(&validated.key.namespace);
    let scope = Scope {
        image: &validated.image,
        namespace: &validated.key.namespace,
        labels: &labels,
    };
    let parcel = resolve::pull(client, credentials, &validated.image, digest).await?;
    let trust = Trust {
        policies: &wanted.policies,
        roots: &roots::roots(&wanted.policies, &documents.config_maps),
        now: Timestamp::now(),
    };
    let resolved = resolve::verify(&scope, &trust, digest, &parcel)?;
    let document = revision(validated, digest, resolved.verified.requests());
    let observed = observed(wanted, &labels, &resolved, *digest, around);
    let has_manifest = match admit(&observed, validated).decision {
        Decision::Admitted { has_manifest } => has_manifest,
        Decision::Refused(blocked) => return Err(blocked.into()),
        Decision::Waiting => return Err(unknown()),
    };
    let values = lookup::resolve(
        &Files(documents),
        &validated.key.namespace,
        (&document).into(),
    )
    .await
    .map_err(|error| Refused {
        reason: error.reason(),
        message: error.to_string(),
        verdict: true,
    })?;
    Ok(Judged {
        document,
        resolved,
        values,
        has_manifest,
    })
}

/// What the operator would have gathered, had it met the same documents in a cluster.
fn observed(
    wanted: &Wanted,
    labels: &BTreeMap<String, String>,
    resolved: &Resolved,
    digest: Digest,
    around: Surroundings<'_>,
) -> Observed {
    let policies = &around.documents.capability_policies;
    Observed {
        component: Arc::new(wanted.component.clone()),
        resolution: Resolution::Done(Admitted {
            digest,
            signers: resolved.verified.signers().to_vec(),
            facts: resolved.verified.facts().clone(),
            requests: resolved.verified.requests().to_vec(),
            findings: Vec::new(),
        }),
        reviews: Vec::new(),
        policies: Policies::covering(policies, Some(labels)),
        usage: around.usage,
        since_stop: None,
        since_progress: None,
        calls: Calls::default(),
        values: Ok(()),
        nodes: Nodes::default(),
        placements: Vec::new(),
        revisions: around.earlier.map(known).into_iter().collect(),
        next_revision: 1,
        service: Standing::Absent,
        slices: Vec::new(),
        since_slices: None,
        network_policy: None,
        previews: Vec::new(),
        ports: Ok(BTreeMap::new()),
    }
}

/// A revision that was admitted in this process, where no seal is needed to believe it.
fn known(document: RevisionDocument) -> KnownRevision {
    KnownRevision {
        name: document.revision_name(),
        number: 0,
        document,
        seal: Seal {
            cluster_uid: String::new(),
            generation: 0,
            signature: String::new(),
        },
    }
}

/// Cannot be: what was resolved and verified is known.
fn unknown() -> Refused {
    Refused {
        reason: Reason::Unknown,
        message: "it is not known what the component asks for".to_owned(),
        verdict: false,
    }
}

/// The credentials of the pull secrets in the files; without any, those of `docker login`.
fn credentials(validated: &Validated, documents: &Documents) -> Result<Vec<Credentials>, Refused> {
    let files = Files(documents);
    let named = validated.pull_secrets.iter();
    let secrets: Vec<PullSecret> = named
        .filter_map(|name| files.secret(&validated.key.namespace, name))
        .filter_map(|mut data| data.remove(".dockerconfigjson"))
        .map(|text| PullSecret::parse(&text))
        .collect::<Result<_, _>>()
        .map_err(|error| invalid_secret(&error))?;
    let found = PullSecret::for_image(&secrets, &validated.image)
        .map_err(|error| invalid_secret(&error))?;
    if found.is_empty() {
        logged_in(&validated.image)
    } else {
        Ok(found)
    }
}

fn logged_in(image: &ImageReference) -> Result<Vec<Credentials>, Refused> {
    access::credentials(image)
        .map(|credentials| vec![credentials])
        .map_err(|failure| Refused {
            reason: Reason::ImagePullSecretInvalid,
            message: failure.to_string(),
            verdict: false,
        })
}

fn invalid_secret(error: &registry::pull_secret::PullSecretError) -> Refused {
    Refused {
        reason: Reason::ImagePullSecretInvalid,
        message: error.to_string(),
        verdict: true,
    }
}

impl From<ResolveError> for Refused {
    fn from(error: ResolveError) -> Refused {
        Refused {
            reason: error.reason(),
            verdict: error.is_verdict(),
            message: access::sentence(&error),
        }
    }
}

impl From<Blocked> for Refused {
    fn from(blocked: Blocked) -> Refused {
        Refused {
            reason: blocked.reason,
            message: blocked.message,
            verdict: true,
        }
    }
}

impl Refused {
    /// As the failure of a command.
    pub(super) fn failure(&self, component: &str) -> Failure {
        let what = format!("{component}: {}: {}", self.reason, self.message);
        let mend = match self.reason {
            Reason::NoPolicyMatches => {
                "add a TrustPolicy to the files (`lighterman keygen` prints one), or run a local build with --set-image"
            }
            Reason::CapabilityAboveCeiling => {
                "in a cluster the platform team's CapabilityPolicies decide that; here, those in the files"
            }
            _ => "",
        };
        if self.verdict {
            Failure::refused(what, mend)
        } else {
            Failure::unavailable(what, mend)
        }
    }
}
