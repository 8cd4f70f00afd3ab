//! `lighterman registry`: the development registry, well-behaved or not.
//!
//! Parses the faults that tests inject; the registry itself is in the crate `registry`.

use std::fmt;
use std::time::Duration;

use registry::development::{DevelopmentRegistry, Fault, Options, Rule};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::Registry;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::Output;

/// Where it listens.
#[derive(Debug, Serialize)]
struct Listening {
    address: String,
}

/// How a fault is written, for the help and for the mend of a wrong one.
const FAULTS: &str = "write PATH=FAULT, where `*` in PATH stands for any text and FAULT is one of
  status:503  rate-limited:SECONDS  endless:200  redirect:URL  delay:5s  drip:100ms
  truncate:BYTES  cut:BYTES  overlong:BYTES  corrupt  wrong-digest-header  no-digest-header
or `no-referrers` alone for a registry without the referrers API";

/// Serves until Ctrl-C.
pub(crate) async fn run(args: &Registry, output: &Output) -> Result<(), Failure> {
    if args.fault.iter().any(|fault| fault == "help") {
        println!("{FAULTS}");
        return Ok(());
    }
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(
            format!(
                "{} is no loopback address, and this registry lets everybody write",
                args.listen
            ),
            "listen on 127.0.0.1 or [::1]; for others to reach, run a registry made for that",
        ));
    }
    // Before anybody can know the address, and send a signal on seeing it.
    let stop = CancellationToken::new();
    interrupt::cancel(&stop)?;
    let registry = DevelopmentRegistry::start(args.listen, options(&args.fault)?)
        .await
        .map_err(|error| {
            Failure::unavailable(
                format!("cannot listen on {}: {error}", args.listen),
                "name another address with --listen; port 0 takes any free one",
            )
        })?;
    output.event(&Listening {
        address: registry.addr().to_string(),
    });
    stop.cancelled().await;
    registry.stop().await;
    Ok(())
}

fn options(faults: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    for text in faults {
        if text == "no-referrers" {
            options.referrers = false;
        } else {
            options.faults = options.faults.with(rule(text)?);
        }
    }
    Ok(options)
}

fn rule(text: &str) -> Result<Rule, Failure> {
    text.rsplit_once('=')
        .and_then(|(path, fault)| Some(Rule::on(path, parse(fault)?)))
        .ok_or_else(|| Failure::usage(format!("{text:?} is no fault"), FAULTS))
}

fn parse(text: &str) -> Option<Fault> {
    let (name, value) = text.split_once(':').unwrap_or((text, ""));
    let duration = || {
        value
            .parse::<capability::Span>()
            .ok()
            .map(|span: capability::Span| -> Duration { span.0 })
    };
    Some(match name {
        "status" => Fault::Status(
            value
                .parse()
                .ok()
                .filter(|status| (100..600).contains(status))?,
        ),
        "rate-limited" => Fault::RateLimited {
            retry_after: value.parse().ok()?,
        },
        "endless" => Fault::Endless {
            status: value
                .parse()
                .ok()
                .filter(|status| (100..600).contains(status))?,
        },
        "redirect" => Fault::Redirect {
            location: value.to_owned(),
        },
        "delay" => Fault::Delay(duration()?),
        "drip" => Fault::Drip(duration()?),
        "truncate" => Fault::Truncate {
            to: value.parse().ok()?,
        },
        "cut" => Fault::Cut {
            at: value.parse().ok()?,
        },
        "overlong" => Fault::Overlong {
            by: value.parse().ok()?,
        },
        "corrupt" => Fault::Corrupt,
        "wrong-digest-header" => Fault::WrongDigestHeader,
        "no-digest-header" => Fault::NoDigestHeader,
        _ => return None,
    })
}

impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "registry at {address}\n  lighterman push {address}/hello:1 FILE.wasm --sign cosign.key\nCtrl-C ends it; what it holds is gone then.",
            address = self.address
        )
    }
}
