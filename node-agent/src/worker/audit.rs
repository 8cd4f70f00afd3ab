//! What components used and were denied, on its way to control. Bounded by the runtime: what is
//! too much is counted there, and the first of a kind is never lost.

use std::time::{Duration, UNIX_EPOCH};

use runtime::{AuditRecord, AuditRecords};
use tokio::sync::mpsc;

use crate::message::{Caller, Envelope, FromWorker, Note};

/// Records of all components that may wait.
pub(super) const WAITING: usize = 4_096;
/// Records of one message.
const AT_ONCE: usize = 256;
/// Records come in bursts; one message for each of a burst would be as much work as the requests
/// that caused it.
const GATHER: Duration = Duration::from_millis(100);

/// Tells control, until control is gone.
pub(super) async fn tell(records: AuditRecords, outgoing: mpsc::Sender<Envelope<FromWorker>>) {
    loop {
        let mut notes: Vec<Note> = records.next(AT_ONCE).await.into_iter().map(note).collect();
        tokio::time::sleep(GATHER).await;
        let more = AT_ONCE.saturating_sub(notes.len());
        notes.extend(records.take(more).into_iter().map(note));
        let lost = records.lost();
        let message = FromWorker::Audit { notes, lost };
        if outgoing.send(message.into()).await.is_err() {
            return;
        }
    }
}

fn note(record: AuditRecord) -> Note {
    let AuditRecord {
        time,
        identity,
        capability,
        object,
        rule,
        caller,
    } = record;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Note {
        time_millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        namespace: identity.namespace.clone(),
        component: identity.component.clone(),
        revision: identity.revision.clone(),
        capability: capability.name().to_owned(),
        object,
        rule,
        caller: caller.map(|caller| Caller {
            trigger: caller.trigger.as_ref().to_owned(),
            address: caller.address,
        }),
    }
}
