//! OCI registries: resolve a tag, pull a component with its signatures by
//! digest, push one, and keep one in a directory.
//!
//! Every exchange is bounded in bytes, in time and in redirects, and every
//! digest is computed here. This crate knows neither Kubernetes clients nor
//! trust: it brings an [`artifact::Parcel`], and `artifact::verify` judges it.
//! The operator and the command line call it; nodes never do.

mod address;
mod auth;
mod challenge;
mod client;
mod config;
pub mod credential_provider;
mod credentials;
pub mod development;
mod document;
mod endpoint;
mod error;
mod host;
mod image;
pub mod layout;
mod location;
mod private;
pub mod pull_secret;
mod push;
mod referrers;
mod repository;
mod rest;
mod retry_after;
mod simple_signing;
mod slots;
mod sources;
mod transport;

pub use client::{Client, Signatures};
pub use config::{Config, Limits, Timeouts};
pub use credential_provider::CredentialProviders;
pub use credentials::Credentials;
pub use error::{Error, Outage, RedirectRefusal};
pub use host::{HostConfig, Mirror, MirrorError};
pub use image::Image;
pub use private::{Private, PrivateHost, PrivateHostError};
pub use pull_secret::{PullSecret, PullSecretError};
