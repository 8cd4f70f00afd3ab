//! How long every text, list and map in the custom resources may be.
//!
//! A bound keeps one object far below etcd's 1.5 MiB, keeps the API server's
//! estimate of each CEL rule affordable, and gives every reader an upper limit.
//! Used by the types and by `component::validate`, so that both say the same.

use capability::{Bytes, Span};

/// RFC 1123 subdomain: most object names.
pub const NAME: u32 = 253;
/// RFC 1035 label: Service names, port names, label values.
pub const LABEL: u32 = 63;
/// A component's name: a Service name with eleven characters left for a suffix.
pub const COMPONENT_NAME: u32 = 52;
/// An object's UID.
pub const UID: u32 = 64;
/// `host[:port]/repository[:tag][@digest]`.
pub const IMAGE: u32 = 512;
/// `sha256:` and 64 digits.
pub const DIGEST: u32 = 71;
/// A label or annotation key: prefix, slash and name.
pub const QUALIFIED_NAME: u32 = 317;
/// The value of an annotation on the Service; load balancers take URLs and lists.
pub const ANNOTATION: u32 = 4_096;
/// Labels or annotations on one object.
pub const ANNOTATIONS: u32 = 64;
/// A quantity: twenty digits and a suffix.
pub const QUANTITY: u32 = 24;
/// A GEP-2257 duration: four groups of five digits and a unit.
pub const DURATION: u32 = 32;
/// An RFC 3339 timestamp.
pub const TIMESTAMP: u32 = 64;
/// An enumerated value or a reason.
pub const WORD: u32 = 64;
/// A message for people; metav1.Condition's own bound.
pub const MESSAGE: u32 = 32_768;
/// Conditions of one object.
pub const CONDITIONS: u32 = 16;
/// A URL of a component.
pub const URL: u32 = 512;
/// A path of a health check.
pub const PATH: u32 = 1_024;

/// Replicas of one component; the scale of the largest clusters.
pub const REPLICAS: i32 = 10_000;
/// Pull secrets of one component.
pub const PULL_SECRETS: u32 = 16;
/// Triggers of one component; each takes one cluster-wide port.
pub const TRIGGERS: u32 = 16;
/// Interfaces that one trigger opens.
pub const INTERFACES: u32 = 16;
/// The name of an interface with its version.
pub const INTERFACE: u32 = 200;
/// Who may call a trigger, and exceptions from a range of addresses.
pub const PEERS: u32 = 16;
/// A range of IPv6 addresses.
pub const CIDR: u32 = 43;
/// Tolerations of one component.
pub const TOLERATIONS: u32 = 32;
/// Labels that a node must have.
pub const NODE_SELECTOR: u32 = 32;
/// Terms of a node affinity.
pub const AFFINITY_TERMS: u32 = 16;
/// Spread constraints of one component.
pub const SPREAD_CONSTRAINTS: u32 = 8;
/// Previews of one component; each takes a Service, and one port for each trigger.
pub const PREVIEWS: u32 = 8;
/// The name of a preview, which leaves most of a component's name to the component.
pub const PREVIEW_NAME: u32 = 20;
/// Arguments of one component.
pub const ARGS: u32 = 64;
/// One argument.
pub const ARG: u32 = 4_096;
/// Variables, or configuration values, of one component.
pub const VARIABLES: u32 = 128;
/// The name of a variable or the key of a Secret or ConfigMap.
pub const VARIABLE_NAME: u32 = 253;
/// A value written in the object itself; larger ones belong into a ConfigMap.
pub const VARIABLE_VALUE: u32 = 8_192;
/// Sources of variables of one component.
pub const ENV_FROM: u32 = 16;

/// Volumes of one component.
pub const VOLUMES: u32 = 16;
/// Places where volumes are mounted.
pub const MOUNTS: u32 = 16;
/// Keys of one ConfigMap or Secret that become files by name.
pub const VOLUME_ITEMS: u32 = 32;
/// An absolute path inside a component, or a glob of such paths.
pub const GUEST_PATH: u32 = 512;
/// Globs of one list of paths.
pub const PATH_GLOBS: u32 = 32;
/// The least that a volume may be limited to: one file.
pub const SIZE_LIMIT_MIN: Bytes = Bytes::kib(4);
/// The most that a volume may hold; a fraction of any node's disk.
pub const SIZE_LIMIT_MAX: Bytes = Bytes::gib(64);
/// Executables that one component is granted, or one policy allows.
pub const EXECUTABLES: u32 = 32;
/// Places that one component may connect to.
pub const OUTBOUND: u32 = 64;
/// A host name (RFC 1035), with room for `*.`.
pub const HOST: u32 = 255;
/// `65535-65535`.
pub const PORT_RANGE: u32 = 11;
/// The name of a header that carries credentials.
pub const HEADER_NAME: u32 = 64;
/// What is written around the credentials in that header.
pub const HEADER_FORMAT: u32 = 256;
/// HTTP methods of one list.
pub const METHODS: u32 = 16;
/// One HTTP method.
pub const METHOD: u32 = 32;
/// The hash of a spec.
pub const SPEC_HASH: u32 = 16;
/// The hash of what is approved.
pub const APPROVAL: u32 = 64;
/// Lines of each list of `status.capabilities`; beyond, the first.
pub const CAPABILITY_LINES: u32 = 64;
/// One line of `status.capabilities`.
pub const CAPABILITY_LINE: u32 = 640;
/// Directories of nodes that one capability policy allows.
pub const HOST_PATHS: u32 = 32;
/// Components of one namespace; the scale of the largest clusters.
pub const TOTAL_COMPONENTS: u32 = 10_000;
/// Ports of one namespace: the whole range that triggers get theirs from.
pub const TOTAL_PORTS: u32 = 10_000;
/// Memory of one namespace; the scale of the largest clusters.
pub const TOTAL_MEMORY_MAX: Bytes = Bytes::gib(1 << 20);

/// Ports of one component that runs; each takes one cluster-wide port.
pub const RUN_PORTS: u32 = 8;
/// The name of a Service's port.
pub const TRIGGER_NAME: u32 = 15;
/// The shortest time between two looks at a tag: it spares the registry.
pub const POLL_INTERVAL_MIN: Span = Span::seconds(30);
/// The longest time between two looks at a tag.
pub const POLL_INTERVAL_MAX: Span = Span::minutes(24 * 60);
/// The largest request body a trigger may admit.
pub const REQUEST_BODY_MAX: Bytes = Bytes::mib(256);
/// The largest request body of a trigger whose requests are read as a whole.
pub const INVOKE_BODY_MAX: Bytes = Bytes::mib(4);
/// The longest drain; an agent pod's own grace period is above it.
pub const GRACE_PERIOD_MAX_SECONDS: u32 = 300;
/// The longest a started revision has to stay healthy before it counts.
pub const MIN_READY_MAX_SECONDS: u32 = 3_600;
/// The longest that a rollout may take to get on.
pub const PROGRESS_DEADLINE_MAX_SECONDS: u32 = 86_400;
/// Steps of one canary; each is a write to every node.
pub const CANARY_STEPS: u32 = 20;
/// The shortest and the longest pause of a step. Longer ones end by hand.
pub const CANARY_PAUSE_MIN: Span = Span::seconds(1);
/// See [`CANARY_PAUSE_MIN`].
pub const CANARY_PAUSE_MAX: Span = Span::minutes(24 * 60);
/// Requests that a step of a canary may need.
pub const ANALYSIS_REQUESTS: u32 = 1_000_000;
/// The least and the most that the slowest of 100 response heads may be allowed: what agents
/// count is no finer than the one, and no response head takes longer than the other.
pub const LATENCY_MIN: Span = Span::milliseconds(1);
/// See [`LATENCY_MIN`].
pub const LATENCY_MAX: Span = Span::minutes(15);
/// A percentage as text, such as `999.99%`.
pub const PERCENT: u32 = 7;
/// Revisions kept for an undo.
pub const REVISION_HISTORY_MAX: u32 = 100;
/// The shortest and the longest that a component may take to become healthy.
pub const START_TIMEOUT_MIN: Span = Span::milliseconds(1);
/// See [`START_TIMEOUT_MIN`].
pub const START_TIMEOUT_MAX: Span = Span::minutes(10);

/// Globs of one trust policy.
pub const IMAGE_GLOBS: u32 = 64;
/// Authorities of one trust policy.
pub const AUTHORITIES: u32 = 16;
/// Trust policies in `status.wouldRefuse`; beyond, the first by name.
pub const WOULD_REFUSE: u32 = 16;
/// What one trust policy found: a sentence with the mend.
pub const FINDING: u32 = 2_048;
/// A public key in PEM.
pub const PEM: u32 = 8_192;
/// Identities of one authority.
pub const IDENTITIES: u32 = 16;
/// An issuer, a subject, or a regular expression for one.
pub const IDENTITY: u32 = 512;
/// The most that a policy may demand to have signed: one for each authority.
pub const MINIMUM_MATCHES: i32 = 16;
/// Attestations that one trust policy demands.
pub const ATTESTATIONS: u32 = 16;
/// Conditions on one predicate, and values of one condition.
pub const CONDITIONS_ON_PREDICATE: u32 = 16;
/// Digests that one trust policy denies.
pub const DENIED_DIGESTS: u32 = 256;
/// Least versions in one trust policy.
pub const MIN_VERSIONS: u32 = 64;
/// A semantic version.
pub const VERSION: u32 = 128;
/// Keys that one trust policy revokes.
pub const REVOKED: u32 = 64;
/// sha256 as hexadecimal digits.
pub const KEY_ID: u32 = 64;
/// Labels in a selector.
pub const SELECTOR_LABELS: u32 = 32;
/// Expressions in a selector, and values in an expression.
pub const SELECTOR_EXPRESSIONS: u32 = 16;

/// Revisions a placement points at: the old one and the new one.
pub const PLACED_REVISIONS: u32 = 2;
/// Features an agent announces.
pub const FEATURES: u32 = 64;
