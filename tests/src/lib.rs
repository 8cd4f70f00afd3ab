//! The harness of the cluster tests: a real control plane, a real registry and
//! the operator and agents of this checkout as processes. It knows flags and
//! Kubernetes objects, and nothing of the insides of operator and agent. The
//! tests in `cluster/` call it, one file per behaviour; `tests/in-namespace`
//! runs them.

pub mod agent;
pub mod certificates;
pub mod cluster;
pub mod eventually;
pub mod files;
pub mod guest;
pub mod hand_over;
pub mod helm;
pub mod kubelet;
pub mod load;
pub mod namespace;
pub mod operator;
pub mod process;
pub mod registry;
pub mod signing;
pub mod simulated;
pub mod soak;
pub mod suite;
pub mod tenant;
pub mod tools;
pub mod writes;
