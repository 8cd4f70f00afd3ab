//! Where a component may connect to, and with which credentials the host does it in
//! its stead.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretKeySelector;
use crate::{bound, schema};

/// One place, or a family of places, that a component may connect to.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.port) || self.protocol in ['HTTPS', 'HTTP']")
        .message("needs a port with protocol TCP and UDP; write for example port: 5432"),
    validation = Rule::new("!has(self.credentials) || (self.protocol == 'HTTPS' && !self.host.startsWith('*'))")
        .message("credentials go to one exact host and over HTTPS only; write the host without * and protocol: HTTPS"),
    validation = Rule::new("!has(self.credentials) || !has(self.port) || type(self.port) == int")
        .message("credentials go to one port only; write port: 443")
)]
pub struct OutboundGrant {
    /// The host: exact, or `*.suffix` for every name below a domain, or an address.
    #[schemars(length(min = 1, max = bound::HOST))]
    #[x_kube(validation = schema::host("must be a lower-case host name, *. and a domain of two labels or more, or an address; write for example api.example.com"))]
    pub host: String,
    /// The port, or a range such as `"8000-8099"`. Absent: 443 with HTTPS and 80 with HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::port_or_range")]
    pub port: Option<IntOrString>,
    /// What is spoken. HTTPS and HTTP are requests that the host makes; TCP and UDP are
    /// sockets.
    #[serde(default)]
    pub protocol: Protocol,
    /// Which addresses the host's name may stand for. Addresses of the node, of the cluster's
    /// own parts and of metadata services are never reached.
    #[serde(default)]
    pub reach: Reach,
    /// A header that the host adds to each request; the component never sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
}

/// A header with a value from a Secret, which the host adds to requests in the
/// component's stead, over TLS and to this host only.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    /// Name of the header, such as `Authorization`.
    #[schemars(length(min = 1, max = bound::HEADER_NAME))]
    #[x_kube(
        validation = schema::matches("^[A-Za-z0-9!#$%&*+.^_|~-]+$", "must be the name of a header; write for example Authorization"),
        validation = no_framing_header()
    )]
    pub header: String,
    /// The header's value, with `{}` where the Secret's value goes; `{}` alone when absent.
    #[serde(default = "Credentials::default_format")]
    #[schemars(length(min = 2, max = bound::HEADER_FORMAT))]
    #[x_kube(validation = schema::matches("^[ -z|~]*[{][}][ -z|~]*$", "must contain {} once, and otherwise printable characters; write for example Bearer {}"))]
    pub format: String,
    /// The Secret's value.
    pub secret_key_ref: SecretKeySelector,
    /// Methods of requests that get the header. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = bound::METHODS), inner(length(min = 1, max = bound::METHOD), regex(pattern = "^[A-Z]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub methods: Vec<String>,
    /// Paths of requests that get the header, as globs such as `/v1/**`. Absent: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::path_globs")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub paths: Vec<String>,
}

/// What is spoken with a host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Protocol {
    /// HTTP over TLS, by requests that the host makes.
    #[default]
    #[serde(rename = "HTTPS")]
    #[strum(serialize = "HTTPS")]
    Https,
    /// HTTP without TLS, by requests that the host makes.
    #[serde(rename = "HTTP")]
    #[strum(serialize = "HTTP")]
    Http,
    /// A TCP connection of the component's own.
    #[serde(rename = "TCP")]
    #[strum(serialize = "TCP")]
    Tcp,
    /// UDP datagrams.
    #[serde(rename = "UDP")]
    #[strum(serialize = "UDP")]
    Udp,
    /// A protocol of a later version. Nothing is granted.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Which addresses a name may stand for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display,
)]
pub enum Reach {
    /// Addresses of the public internet.
    #[default]
    Public,
    /// Also private ranges, such as those of Services.
    Private,
    /// A reach of a later version. Nothing is granted.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Headers that frame or route a request, or speak to the next hop only: whoever sets one
/// of them decides where another request begins, or whom it is for.
pub(crate) const FRAMING_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The rule of a header's name that [`FRAMING_HEADERS`] is about.
fn no_framing_header() -> Rule {
    let names = FRAMING_HEADERS.map(|name| format!("'{name}'")).join(", ");
    Rule::new(format!("!(self.lowerAscii() in [{names}])"))
        .message("must be a header of the request itself, not one that frames or routes it; write for example Authorization")
}

impl Credentials {
    /// The Secret's value and nothing else.
    pub fn default_format() -> String {
        "{}".to_owned()
    }
}
