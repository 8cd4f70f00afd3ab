//! Whether a component may start with what it asks for, what it is granted, and what the
//! capability policies of this node's own reading allow: the same judgement that the operator
//! made. Plain functions over values; called by `prepare`.

use capability::judge::{self, RefusalKind};
use capability::{Ceiling, Effective, Request};
use crds::Reason;
use crds::revision::RevisionDocument;

/// Why a component may not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotAdmitted {
    reason: Reason,
    message: String,
}

impl NotAdmitted {
    /// The reason a status shows.
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

/// What the code of a revision may do, as long as these ceilings are those of its namespace.
pub fn effective(
    document: &RevisionDocument,
    requests: Vec<Request>,
    ceilings: Vec<Ceiling>,
) -> Effective {
    Effective {
        requests,
        grant: document.capabilities.grant(&document.volumes),
        ceilings,
    }
}

/// Judges what a revision asks for and is granted.
pub fn admit(
    document: &RevisionDocument,
    requests: &[Request],
    ceilings: &[Ceiling],
) -> Result<(), NotAdmitted> {
    let grant = document.capabilities.grant(&document.volumes);
    let refusals = judge::judge(requests, &grant, ceilings, &document.limits);
    let Some(first) = refusals.first() else {
        return Ok(());
    };
    let more = match refusals.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    Err(NotAdmitted {
        reason: match first.kind {
            RefusalKind::ManifestRequired => Reason::ManifestRequired,
            RefusalKind::NotSupported | RefusalKind::NotGranted => Reason::CapabilityNotGranted,
            RefusalKind::AboveCeiling => Reason::CapabilityAboveCeiling,
            RefusalKind::LimitAboveCeiling => Reason::LimitAboveCeiling,
        },
        message: format!("{}{more}", first.message),
    })
}
