//! What a component may use, as a user writes it.
//!
//! The same numbers as [`capability::Limits`], with a schema. `Resources::limits`
//! is the only way from here to there.

use capability::{Bytes, Limits, Span};
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::schema;

/// What a component may use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = schema::quantity_part_of("perCall.memory", "perReplica.memory"),
    validation = schema::quantity_part_of("requests.memory", "perReplica.memory")
)]
pub struct Resources {
    /// Set aside for each replica: what placement adds up per node.
    #[serde(default)]
    pub requests: Requests,
    /// The most that a replica holds at once, over all its calls.
    #[serde(default)]
    pub per_replica: PerReplica,
    /// The most that one call may use.
    #[serde(default)]
    pub per_call: PerCall,
}

/// Set aside for each replica.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Memory set aside for each replica.
    #[serde(default = "default_requests_memory")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Bytes(0), Limits::PER_REPLICA_MEMORY_MAX))]
    pub memory: Bytes,
}

/// The most that a replica holds at once.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerReplica {
    /// Calls in flight; more are answered with 503.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = Limits::CONCURRENCY_MAX))]
    pub concurrency: u32,
    /// Memory of all calls in flight together, at most 10Gi.
    #[serde(default = "default_per_replica_memory")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::MEMORY_MIN, Limits::PER_REPLICA_MEMORY_MAX))]
    pub memory: Bytes,
}

/// The most that one call may use.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = schema::duration_part_of("cpuTime", "timeout"))]
pub struct PerCall {
    /// Memory of one call, at most 256Mi.
    #[serde(default = "default_per_call_memory")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::MEMORY_MIN, Limits::PER_CALL_MEMORY_MAX))]
    pub memory: Bytes,
    /// Time on a processor of one call.
    #[serde(default = "default_cpu_time")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(Limits::TIME_MIN, Limits::TIMEOUT_MAX))]
    pub cpu_time: Span,
    /// Time until the response head of one call.
    #[serde(default = "default_timeout")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(Limits::TIME_MIN, Limits::TIMEOUT_MAX))]
    pub timeout: Span,
    /// Instructions of one call, in units of fuel: about one for each, and more for those that
    /// fill or copy memory. The same call uses the same fuel on every machine. Left out, they
    /// are not counted; counting makes code about a fifth slower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = Limits::FUEL_MIN, max = Limits::FUEL_MAX))]
    pub fuel: Option<u64>,
    /// Bytes that one call may read and write: files, connections that it opens, its request
    /// and its answer. Left out, as many as it has time for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::quantity")]
    #[x_kube(validation = schema::quantity_between(Limits::IO_MIN, Limits::IO_MAX))]
    pub io: Option<Bytes>,
}

/// How long one instance of a component lives: whichever comes first, and until a call of it
/// does not end well.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instances {
    /// Requests that one instance answers, one after the other. 1: every request has an
    /// instance of its own, and nothing of it is left for the next. More needs a
    /// CapabilityPolicy with allow.instanceReuse.
    #[serde(default = "default_max_requests")]
    #[schemars(range(min = 1, max = Limits::INSTANCE_REQUESTS_MAX))]
    pub max_requests: u32,
    /// How long an instance waits for its next request, at most 5m.
    #[serde(default = "default_idle_timeout")]
    #[schemars(schema_with = "schema::duration")]
    #[x_kube(validation = schema::duration_between(Limits::TIME_MIN, Limits::IDLE_TIMEOUT_MAX))]
    pub idle_timeout: Span,
}

impl Resources {
    /// The limits a component runs under whose instances live so long.
    pub fn limits(&self, instances: &Instances) -> Limits {
        Limits {
            instances: capability::Instances {
                max_requests: instances.max_requests,
                idle_timeout: instances.idle_timeout,
            },
            requests: capability::Requests {
                memory: self.requests.memory,
            },
            per_replica: capability::PerReplica {
                concurrency: self.per_replica.concurrency,
                memory: self.per_replica.memory,
            },
            per_call: capability::PerCall {
                memory: self.per_call.memory,
                cpu_time: self.per_call.cpu_time,
                timeout: self.per_call.timeout,
                fuel: self.per_call.fuel,
                io: self.per_call.io,
            },
        }
    }
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            memory: default_requests_memory(),
        }
    }
}

impl Default for Instances {
    fn default() -> Self {
        Self {
            max_requests: default_max_requests(),
            idle_timeout: default_idle_timeout(),
        }
    }
}

impl Default for PerReplica {
    fn default() -> Self {
        Self {
            concurrency: default_concurrency(),
            memory: default_per_replica_memory(),
        }
    }
}

impl Default for PerCall {
    fn default() -> Self {
        Self {
            memory: default_per_call_memory(),
            cpu_time: default_cpu_time(),
            timeout: default_timeout(),
            fuel: None,
            io: None,
        }
    }
}

fn default_max_requests() -> u32 {
    capability::Instances::default().max_requests
}

fn default_idle_timeout() -> Span {
    capability::Instances::default().idle_timeout
}

fn default_requests_memory() -> Bytes {
    capability::Requests::default().memory
}

fn default_concurrency() -> u32 {
    capability::PerReplica::default().concurrency
}

fn default_per_replica_memory() -> Bytes {
    capability::PerReplica::default().memory
}

fn default_per_call_memory() -> Bytes {
    capability::PerCall::default().memory
}

fn default_cpu_time() -> Span {
    capability::PerCall::default().cpu_time
}

fn default_timeout() -> Span {
    capability::PerCall::default().timeout
}
