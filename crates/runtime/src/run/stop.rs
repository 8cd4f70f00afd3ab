//! How a run is asked to end: the interface `lighterman:core/ending`, which every component may
//! import. Nothing can call a guest while it works, so it is the guest that looks.

use crate::guest::Guest;
use tokio::sync::watch;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

/// The start of its name.
pub(super) const INTERFACE: &str = "lighterman:core/ending@";

#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/core",
        world: "imports",
        imports: { default: trappable },
        require_store_data_send: true,
        with: { "wasi": wasmtime_wasi::p2::bindings },
    });
}

use bindings::lighterman::core::ending;

/// Asks one run to end. Clones ask the same one.
#[derive(Debug, Clone, Default)]
pub struct Stop(watch::Sender<Wish>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Wish {
    #[default]
    GoOn,
    End,
    EndAndSave,
}

impl Stop {
    /// Asks it to end, and to hand on its state if somebody follows who wants it.
    pub fn ask(&self, wants_state: bool) {
        self.0.send_replace(match wants_state {
            true => Wish::EndAndSave,
            false => Wish::End,
        });
    }

    /// Whether it was asked.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() != Wish::GoOn
    }

    pub(super) fn wants_state(&self) -> bool {
        *self.0.borrow() == Wish::EndAndSave
    }

    pub(crate) async fn asked(&self) {
        // It fails only without a sender, and there is one here.
        let _ = self
            .0
            .subscribe()
            .wait_for(|wish| *wish != Wish::GoOn)
            .await;
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Stop {
    async fn ready(&mut self) {
        self.asked().await;
    }
}

struct Ending;

impl HasData for Ending {
    type Data<'a> = &'a mut Guest;
}

/// Links it. A component that answers requests is never asked.
pub(crate) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    ending::add_to_linker::<Guest, Ending>(linker, |guest| guest)
}

impl ending::Host for &mut Guest {
    fn is_asked(&mut self) -> Result<bool> {
        Ok(self.stop().is_asked())
    }

    fn subscribe(&mut self) -> Result<Resource<DynPollable>> {
        let stop = self.stop().clone();
        let table = self.table();
        let stop = table.push(stop)?;
        subscribe(table, stop)
    }
}
