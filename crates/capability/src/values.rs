//! The values a component is given. A value given is a grant; there is nothing else.
//!
//! Values may come from Secrets, so they must not be seen in a log: `Debug`
//! names them and hides them. Made by the node agent, handed to the runtime.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Arguments, environment and configuration of one component.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Values {
    /// `wasi:cli/environment.get-arguments`.
    pub args: Vec<String>,
    /// `wasi:cli/environment.get-environment`.
    pub env: BTreeMap<String, String>,
    /// `wasi:config/store`.
    pub config: BTreeMap<String, String>,
}

/// Shows that there is a value, and not which.
struct Redacted;

/// Shows the names of a map and hides its values.
struct Names<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.keys().map(|name| (name, Redacted)))
            .finish()
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Values")
            .field(
                "args",
                &self.args.iter().map(|_| Redacted).collect::<Vec<_>>(),
            )
            .field("env", &Names(&self.env))
            .field("config", &Names(&self.config))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_names_and_hides_values() {
        let values = Values {
            args: vec!["--password=hunter2".to_owned()],
            env: BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())]),
            config: BTreeMap::from([("mode".to_owned(), "hunter2".to_owned())]),
        };
        let shown = format!("{values:?} {values:#?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("TOKEN") && shown.contains("mode"), "{shown}");
    }
}
