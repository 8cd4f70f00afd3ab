//! The operator's flags: the only place that reads them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

use crate::guard;
use crate::handover::identity::ServiceAccount;
use crate::inspector;
use crate::port::PortRange;
use crate::public_root::RepositoryUrl;
use crate::trial;

/// Decides what runs where in a cluster, and verifies it.
#[derive(Debug, Clone, Parser)]
#[command(name = "lighterman-operator", version)]
pub struct Args {
    /// Kubeconfig of the cluster; without it the Pod's service account is used.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of operator and agents.
    #[arg(long, value_name = "NAMESPACE", default_value = crds::names::SYSTEM_NAMESPACE)]
    pub namespace: String,
    /// Namespace of the agents' heartbeat Leases.
    #[arg(long, value_name = "NAMESPACE", default_value = crds::names::NODE_NAMESPACE)]
    pub node_namespace: String,
    /// Where the hand-over listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8443")]
    pub hand_over_listen: SocketAddr,
    /// Name or address under which agents reach the hand-over; its certificate has them all.
    #[arg(
        long = "hand-over-name",
        value_name = "NAME",
        default_value = "lighterman-operator.lighterman-system.svc"
    )]
    pub hand_over_names: Vec<String>,
    /// Where /metrics, /healthz and /readyz listen.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// Directory of the content cache. It may be lost.
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/var/lib/lighterman-operator"
    )]
    pub state_dir: PathBuf,
    /// Ports that components get on the nodes.
    #[arg(long, value_name = "FIRST-LAST", default_value = "20000-29999")]
    pub port_range: PortRange,
    /// Name of this replica in the leader election; the Pod's name, usually.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: String,
    /// How registries are reached, and with what.
    #[command(flatten)]
    pub registries: RegistryArgs,
    /// How the public root is kept current.
    #[command(flatten)]
    pub tuf: TufArgs,
    /// Service account of the agents.
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "lighterman-system/lighterman-agent"
    )]
    pub agent_service_account: ServiceAccount,
    /// Image of this program, for a guard Pod on each used node: it reserves what components
    /// reserve, and makes drains wait until they have moved. Without it there are no guards.
    #[arg(long, value_name = "IMAGE")]
    pub guard_image: Option<String>,
    /// Age at which the CA of the hand-over gets a successor.
    #[arg(long, value_name = "DURATION", default_value = "8760h")]
    pub ca_rotation: capability::Span,
    /// How long a new CA is published to the agents before certificates are issued from it.
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub ca_overlap: capability::Span,
}

/// How registries are reached, and with what.
#[derive(Debug, Clone, clap::Args)]
pub struct RegistryArgs {
    /// Registry that is spoken to in plain HTTP; loopback always may be.
    #[arg(long, value_name = "HOST:PORT")]
    pub registry_plain_http: Vec<String>,
    /// File with certificates, in PEM, that registries' certificates may hang from.
    #[arg(long, value_name = "FILE")]
    pub registry_ca: Vec<PathBuf>,
    /// Registry in a private network or on loopback, or a range of addresses, that images may be
    /// pulled from. Others there are refused, whoever names them: image, redirect or token server.
    #[arg(long, value_name = "HOST|HOST:PORT|CIDR")]
    pub registry_private: Vec<registry::PrivateHost>,
    /// File with mirrors and certificate authorities of single registries (RegistryConfiguration).
    #[arg(long, value_name = "FILE")]
    pub registry_config: Option<PathBuf>,
    /// Docker's config.json with the credentials of those mirrors, which is what a Secret of type
    /// kubernetes.io/dockerconfigjson holds.
    #[arg(long, value_name = "FILE", requires = "registry_config")]
    pub registry_mirror_credentials: Option<PathBuf>,
    /// The kubelet's CredentialProviderConfig: programs that give credentials for registries.
    #[arg(
        long,
        value_name = "FILE",
        requires = "image_credential_provider_bin_dir"
    )]
    pub image_credential_provider_config: Option<PathBuf>,
    /// Directory of those programs.
    #[arg(
        long,
        value_name = "DIRECTORY",
        requires = "image_credential_provider_config"
    )]
    pub image_credential_provider_bin_dir: Option<PathBuf>,
}

/// How the public root is kept current: the one that counts where a trust policy names none.
#[derive(Debug, Clone, clap::Args)]
pub struct TufArgs {
    /// TUF repository that the root of sigstore's public-good instance is fetched from, itself or
    /// a mirror. Without it nothing is fetched, and the root of this build counts.
    #[arg(long, value_name = "URL")]
    pub tuf_mirror: Option<RepositoryUrl>,
    /// File with the root.json of another TUF repository, of a sigstore of the platform's own,
    /// which then takes the place of the public-good instance. Agents need the same.
    #[arg(long, value_name = "FILE", requires = "tuf_mirror")]
    pub tuf_root: Option<PathBuf>,
    /// How often something newer is asked for, while a policy needs the public root.
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    pub tuf_refresh: capability::Span,
}

/// What the program is started as.
#[derive(Debug, Clone)]
pub enum Role {
    /// The operator.
    Operator(Box<Args>),
    /// The process in a guard Pod, which the operator starts with its own image, and the
    /// name of the operator's Service.
    Guard(Option<String>),
    /// A child that reads hostile bytes first.
    Inspector,
    /// The process in the Pod of `helm test`.
    Trial(TrialArgs),
}

/// Runs one component through an installation, and removes it again.
#[derive(Debug, Clone, Parser)]
#[command(name = "lighterman-operator trial")]
pub struct TrialArgs {
    /// Where the component is made.
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: String,
    /// Its image: signed, and admitted by a trust policy.
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
}

impl Role {
    /// Reads the command line; prints and exits when it is wrong or asks for help.
    pub fn from_command_line() -> Self {
        match std::env::args().nth(1).as_deref() {
            Some(guard::process::ROLE) => Self::Guard(std::env::args().nth(2)),
            Some(inspector::ROLE) => Self::Inspector,
            Some(trial::ROLE) => Self::Trial(TrialArgs::parse_from(std::env::args().skip(1))),
            _ => Self::Operator(Box::new(Args::parse())),
        }
    }
}
