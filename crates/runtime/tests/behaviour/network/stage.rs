//! Runtime, name server and grants of one story.
//!
//! 127.0.1.0/24 stands for the public Internet and 127.0.2.0/24 for private networks; the rest
//! of loopback is what it always is.

use super::dns::Dns;
use super::upstream::root;
use crate::support::{code, post, small_config, workload};
use capability::reach::Class;
use capability::{
    Allow, Ceiling, Destination, Effective, Grant, HostName, HostPattern, OutboundRule, Ports,
    Protocol, Reach, Rule,
};
use runtime::{
    AuditLevel, AuditRecord, AuditRecords, AuditSink, Capability, Component, Config, EngineClass,
    Output, Runtime, Workload,
};
use std::sync::Arc;

const CALLER: &[u8] = include_bytes!("../../../../../tests/guests/caller/caller.wasm");
const ASYNC_CALLER: &[u8] = include_bytes!("../../../../../tests/guests/caller/async-caller.wasm");

/// The two builds of the guest.
pub(crate) const BOTH: [EngineClass; 2] = [EngineClass::SMALL, EngineClass::P3];

/// A runtime, its name server and its audit records.
pub(crate) struct Stage {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) dns: Dns,
    records: AuditRecords,
}

impl Stage {
    pub(crate) async fn new() -> Stage {
        Stage::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Stage {
        let dns = Dns::start().await;
        let mut config = small_config();
        config.p3 = true;
        config.network.name_servers = vec![dns.address];
        config.network.cluster_domain = Some("cluster.local".into());
        config.network.networks = vec![
            ("127.0.1.0/24".parse().unwrap(), Class::Public),
            ("127.0.2.0/24".parse().unwrap(), Class::Private),
        ];
        config.network.roots = vec![root()];
        adjust(&mut config);
        let (sink, records) = AuditSink::channel(10_000);
        Stage {
            runtime: Runtime::new(config, Output::discard(), sink).unwrap(),
            dns,
            records,
        }
    }

    /// The guest with these grants, which the policy admits.
    pub(crate) fn load(&self, class: EngineClass, grants: &[OutboundRule]) -> Arc<Component> {
        self.load_with(class, grants, |_| {})
    }

    pub(crate) fn load_with(
        &self,
        class: EngineClass,
        grants: &[OutboundRule],
        adjust: impl FnOnce(&mut Workload),
    ) -> Arc<Component> {
        let wasm = match class {
            EngineClass::P3 => ASYNC_CALLER,
            _ => CALLER,
        };
        let mut workload = workload("caller");
        workload.effective = Arc::new(effective(grants, grants));
        workload.audit = AuditLevel::All;
        adjust(&mut workload);
        self.runtime.load(&code(class, wasm), workload).unwrap()
    }

    /// The records since the last look, without those of the component itself.
    pub(crate) fn records(&self) -> Vec<AuditRecord> {
        let mut records = self.records.take(usize::MAX);
        records.retain(|record| record.capability != Capability::Lifecycle);
        records
    }

    /// Objects that were denied since the last look, with the rule.
    pub(crate) fn denied(&self) -> Vec<(String, Rule)> {
        let records = self.records().into_iter();
        records
            .filter(|record| !record.rule.allows())
            .map(|record| (record.object, record.rule))
            .collect()
    }
}

/// Listed grants under one policy.
pub(crate) fn effective(grants: &[OutboundRule], admitted: &[OutboundRule]) -> Effective {
    Effective {
        requests: Vec::new(),
        grant: Grant::Listed {
            filesystem: Vec::new(),
            outbound: grants.to_vec(),
            process: Default::default(),
        },
        ceilings: vec![Ceiling {
            policy: "baseline".into(),
            allow: Allow {
                outbound: admitted.to_vec(),
                ..Allow::default()
            },
            ..Ceiling::default()
        }],
    }
}

/// A grant on every port: ports of tests are by chance.
pub(crate) fn grant(protocol: Protocol, host: &str) -> OutboundRule {
    OutboundRule {
        host: host.parse::<HostPattern>().unwrap(),
        ports: Ports::ANY,
        protocol,
        reach: Reach::Public,
    }
}

pub(crate) fn private(rule: OutboundRule) -> OutboundRule {
    OutboundRule {
        reach: Reach::Private,
        ..rule
    }
}

/// As it stands in records.
pub(crate) fn object(protocol: Protocol, host: &str, port: u16) -> String {
    Destination {
        host: HostName::parse(host).unwrap(),
        port,
        protocol,
    }
    .to_string()
}

/// Gives the guest one order and hears the answer.
pub(crate) async fn tell(component: &Component, order: &str) -> String {
    let answer = post(component, "/", order.to_owned()).await;
    answer.text.trim_end().to_owned()
}
