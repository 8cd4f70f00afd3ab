//! `lighterman invoke`: calls a function of a local build once, in an instance that is granted
//! nothing.
//!
//! The build is verified, compiled and loaded as by `run`; only the way in is another. Without a
//! call it says what could be called.

use std::fmt;
use std::sync::Arc;

use artifact::VerifiedComponent;
use artifact::interface::Wanted;
use capability::{Limits, Span, Values, effective_limits};
use node_agent::compiler::{self, Input};
use runtime::{
    AuditLevel, AuditSink, Code, Component, Config, EngineClass, Function, Identity, InvokeError,
    Returned, Runtime, Workload,
};
use serde::Serialize;
use serde_json::Value;

use crate::args::Invoke;
use crate::failure::Failure;
use crate::local;
use crate::output::Output;

/// What the guest may hold, and its host for it: a developer's machine has other work to do.
const GUEST_MEMORY: u64 = 1 << 30;
/// A call by hand may take as long as its hand has patience; a loop ends all the same.
const CPU_TIME: Span = Span::seconds(30);

/// What there is to call.
#[derive(Debug, Serialize)]
struct Listing {
    functions: Vec<Listed>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// The interface it is in; null for one that the component exports by itself.
    interface: Option<String>,
    name: String,
    /// With its types, as WIT writes them.
    signature: String,
    /// Why it can not be called, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    unfit: Option<String>,
}

/// What came back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    interface: Option<String>,
    function: String,
    /// In the form of calls over HTTP; null also for a function that gives nothing.
    result: Value,
    /// In the notation of WIT.
    wave: Option<String>,
    /// Whether it is the error of a `result`.
    is_error: bool,
}

/// Calls, or lists.
pub(crate) async fn run(args: &Invoke, output: &Output) -> Result<(), Failure> {
    let verified = local::verified(&args.file).await?;
    let component = load(&verified).await?;
    let functions = component.functions();
    let Some(call) = &args.call else {
        output.answer(&Listing::of(functions));
        return Ok(());
    };
    let (interface, plain) = split(call);
    let function = chosen(functions, interface, plain)?;
    let returned = component.invoke(function, plain).await;
    let returned = returned.map_err(|error| match error {
        InvokeError::Ended { .. } => Failure::refused(error, ""),
        InvokeError::Unfit { .. } | InvokeError::Wave(_) => {
            Failure::usage(error, format!("it is {function}"))
        }
    })?;
    let answer = Answer::of(function, returned)?;
    output.answer(&answer);
    match answer.is_error {
        false => Ok(()),
        true => Err(Failure::refused(
            format!("{} gave an error", function.name()),
            "",
        )),
    }
}

/// The component, ready to be called.
async fn load(verified: &VerifiedComponent) -> Result<Arc<Component>, Failure> {
    let facts = verified.facts();
    let mut limits = Limits::default();
    limits.per_call.cpu_time = CPU_TIME;
    let limits = effective_limits(verified.requests(), &limits);
    let class = EngineClass::of(facts, &limits);
    let own = |error: &dyn fmt::Display| Failure::unavailable(error, "");
    let input = Input::new(class, verified.wasm()).map_err(|error| own(&error))?;
    let code = compiler::compile(&local::again("compiler")?, input).await;
    let code = code.map_err(|refused| Failure::refused(refused.message, ""))?;
    let code = Code::received(class, code.into_fd()).map_err(|error| own(&error))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let config = Config {
        p3: class.is_p3(),
        ..Config::for_budget(GUEST_MEMORY, cores)
    };
    let lines = runtime::Output::to_writer(std::io::stderr()).map_err(|error| own(&error))?;
    let runtime = Runtime::new(config, lines, AuditSink::discard()).map_err(|error| own(&error))?;
    let workload = Workload {
        identity: Identity {
            namespace: "default".to_owned(),
            component: facts.identity().0.unwrap_or("component").to_owned(),
            revision: "local".to_owned(),
            node: "local".to_owned(),
        },
        limits,
        effective: Arc::default(),
        values: Values::default(),
        mounts: Vec::new(),
        credentials: Vec::new(),
        audit: AuditLevel::default(),
        replicas: 1,
        max_request_body: 0,
        listens: false,
        initial_memory: facts.initial_memory,
    };
    let component = runtime.load_to_invoke(&code, workload);
    component.map_err(|error| Failure::refused(error, ""))
}

/// A call's interface, if it names one, and what is behind it.
fn split(call: &str) -> (Option<&str>, &str) {
    match call.split_once('#') {
        // Behind the parenthesis it is part of an argument.
        Some((interface, rest)) if !interface.contains('(') => (Some(interface), rest),
        _ => (None, call),
    }
}

/// The function that a call names, with its interface or without.
fn chosen<'a>(
    functions: &'a [Function],
    interface: Option<&str>,
    call: &str,
) -> Result<&'a Function, Failure> {
    let name = Component::called(call).map_err(|error| Failure::usage(error, ""))?;
    let is_meant = |function: &&Function| match (interface, function.interface()) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wanted), Some(there)) => {
            let there = [there.to_owned()];
            let wanted = wanted.parse::<Wanted>();
            wanted.is_ok_and(|wanted| wanted.among(&there).is_some())
        }
    };
    let named = functions.iter().filter(|function| function.name() == name);
    let found: Vec<&Function> = named.filter(is_meant).collect();
    match found.as_slice() {
        [function] => Ok(function),
        [] => Err(Failure::usage(
            format!("the component has no function {name}"),
            match functions {
                [] => "it exports none at all".to_owned(),
                functions => format!("call one of these:\n{}", Listing::of(functions)),
            },
        )),
        several => Err(Failure::usage(
            format!("several interfaces have a function {name}"),
            format!(
                "write the interface in front of it, as in {}#{call}",
                several
                    .iter()
                    .find_map(|function| function.interface())
                    .unwrap_or_default()
            ),
        )),
    }
}

impl Listing {
    fn of(functions: &[Function]) -> Listing {
        let listed = functions.iter().map(|function| Listed {
            interface: function.interface().map(str::to_owned),
            name: function.name().to_owned(),
            signature: function.to_string(),
            unfit: function.unfit().map(|unfit| unfit.to_string()),
        });
        Listing {
            functions: listed.collect(),
        }
    }
}

impl Answer {
    fn of(function: &Function, returned: Returned) -> Result<Answer, Failure> {
        let Returned {
            wave,
            json,
            is_error,
        } = returned;
        let json = json.unwrap_or_else(|| "null".to_owned());
        let result = serde_json::from_str(&json);
        Ok(Answer {
            interface: function.interface().map(str::to_owned),
            function: function.name().to_owned(),
            result: result.map_err(|error| Failure::unavailable(error, ""))?,
            wave,
            is_error,
        })
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.functions.split_last() else {
            return f.write_str("it exports no function");
        };
        for function in others {
            writeln!(f, "{}", function.signature)?;
        }
        f.write_str(&last.signature)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wave {
            Some(wave) => f.write_str(wave),
            None => write!(f, "{} gives nothing", self.function),
        }
    }
}
