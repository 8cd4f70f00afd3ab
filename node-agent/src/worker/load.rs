//! Brings one revision to where it can serve: its code is mapped and linked, what it is given is
//! read, and one instance answers. Called for every preparation that control asks for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use artifact::interface::Wanted;
use crds::Reason;
use runtime::{
    AuditLevel, Code, Component, Door, EngineClass, Identity, LoadError, Outcome, ProbeFailure,
    Workload,
};

use super::Shared;
use super::given::Given;
use crate::ledger::Ledger;
use crate::message::{DoorOrder, Refused, RevisionOrder, SlotId};
use crate::text::printable;

/// Maps the code, links, and lets one instance answer.
pub(super) async fn load(
    shared: &Shared,
    slot: SlotId,
    fds: Vec<OwnedFd>,
    order: RevisionOrder,
) -> Result<Arc<Component>, Refused> {
    let RevisionOrder {
        name,
        namespace,
        component,
        node,
        class,
        limits,
        provision,
        audit,
        replicas,
        is_run,
        listens,
        doors,
        handles,
        max_request_body,
        initial_memory,
        health_path,
        start_timeout_seconds,
    } = order;
    let class = EngineClass::from_name(&class)
        .ok_or_else(|| refused(Reason::LinkFailed, format!("there is no engine {class}")))?;
    let mut fds = fds.into_iter();
    let code = fds.next().ok_or_else(|| {
        refused(
            Reason::LinkFailed,
            "the revision came without its code".to_owned(),
        )
    })?;
    let code = Code::received(class, code)
        .map_err(|error| refused(Reason::LinkFailed, error.to_string()))?;
    let Given {
        values,
        effective,
        mounts,
        credentials,
    } = Given::read(provision, fds.collect())?;
    let workload = Workload {
        identity: Identity {
            namespace,
            component,
            revision: name,
            node,
        },
        limits,
        effective,
        values,
        mounts,
        credentials,
        audit: level(audit),
        replicas,
        max_request_body,
        listens,
        initial_memory,
    };
    let doors = doors.into_iter().map(door).collect::<Result<Vec<_>, _>>()?;
    let runtime = Arc::clone(&shared.runtime);
    // Mapping and linking take a millisecond or more: not on a thread that serves.
    let ledger = shared.ledger.clone();
    let load = move || {
        // Code that kills the worker while it is mapped is as much a suspect as while it runs.
        if let Some(ledger) = &ledger {
            ledger.enter(slot);
        }
        let loaded = match doors.as_slice() {
            _ if is_run => runtime.load_command(&code, workload),
            [] => runtime.load(&code, workload),
            doors => runtime.load_functions(&code, workload, doors, handles),
        };
        Ledger::leave();
        loaded
    };
    let component = tokio::task::spawn_blocking(load)
        .await
        .map_err(|_| refused(Reason::LinkFailed, "the load was interrupted".to_owned()))?
        .map_err(|error| refused(load_reason(&error), error.to_string()))?;
    let timeout = Duration::from_secs(start_timeout_seconds.into());
    let probe = component.probe(health_path.as_deref(), timeout);
    let probed = match &shared.ledger {
        Some(ledger) => ledger.record(slot, probe).await,
        None => probe.await,
    };
    probed.map_err(|failure| refused(probe_reason(&failure), failure.to_string()))?;
    Ok(component)
}

fn door(order: DoorOrder) -> Result<Door, Refused> {
    let interfaces = order.interfaces.iter().map(|interface| interface.parse());
    let interfaces = interfaces.collect::<Result<Vec<Wanted>, _>>();
    Ok(Door {
        trigger: order.trigger.into(),
        interfaces: interfaces.map_err(|error| refused(Reason::LinkFailed, error.to_string()))?,
        max_request_body: order.max_request_body,
    })
}

pub(super) fn refused(reason: Reason, message: String) -> Refused {
    Refused {
        reason,
        message: printable(&message),
    }
}

fn load_reason(error: &LoadError) -> Reason {
    match error {
        LoadError::ImportNotGranted { .. } => Reason::ImportNotGranted,
        LoadError::NoHandler { .. }
        | LoadError::NoRun
        | LoadError::NoInterface { .. }
        | LoadError::Unfit { .. } => Reason::ExportMissing,
        LoadError::P3Off => Reason::FeatureMissing,
        LoadError::Metering { .. } => Reason::LinkFailed,
        LoadError::MemoryTooSmall { .. } => Reason::MemoryExceeded,
        LoadError::Volume { .. } => Reason::VolumeUnavailable,
        LoadError::Incompatible(_) | LoadError::Link(_) => Reason::LinkFailed,
    }
}

fn probe_reason(failure: &ProbeFailure) -> Reason {
    match failure {
        ProbeFailure::Failed(Outcome::TimeoutExceeded, ..) => Reason::StartTimeout,
        ProbeFailure::Failed(Outcome::NodeSaturated, ..) => Reason::NodeSaturated,
        ProbeFailure::Failed(..) => Reason::StartFailed,
        ProbeFailure::Unhealthy { .. } => Reason::HealthCheckFailed,
    }
}

fn level(level: crds::component::AuditLevel) -> AuditLevel {
    match level {
        crds::component::AuditLevel::Denials => AuditLevel::Denials,
        crds::component::AuditLevel::FirstUse => AuditLevel::FirstUse,
        crds::component::AuditLevel::All | crds::component::AuditLevel::Unknown => AuditLevel::All,
    }
}
