//! lighterman:ext-process: translates what a guest asks, and what it is answered.

use super::child::{Child, Output};
use super::order::{Exit, Signal};
use super::{Failure, Start};
use crate::guest::Guest;
use bindings::lighterman::ext_process::process::{
    self, ErrorCode, ExitStatus, Host, HostChild, Options,
};
use std::sync::Arc;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynPollable, subscribe};

mod bindings {
    //! As `wit/ext-process` has it.
    #![allow(
        missing_docs,
        unreachable_pub,
        reason = "generated: the documentation is in the WIT"
    )]

    wasmtime::component::bindgen!({
        path: "../../wit/ext-process",
        world: "imports",
        imports: {
            "lighterman:ext-process/process.spawn": async | trappable,
            "lighterman:ext-process/process.[method]child.wait": async | trappable,
            default: trappable,
        },
        with: {
            "wasi": wasmtime_wasi::p2::bindings,
            "lighterman:ext-process/process.child": crate::capability::process::child::Child,
        },
    });
}

/// Executables for guests.
struct Executables;

impl HasData for Executables {
    type Data<'a> = &'a mut Guest;
}

pub(crate) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    process::add_to_linker::<Guest, Executables>(linker, |guest| guest)
}

impl Host for &mut Guest {
    async fn spawn(
        &mut self,
        executable: String,
        arguments: Vec<String>,
        options: Options,
    ) -> Result<Result<Resource<Child>, ErrorCode>> {
        let processes = Arc::clone(self.processes());
        let caller = self.call().caller().cloned();
        let Options { environment, input } = options;
        let start = Start {
            executable,
            arguments,
            environment,
            input,
        };
        match processes.spawn(start, caller.as_ref()).await {
            Ok(child) => Ok(Ok(self.table().push(child)?)),
            Err(failure) => Ok(Err(failure.into())),
        }
    }
}

impl HostChild for &mut Guest {
    fn stdout(&mut self, child: Resource<Child>) -> Result<Option<Resource<DynInputStream>>> {
        let output = self.table().get_mut(&child)?.stdout();
        stream(self, output)
    }

    fn stderr(&mut self, child: Resource<Child>) -> Result<Option<Resource<DynInputStream>>> {
        let output = self.table().get_mut(&child)?.stderr();
        stream(self, output)
    }

    fn subscribe(&mut self, child: Resource<Child>) -> Result<Resource<DynPollable>> {
        subscribe(self.table(), child)
    }

    fn try_wait(&mut self, child: Resource<Child>) -> Result<Option<ExitStatus>> {
        let exit = self.table().get_mut(&child)?.try_wait();
        Ok(exit.map(ExitStatus::from))
    }

    async fn wait(&mut self, child: Resource<Child>) -> Result<ExitStatus> {
        Ok(self.table().get_mut(&child)?.wait().await.into())
    }

    fn signal(
        &mut self,
        child: Resource<Child>,
        signal: process::Signal,
    ) -> Result<Result<(), ErrorCode>> {
        let processes = Arc::clone(self.processes());
        let caller = self.call().caller().cloned();
        let child = self.table().get_mut(&child)?;
        let sent = processes.signal(child, signal.into(), caller.as_ref());
        Ok(sent.map_err(ErrorCode::from))
    }

    fn drop(&mut self, child: Resource<Child>) -> Result<()> {
        self.table().delete(child)?;
        Ok(())
    }
}

fn stream(guest: &mut Guest, output: Option<Output>) -> Result<Option<Resource<DynInputStream>>> {
    let Some(output) = output else {
        return Ok(None);
    };
    let stream: DynInputStream = Box::new(output);
    Ok(Some(guest.table().push(stream)?))
}

impl From<Failure> for ErrorCode {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::AccessDenied => Self::AccessDenied,
            Failure::InvalidArgument => Self::InvalidArgument,
            Failure::LimitExceeded => Self::LimitExceeded,
            Failure::Ended => Self::Ended,
            Failure::Unavailable => Self::Unavailable,
        }
    }
}

impl From<Exit> for ExitStatus {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Exited(code) => Self::Exited(code),
            Exit::Signalled(signal) => Self::Signalled(signal),
            Exit::Lost => Self::Lost,
        }
    }
}

impl From<process::Signal> for Signal {
    fn from(signal: process::Signal) -> Self {
        match signal {
            process::Signal::Interrupt => Self::Interrupt,
            process::Signal::Terminate => Self::Terminate,
            process::Signal::Kill => Self::Kill,
            process::Signal::HangUp => Self::HangUp,
            process::Signal::User1 => Self::User1,
            process::Signal::User2 => Self::User2,
        }
    }
}
