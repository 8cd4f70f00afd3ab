//! What can be typed: every command, flag and help text, and nothing else.
//!
//! Knows no other part of the program, so that `--help`, `--version` and a
//! completion script cost only this file. `main.rs` parses with it, the commands
//! read its values, and `docs/cli.md` is printed from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use node_agent::args::{LaunchArgs, SpawnArgs, SpawnerArgs};

/// Signed WebAssembly components on Kubernetes, without containers.
///
/// This program never needs a cluster: it builds, pushes, signs, checks and runs
/// components on the machine it is on. Exit codes: 0 done; 1 the thing looked at
/// was refused or has problems; 2 the command line is wrong; 3 it could not be
/// found out, because a file, a registry or the machine did not answer.
#[derive(Debug, Parser)]
#[command(name = "lighterman", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// How to answer: sentences for people, or JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(crate) output: Format,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The two ways of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Sentences.
    Text,
    /// One JSON document; one per line from commands that keep running.
    Json,
}

/// The commands, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a hello component with a registry of its own, and say what to try next.
    Quickstart(Quickstart),
    /// Show the promises on this machine, each step with its figure.
    Demo(Demo),
    /// Start a project: source, WIT and the YAML that runs it.
    New(New),
    /// Make a key pair that cosign can use too, and the policy that trusts it.
    Keygen(Keygen),
    /// Make one component out of several, whose imports others of them export.
    Compose(Compose),
    /// Put a component into a registry or an OCI layout directory.
    Push(Push),
    /// Sign what is in a registry or an OCI layout directory.
    Sign(Sign),
    /// Give the cluster's verdict on a component's signatures, and why.
    Verify(Verify),
    /// Write trust policies.
    Trust(TrustPolicies),
    /// Say what a component is: size, name, version, imports, exports, signatures.
    Inspect(Inspect),
    /// Check YAML strictly, naming each wrong field and what mends it.
    Check(Check),
    /// Run components from YAML, under the cluster's own rules.
    Run(Run),
    /// Call a function that a component exports, once, on this machine.
    Invoke(Invoke),
    /// Write the smallest Component.toml and grant that cover what `run --observe` recorded.
    Suggest(Suggest),
    /// Serve the in-memory development registry.
    Registry(Registry),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Print the versions of this program and of what it runs components with.
    Version,
    /// Print a page of the reference documentation as Markdown.
    #[command(hide = true)]
    Reference(Reference),
    /// Compile components for the process that started this one.
    #[command(hide = true)]
    Compiler,
    /// Start executables for the process that started this one.
    #[command(hide = true)]
    Spawner(SpawnerArgs),
    /// Become an executable, confined.
    #[command(hide = true)]
    Launch(LaunchArgs),
}

/// `lighterman quickstart`
#[derive(Debug, Args)]
pub(crate) struct Quickstart {
    /// Where the registry listens; a port of 0 takes any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub(crate) registry: SocketAddr,

    /// The first port to try for the component's own address.
    #[arg(long, default_value_t = FIRST_PORT)]
    pub(crate) port: u16,
}

/// `lighterman demo`
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Requests per second sent while the component is swapped, whether or not answers come.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub(crate) rate: u32,
}

/// `lighterman new`
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Name of the project, the component and its folder (a DNS label of at most 52 characters).
    pub(crate) name: String,

    /// The language to start in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub(crate) language: Language,

    /// The folder to make; it must not exist yet. Default: ./NAME
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// The languages `new` has a starter for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust, with wit-bindgen.
    Rust,
}

/// `lighterman keygen`
#[derive(Debug, Args)]
pub(crate) struct Keygen {
    /// The files are PREFIX.key and PREFIX.pub; neither may exist yet.
    #[arg(long, value_name = "PREFIX", default_value = "cosign")]
    pub(crate) prefix: PathBuf,

    /// The images the printed policy trusts this key for.
    #[arg(long, value_name = "GLOB", default_value = "registry.example/**")]
    pub(crate) images: String,
}

/// `lighterman compose`
#[derive(Debug, Args)]
pub(crate) struct Compose {
    /// The component whose imports are joined.
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,

    /// A component that exports what it imports (repeat for several).
    #[arg(long, value_name = "FILE.wasm", required = true)]
    pub(crate) plug: Vec<PathBuf>,

    /// Where the whole is written.
    #[arg(long, value_name = "FILE.wasm")]
    pub(crate) to: PathBuf,
}

/// `lighterman push`
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// registry.example/shop/orders:1.4, or oci:DIR for an OCI layout directory.
    #[arg(value_name = "REFERENCE")]
    pub(crate) target: Target,

    /// The component; a wasm32-wasip1 module is wrapped into one.
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,

    /// Put this manifest into the component, as the last step before the push: what it says the
    /// component asks for is signed with the rest. Replaces one that is in it already.
    #[arg(long, value_name = "Component.toml")]
    pub(crate) manifest: Option<PathBuf>,

    /// Sign what was pushed with this private key.
    #[arg(long, value_name = "KEY")]
    pub(crate) sign: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// `lighterman sign`
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// registry.example/shop/orders:1.4, or oci:DIR for an OCI layout directory.
    #[arg(value_name = "REFERENCE")]
    pub(crate) target: Target,

    /// The private key, as `lighterman keygen` or `cosign generate-key-pair` makes it.
    #[arg(long, value_name = "KEY")]
    pub(crate) key: PathBuf,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// `lighterman verify`
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// registry.example/shop/orders:1.4, or oci:DIR for an OCI layout directory.
    #[arg(value_name = "REFERENCE")]
    pub(crate) target: Target,

    #[command(flatten)]
    pub(crate) against: Against,

    #[command(flatten)]
    pub(crate) public_root: PublicRoot,

    /// The namespace the component would run in, for policies that select namespaces.
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,

    /// A label of that namespace (repeat for several).
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) namespace_label: Vec<(String, String)>,

    /// The reference that policies judge an OCI layout directory as.
    #[arg(long, value_name = "REFERENCE", default_value = "localhost/layout")]
    pub(crate) image: String,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// What to verify against: exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Against {
    /// A public key (PEM) that must have signed.
    #[arg(long, value_name = "PUB")]
    pub(crate) key: Option<PathBuf>,

    /// YAML files with TrustPolicies, and the ConfigMaps with the trusted roots they
    /// refer to, judged as the cluster judges them.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Vec<PathBuf>,
}

/// The root that counts where a policy names none. Absent: the public-good one of this build.
#[derive(Debug, Args)]
pub(crate) struct PublicRoot {
    /// The trusted_root.json that counts where a policy names none, in place of the public-good
    /// one of this build. It is believed as it is.
    #[arg(long, value_name = "FILE", conflicts_with = "tuf_repository")]
    pub(crate) trusted_root: Option<PathBuf>,

    /// A copy of a TUF repository that leads to that trusted_root.json, checked as nodes check it.
    #[arg(long, value_name = "DIR")]
    pub(crate) tuf_repository: Option<PathBuf>,

    /// The root.json that trust in that repository starts from. Default: sigstore's
    #[arg(long, value_name = "FILE", requires = "tuf_repository")]
    pub(crate) tuf_root: Option<PathBuf>,
}

/// `lighterman trust`
#[derive(Debug, Args)]
pub(crate) struct TrustPolicies {
    #[command(subcommand)]
    pub(crate) command: TrustCommand,
}

/// The commands under `lighterman trust`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
    /// Print a TrustPolicy to start from, for a key, a GitHub organisation or a sigstore of your own.
    Init(TrustInit),
}

/// `lighterman trust init`
#[derive(Debug, Args)]
pub(crate) struct TrustInit {
    #[command(flatten)]
    pub(crate) whom: Whom,

    /// The OIDC issuer that vouches for the identity.
    #[arg(long, value_name = "URL", requires = "trusted_root")]
    pub(crate) issuer: Option<String>,

    /// The identity as its certificates name it: an e-mail address or a URI.
    #[arg(long, value_name = "TEXT", requires = "trusted_root")]
    pub(crate) identity: Option<String>,

    /// The images to trust them for. Default: ghcr.io/OWNER/** with --github, else registry.example/**
    #[arg(long, value_name = "GLOB")]
    pub(crate) images: Option<String>,

    /// The name of the policy and of its authority. Default: release, OWNER or sigstore
    #[arg(long, value_name = "NAME", value_parser = object_name)]
    pub(crate) name: Option<String>,
}

/// Whom to trust: exactly one of the three.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// Trust signatures by this public key (PEM).
    #[arg(long, value_name = "PUB")]
    pub(crate) key: Option<PathBuf>,

    /// Trust what workflows of this GitHub organisation or user sign without a key.
    #[arg(long, value_name = "OWNER")]
    pub(crate) github: Option<String>,

    /// Trust one identity of the sigstore that this trusted_root.json is of.
    #[arg(long, value_name = "FILE", requires_all = ["issuer", "identity"])]
    pub(crate) trusted_root: Option<PathBuf>,
}

/// `lighterman inspect`
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A .wasm file, a reference, or oci:DIR.
    pub(crate) subject: String,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// `lighterman check`
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// YAML files, and manifests, whose names end in .toml; `-` reads YAML from standard input.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// `lighterman run`
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// YAML files: WasmComponent, TrustPolicy, CapabilityPolicy, Secret, ConfigMap.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Run a local build as the image of the component NAME (repeat for several).
    #[arg(long, value_name = "NAME=FILE.wasm")]
    pub(crate) set_image: Vec<Local>,

    /// Put this manifest into the local build of the component NAME, as `push --manifest`
    /// does (repeat for several).
    #[arg(long, value_name = "NAME=Component.toml", requires = "set_image")]
    pub(crate) manifest: Vec<Local>,

    /// Let components have hostPath volumes in this directory of this machine, as far as the
    /// capability policies in the files do, too (repeat for several).
    #[arg(long, value_name = "DIR")]
    pub(crate) host_path: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) spawns: SpawnArgs,

    /// Record every use and every denial in this file, one JSON line each; grants nothing
    /// more. `lighterman suggest` reads it.
    #[arg(long, value_name = "AUDIT.jsonl")]
    pub(crate) observe: Option<PathBuf>,

    /// The first port to try for a trigger whose own port is taken or privileged.
    #[arg(long, default_value_t = FIRST_PORT)]
    pub(crate) port: u16,

    /// How often files and tags are looked at for a change.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub(crate) poll: Duration,

    /// Also run components for WASI 0.3, which wasmtime calls experimental.
    #[arg(long)]
    pub(crate) p3: bool,

    #[command(flatten)]
    pub(crate) access: Access,
}

/// `lighterman invoke`
#[derive(Debug, Args)]
pub(crate) struct Invoke {
    /// The component; a wasm32-wasip1 module is wrapped into one. It is granted nothing.
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,

    /// The call in the notation of WIT: 'add(1, 2)', or 'acme:math/tools@1#add(1, 2)' where
    /// several interfaces have one. Absent: list the functions.
    #[arg(value_name = "CALL")]
    pub(crate) call: Option<String>,
}

/// `lighterman suggest`
#[derive(Debug, Args)]
pub(crate) struct Suggest {
    /// What `lighterman run --observe` wrote, or the audit file of an agent.
    #[arg(value_name = "AUDIT.jsonl")]
    pub(crate) file: PathBuf,

    /// Only of this component, as NAMESPACE/NAME (repeat for several).
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pub(crate) component: Vec<String>,
}

/// `lighterman registry`
#[derive(Debug, Args)]
pub(crate) struct Registry {
    /// Where to listen: a loopback address, since everybody may write.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    pub(crate) listen: SocketAddr,

    /// A fault to inject (repeat for several); `--fault help` lists them.
    #[arg(long, value_name = "FAULT")]
    pub(crate) fault: Vec<String>,
}

/// `lighterman completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell to complete for.
    pub(crate) shell: clap_complete::Shell,
}

/// `lighterman reference`
#[derive(Debug, Args)]
pub(crate) struct Reference {
    /// The page.
    #[arg(value_enum)]
    pub(crate) page: Page,
}

/// The pages that are generated and committed under `docs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// docs/cli.md
    Cli,
    /// docs/reasons.md
    Reasons,
}

/// How registries are reached.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registries")]
pub(crate) struct Access {
    /// Speak http with this registry; loopback addresses always may (repeat for several).
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) plain_http: Vec<String>,

    /// Trust this CA (PEM) besides the system's (repeat for several).
    #[arg(long, value_name = "FILE")]
    pub(crate) registry_ca: Vec<PathBuf>,
}

/// Where a component is, or is to be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A reference into a registry, not yet parsed.
    Registry(String),
    /// An OCI image layout directory.
    Layout(PathBuf),
}

/// A file of this machine that belongs to a component: its build, or its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Local {
    /// `metadata.name` of the component.
    pub(crate) name: String,
    /// The file.
    pub(crate) file: PathBuf,
}

/// What a trigger's port 80 becomes: the first port an ordinary user may listen on that people expect.
const FIRST_PORT: u16 = 8080;

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        match text.strip_prefix("oci:") {
            Some("") => Err("oci: needs a directory behind the colon, as in oci:./out".to_owned()),
            Some(directory) => Ok(Target::Layout(PathBuf::from(directory))),
            None => Ok(Target::Registry(text.to_owned())),
        }
    }
}

impl FromStr for Local {
    type Err = String;

    fn from_str(text: &str) -> Result<Local, String> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => Ok(Local {
                name: name.to_owned(),
                file: PathBuf::from(file),
            }),
            _ => Err("write it as NAME=FILE, with the component's metadata.name".to_owned()),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE, as in team=shop".to_owned()),
    }
}

/// A name that Kubernetes allows for an object and that needs no quotes in YAML.
fn object_name(text: &str) -> Result<String, String> {
    let legal = (1..=63).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if legal {
        return Ok(text.to_owned());
    }
    Err("write lower-case letters, digits and -, beginning with a letter, at most 63".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<capability::Span>()
        .map(|span| span.0)
        .map_err(|error| error.to_string())
}
