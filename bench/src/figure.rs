//! The figures of a run: a line each on standard output, all of them in one
//! JSON file. It knows nothing of how they were measured.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// What a figure is held against.
pub(crate) enum Bar {
    /// Reported only.
    None,
    /// The figure should not be less.
    AtLeast(f64),
    /// The figure should not be more.
    AtMost(f64),
}

/// Everything measured in this run, by name.
#[derive(Default)]
pub(crate) struct Figures(BTreeMap<String, Figure>);

#[derive(Serialize)]
struct Figure {
    value: f64,
    unit: &'static str,
    bar: Option<String>,
}

impl Figures {
    /// Prints `NAME VALUE UNIT (bar BAR)` at once, so that an interrupted run has said what it saw.
    pub(crate) fn add(&mut self, name: &str, value: f64, unit: &'static str, bar: Bar) {
        let bar = match bar {
            Bar::None => None,
            Bar::AtLeast(least) => Some(format!(">= {least:.2}")),
            Bar::AtMost(most) => Some(format!("<= {most:.2}")),
        };
        let shown = bar
            .as_deref()
            .map(|bar| format!(" (bar {bar})"))
            .unwrap_or_default();
        println!("{name} {value:.2} {unit}{shown}");
        self.0.insert(name.to_owned(), Figure { value, unit, bar });
    }

    /// Writes `{name: {value, unit, bar}}`.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        std::fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))
    }
}
