//! The operator: the deciding side of Lighterman.
//!
//! It resolves and verifies images, writes sealed revisions, places them on
//! nodes, keeps Services and EndpointSlices, and hands bytes and values to the
//! agents of the nodes they are placed on. All of its state is in the API
//! server. It never links a WebAssembly engine and never runs a guest.
//!
//! Long-lived tasks, all started by [`app`]: the watches of [`caches`], the node
//! facts ([`node`]), the guard Pods ([`guard`]), the election ([`leader`]), the component driver
//! ([`component`]), the policies' status ([`trust_policy`],
//! [`capability_policy`]), the public root ([`public_root`]), the hand-over ([`handover`]),
//! the Events of what guests were denied ([`denials`]) and the admin endpoints ([`admin`]). What
//! agents count while a revision takes over is in [`tallies`].
//! Pure and shared with `lighterman run`: [`component::validate`], [`component::admit`],
//! [`component::revision`], [`component::plan`], [`rollout`], [`placement`] and [`port`].

pub mod account;
pub mod admin;
pub mod app;
pub mod args;
pub mod caches;
pub mod capability_policy;
pub mod ceilings;
pub mod component;
pub mod content;
pub mod denials;
mod event;
pub mod guard;
pub mod handover;
pub mod inspector;
pub mod keys;
pub mod leader;
pub mod metrics;
pub mod mirror;
pub mod network_policy;
pub mod node;
pub mod placement;
pub mod policy_status;
pub mod port;
pub mod ports;
pub mod prerequisites;
pub mod public_root;
pub mod queue;
pub mod reader;
pub mod registries;
pub mod resolver;
pub mod rollout;
pub mod seal;
pub mod service;
pub mod tallies;
pub mod trial;
pub mod trust;
pub mod trust_policy;
pub mod values;
pub mod writer;
