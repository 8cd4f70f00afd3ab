//! The triggers of a component as its revision has them: what the operator writes.

use crds::component::{RunPort, Trigger};
use crds::revision::{RevisionHttpTrigger, RevisionRunPort, RevisionRunTrigger, RevisionTrigger};

fn revision_port(port: &RunPort) -> RevisionRunPort {
    RevisionRunPort {
        name: port.name.clone(),
        port: port.port,
    }
}

pub(super) fn revision_trigger(trigger: &Trigger) -> RevisionTrigger {
    RevisionTrigger {
        name: trigger.name.clone(),
        http: trigger.http.as_ref().map(|http| RevisionHttpTrigger {
            port: http.port,
            max_request_body: http.max_request_body,
        }),
        run: trigger.run.as_ref().map(|run| RevisionRunTrigger {
            restart_policy: run.restart_policy,
            ports: run.ports.iter().map(revision_port).collect(),
        }),
        invoke: trigger.invoke.as_ref().map(Into::into),
    }
}
