//! `lighterman version`: which build this is, and what it runs components with.
//!
//! Knows only constants of the build.

use std::fmt;

use serde::Serialize;

/// The versions that matter when two machines disagree.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Versions {
    lighterman: &'static str,
    wasmtime: &'static str,
    api: &'static str,
}

/// The versions of this build.
pub(crate) fn run() -> Versions {
    Versions {
        lighterman: env!("CARGO_PKG_VERSION"),
        wasmtime: env!("LIGHTERMAN_WASMTIME_VERSION"),
        api: "lighterman.dev/v1alpha1",
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "lighterman {} (wasmtime {}, {})",
            self.lighterman, self.wasmtime, self.api
        )
    }
}
