//! What the registry client does against a registry that works, and against
//! one that does not: one behaviour per file, all over loopback.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test says what it expects by panicking"
)]

mod authentication;
mod credential_providers;
mod digests;
mod fixture;
mod foreign_urls;
mod layout;
mod mirrors;
mod outages;
mod private_authority;
mod private_networks;
mod proof_of_access;
mod pull_secrets;
mod push_and_pull;
mod rate_limits;
mod redirects;
mod referrers;
mod simple_signing;
mod size_limits;
mod slow_registries;
mod tenants;
mod token_servers;
