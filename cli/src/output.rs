//! How a command answers: sentences for people or JSON for programs.
//!
//! Knows no command. A command makes one value that can be shown both ways, so the
//! two forms cannot drift apart. Answers go to standard output, failures and
//! progress to standard error.

use std::fmt::Display;
use std::io::Write as _;

use serde::Serialize;

use crate::args::Format;
use crate::failure::Failure;

/// Where answers go, in the form that was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    /// Answers in `format`.
    pub(crate) fn new(format: Format) -> Output {
        Output { format }
    }

    /// The one answer of a command that ends; JSON is indented for reading.
    pub(crate) fn answer<T: Serialize + Display>(&self, value: &T) {
        match self.format {
            Format::Text => line(value),
            Format::Json => line(&json(serde_json::to_string_pretty(value))),
        }
    }

    /// One of many answers of a command that keeps running; JSON takes one line each.
    pub(crate) fn event<T: Serialize + Display>(&self, value: &T) {
        match self.format {
            Format::Text => line(value),
            Format::Json => line(&json(serde_json::to_string(value))),
        }
    }

    /// A failure, with its mend, on standard error.
    pub(crate) fn fail(&self, failure: &Failure) {
        match self.format {
            Format::Text => {
                eprintln!("error: {failure}");
                if !failure.mend().is_empty() {
                    eprintln!(" mend: {}", failure.mend());
                }
            }
            Format::Json => {
                let value = serde_json::json!({ "error": failure });
                eprintln!("{value}");
            }
        }
    }
}

/// A closed pipe (`lighterman inspect x | head`) ends the answer, not the program with a panic.
fn line(value: &dyn Display) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{value}").and_then(|()| stdout.flush());
}

fn json(text: Result<String, serde_json::Error>) -> String {
    text.unwrap_or_else(|error| format!("{{\"error\":{{\"what\":\"{error}\"}}}}"))
}

/// Text of a stranger for one line of a terminal: nothing in it moves the cursor or turns the
/// direction of reading.
pub(crate) fn printable(text: &str) -> String {
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| if is_hidden(c) { '\u{fffd}' } else { c })
        .collect()
}
