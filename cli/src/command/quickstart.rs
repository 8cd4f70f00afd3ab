//! `lighterman quickstart`: from nothing to a URL, with everything that is needed inside this program.
//!
//! A registry on loopback, a fresh key, the hello component signed with it, and the
//! YAML a user would write; then `local::run`, as with `lighterman run`. `make run` calls it.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node_agent::args::SpawnArgs;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::args::{Access, Quickstart};
use crate::failure::Failure;
use crate::interrupt;
use crate::local::{self, Event, Settings};
use crate::output::Output;
use crate::scratch::Scratch;
use crate::showcase::{self, Showcase};

/// Pushing shows at once.
const POLL: Duration = Duration::from_millis(500);

/// What to try, with the paths and addresses of this very run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Next {
    url: String,
    registry: SocketAddr,
    program: PathBuf,
    yaml: PathBuf,
    key: PathBuf,
    second_version: PathBuf,
}

/// Runs until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: &Quickstart, output: &Output) -> Result<(), Failure> {
    let scratch = Scratch::make()?;
    let stop = CancellationToken::new();
    interrupt::cancel(&stop)?;
    let stage = Showcase::open(args.registry, scratch.path()).await?;
    stage.push(showcase::hello(), true).await?;
    let yaml = stage.write_yaml()?;
    let second_version = scratch.path().join("hello-v2.wasm");
    write(&second_version, showcase::HELLO_V2)?;

    let next = Next {
        url: String::new(),
        registry: stage.address(),
        program: std::env::args_os()
            .next()
            .map(PathBuf::from)
            .unwrap_or_default(),
        yaml: yaml.clone(),
        key: stage.private_key().to_owned(),
        second_version,
    };
    let settings = Settings {
        files: vec![yaml],
        builds: Vec::new(),
        manifests: Vec::new(),
        port: args.port,
        poll: POLL,
        p3: false,
        access: Access::default(),
        state: scratch.path().join("agent"),
        host_paths: Vec::new(),
        observe: None,
        spawns: SpawnArgs::default(),
    };
    let (output, told) = (*output, std::sync::Once::new());
    let report = move |event: Event| {
        output.event(&event);
        if let Event::Serving { urls, .. } = &event {
            told.call_once(|| {
                output.event(&Next {
                    url: urls.concat(),
                    ..next.clone()
                })
            });
        }
    };
    local::run(settings, Arc::new(report), stop).await
}

fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(file, content).map_err(|error| Failure::file(file, "write", &error))
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.display();
        let image = format!("{}/hello:1", self.registry);
        writeln!(f, "\n  {}\n", self.url)?;
        writeln!(f, "Try, in another terminal:")?;
        writeln!(f, "  curl {}/anything", self.url)?;
        writeln!(
            f,
            "  # an unsigned version is refused, and what runs goes on"
        )?;
        writeln!(
            f,
            "  {program} push {image} {}",
            self.second_version.display()
        )?;
        writeln!(f, "  # signed, it takes over without a dropped request")?;
        writeln!(f, "  {program} sign {image} --key {}", self.key.display())?;
        writeln!(f, "  # what is it, and what would a cluster say?")?;
        writeln!(f, "  {program} inspect {image}")?;
        writeln!(
            f,
            "  {program} verify {image} --policy {}",
            self.yaml.display()
        )?;
        writeln!(
            f,
            "  # limits, environment, a second component: edit, and it is taken over"
        )?;
        writeln!(f, "  $EDITOR {}", self.yaml.display())?;
        write!(f, "Ctrl-C ends it.")
    }
}
