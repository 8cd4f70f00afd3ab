//! What a component exports to be run: `wasi:cli/run` of WASI 0.2, or `lighterman:core/lifecycle`
//! in place of it, and `lighterman:core/state` beside either.

use super::state::Saved;
use crate::error::LoadError;
use crate::guest::Guest;
use wasmtime::component::InstancePre;
use wasmtime::{Result, Store};
use wasmtime_wasi::p2::bindings::{Command, CommandIndices};

#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod living {
    wasmtime::component::bindgen!({
        path: "../../wit/core",
        world: "living",
        exports: { default: async },
    });
}

#[allow(missing_docs, unreachable_pub, reason = "generated")]
mod stateful {
    wasmtime::component::bindgen!({
        path: "../../wit/core",
        world: "stateful",
        exports: { default: async },
    });
}

use living::{Living, LivingIndices};
use stateful::exports::lighterman::core::state::Snapshot;
use stateful::{Stateful, StatefulIndices};

/// Where the exports are, before there is an instance.
pub(super) struct Exports {
    instance: InstancePre<Guest>,
    work: WorkIndices,
    state: Option<StatefulIndices>,
}

enum WorkIndices {
    Run(CommandIndices),
    Living(LivingIndices),
}

/// The exports of an instance.
pub(super) struct Entry {
    work: Work,
    state: Option<Stateful>,
}

enum Work {
    Run(Command),
    Living(Living),
}

impl Exports {
    pub(super) fn new(instance: InstancePre<Guest>) -> Result<Exports, LoadError> {
        let living = LivingIndices::new(&instance).map(WorkIndices::Living);
        let work = living
            .or_else(|_| CommandIndices::new(&instance).map(WorkIndices::Run))
            .map_err(|_| LoadError::NoRun)?;
        let state = StatefulIndices::new(&instance).ok();
        Ok(Exports {
            instance,
            work,
            state,
        })
    }

    pub(super) fn has_state(&self) -> bool {
        self.state.is_some()
    }

    /// Whether it imports an interface whose name begins so.
    pub(super) fn imports(&self, name: &str) -> bool {
        let component = self.instance.component();
        let ty = component.component_type();
        let mut imports = ty.imports(component.engine());
        imports.any(|(import, _)| import.starts_with(name))
    }

    pub(super) async fn instantiate(&self, store: &mut Store<Guest>) -> Result<Entry> {
        let instance = self.instance.instantiate_async(&mut *store).await?;
        let state = self.state.as_ref();
        Ok(Entry {
            work: match &self.work {
                WorkIndices::Run(run) => Work::Run(run.load(&mut *store, &instance)?),
                WorkIndices::Living(living) => Work::Living(living.load(&mut *store, &instance)?),
            },
            state: state
                .map(|state| state.load(&mut *store, &instance))
                .transpose()?,
        })
    }
}

impl Entry {
    /// What the component says of its work.
    pub(super) async fn execute(
        &self,
        store: &mut Store<Guest>,
    ) -> Result<std::result::Result<(), String>> {
        match &self.work {
            Work::Run(run) => {
                let said = run.wasi_cli_run().call_run(store).await?;
                // All that it can say.
                Ok(said.map_err(|()| "it says no more".to_owned()))
            }
            Work::Living(living) => {
                let lifecycle = living.lighterman_core_lifecycle();
                match lifecycle.call_init(&mut *store).await? {
                    Ok(()) => lifecycle.call_execute(store).await,
                    refusal => Ok(refusal),
                }
            }
        }
    }

    pub(super) async fn shut_down(&self, store: &mut Store<Guest>) -> Result<()> {
        match &self.work {
            Work::Run(_) => Ok(()),
            Work::Living(living) => {
                let lifecycle = living.lighterman_core_lifecycle();
                lifecycle.call_shutdown(store).await
            }
        }
    }

    /// Schema and data.
    pub(super) async fn save(
        &self,
        store: &mut Store<Guest>,
    ) -> Result<std::result::Result<(u32, Vec<u8>), String>> {
        let Some(state) = &self.state else {
            return Ok(Err("it has none".to_owned()));
        };
        let saved = state.lighterman_core_state().call_save(store).await?;
        Ok(saved.map(|Snapshot { schema, data }| (schema, data)))
    }

    pub(super) async fn restore(
        &self,
        store: &mut Store<Guest>,
        saved: &Saved,
    ) -> Result<std::result::Result<(), String>> {
        let Some(state) = &self.state else {
            return Ok(Err("it takes none".to_owned()));
        };
        let snapshot = Snapshot {
            schema: saved.schema(),
            data: saved.data().to_vec(),
        };
        let state = state.lighterman_core_state();
        state.call_restore(store, &snapshot).await
    }
}
