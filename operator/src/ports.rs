//! The ledger of ports as the leader keeps it: in memory, and in a ConfigMap
//! that is written before a port is used.
//!
//! The rules are in `port`; this file only reads and writes. The driver calls it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::caches::Caches;
use crate::component::{Key, is_owned_by};
use crate::port::{CONFIG_MAP, Holder, Ledger, NoPortFree, PortRange};
use crate::reader::{ReadError, Reader};
use crate::writer::{WriteError, Writer};

/// The ledger, and what of it is written down.
#[derive(Debug)]
pub struct Ports {
    namespace: String,
    range: PortRange,
    ledger: Ledger,
    written: BTreeMap<String, String>,
}

/// Why a port could not be held.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// None is left.
    #[error(transparent)]
    NoPortFree(#[from] NoPortFree),
    /// The ConfigMap could not be read.
    #[error("ConfigMap lighterman-ports could not be read")]
    Read(#[from] ReadError),
    /// The ConfigMap could not be written.
    #[error("ConfigMap lighterman-ports could not be written")]
    Write(#[from] WriteError),
}

impl Ports {
    /// A ledger in `namespace` that has not been read yet.
    pub fn new(namespace: String, range: PortRange) -> Self {
        Self {
            namespace,
            ledger: Ledger::new(range.clone()),
            range,
            written: BTreeMap::new(),
        }
    }

    /// Reads the ledger anew: from the ConfigMap, from placements, and from the
    /// statuses of components that have no placement.
    ///
    /// # Errors
    /// When the ConfigMap cannot be read; without it quarantine would be forgotten.
    pub async fn rebuild(&mut self, caches: &Caches, reader: &Reader) -> Result<(), PortsError> {
        self.written = reader
            .config_map(&self.namespace, CONFIG_MAP)
            .await?
            .unwrap_or_default();
        let mut claims = Vec::new();
        for component in caches.components.all() {
            let (key, Some(uid)) = (
                Key::new(
                    component.namespace().unwrap_or_default(),
                    component.name_any(),
                ),
                component.uid(),
            ) else {
                continue;
            };
            let holder = |trigger: &str| Holder {
                component: key.clone(),
                uid: uid.clone(),
                trigger: trigger.to_owned(),
            };
            for placement in caches
                .placements
                .of(&key)
                .iter()
                .filter(|of| is_owned_by(&of.metadata, &uid))
            {
                claims.extend(placement.spec.ports.iter().filter_map(|port| {
                    Some((holder(&port.trigger), u16::try_from(port.port).ok()?))
                }));
            }
            let status = component.status.iter().flat_map(|status| &status.triggers);
            claims.extend(
                status
                    .filter_map(|port| Some((holder(&port.name), u16::try_from(port.port).ok()?))),
            );
        }
        self.ledger = Ledger::rebuild(self.range.clone(), claims, &self.written, Timestamp::now());
        Ok(())
    }

    /// The ports of `holders`, in their order. They are written down when this returns.
    ///
    /// # Errors
    /// `NoPortFree`, or when the ConfigMap cannot be written.
    pub async fn hold(
        &mut self,
        holders: &[Holder],
        writer: &Writer,
    ) -> Result<Vec<u16>, PortsError> {
        let now = Timestamp::now();
        let ports: Vec<u16> = holders
            .iter()
            .map(|holder| self.ledger.allocate(holder, now))
            .collect::<Result<_, _>>()?;
        // What is held and written as held stays so; only a new port is a write.
        let known = |port: &u16| {
            self.written
                .get(&port.to_string())
                .is_some_and(|entry| entry == "held")
        };
        if !ports.iter().all(known) {
            self.write(now, writer).await?;
        }
        Ok(ports)
    }

    /// Frees the ports of holders that `keep` does not keep.
    ///
    /// # Errors
    /// When the ConfigMap cannot be written; the ports rest all the same, as long
    /// as this replica leads.
    pub async fn release(
        &mut self,
        keep: impl Fn(&Holder) -> bool,
        writer: &Writer,
    ) -> Result<(), PortsError> {
        let now = Timestamp::now();
        if self.ledger.retain(now, keep) {
            self.write(now, writer).await?;
        }
        Ok(())
    }

    async fn write(&mut self, now: Timestamp, writer: &Writer) -> Result<(), PortsError> {
        let data = self.ledger.data(now);
        let config_map = ConfigMap {
            // The chart's object, labels and all; only the data is ours.
            metadata: ObjectMeta {
                namespace: Some(self.namespace.clone()),
                name: Some(CONFIG_MAP.to_owned()),
                ..ObjectMeta::default()
            },
            data: Some(data.clone()),
            ..ConfigMap::default()
        };
        writer.apply(&config_map).await?;
        self.written = data;
        Ok(())
    }
}
