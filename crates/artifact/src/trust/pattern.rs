//! Patterns over texts that somebody else wrote: exact, a regular expression
//! over the whole text, or a glob. Used for identities and for conditions.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::PolicyError;
use crate::limits::{EXPRESSION_MAX, IDENTITY_TEXT_MAX};

/// An issuer or a subject.
#[derive(Debug, Clone)]
pub(super) enum TextPattern {
    /// This very text.
    Exact(String),
    /// A text that this expression matches from its first to its last character.
    Expression {
        regex: Regex,
        /// As it was written.
        source: String,
    },
}

/// `*` stands for any characters but `/`, `**` for any characters; everything
/// else for itself. The whole text has to match.
#[derive(Debug, Clone)]
pub(super) struct TextGlob(Regex);

impl TextPattern {
    pub(super) fn exact(field: &str, text: String) -> Result<Self, PolicyError> {
        check_length(field, &text)?;
        Ok(Self::Exact(text))
    }

    pub(super) fn expression(field: &str, source: String) -> Result<Self, PolicyError> {
        check_length(field, &source)?;
        let refused = |error: &regex::Error| {
            PolicyError::new(format!(
                "{field}: {source:?} cannot be used as a regular expression: {}; correct or shorten it",
                one_line(&error.to_string())
            ))
        };
        // By itself first: `a)|(?:b` is no expression, but would become two
        // unanchored halves within the anchors below.
        compile(&source).map_err(|error| refused(&error))?;
        // An unanchored `https://github.com/acme/` would also match
        // `https://evil.example/?https://github.com/acme/`.
        let regex = compile(&format!(r"\A(?:{source})\z")).map_err(|error| refused(&error))?;
        Ok(Self::Expression { regex, source })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == text,
            Self::Expression { regex, .. } => regex.is_match(text),
        }
    }
}

impl TextGlob {
    pub(super) fn new(field: &str, glob: &str) -> Result<Self, PolicyError> {
        if glob.contains("***") {
            return Err(PolicyError::new(format!(
                "{field}: {glob:?} has three stars in a row; write * for anything but / or ** for anything"
            )));
        }
        let parts: Vec<String> = glob
            .split("**")
            .map(|part| {
                let literals: Vec<String> = part.split('*').map(regex::escape).collect();
                literals.join("[^/]*")
            })
            .collect();
        compile(&format!(r"\A(?s:{})\z", parts.join(".*")))
            .map(Self)
            .map_err(|error| {
                PolicyError::new(format!(
                    "{field}: {glob:?} is too large a pattern: {}; shorten it",
                    one_line(&error.to_string())
                ))
            })
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

fn compile(expression: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(expression)
        .size_limit(EXPRESSION_MAX)
        .dfa_size_limit(EXPRESSION_MAX)
        .build()
}

fn check_length(field: &str, text: &str) -> Result<(), PolicyError> {
    if text.is_empty() {
        return Err(PolicyError::new(format!(
            "{field} is empty; write whom to trust, or remove the entry"
        )));
    }
    if text.len() > IDENTITY_TEXT_MAX {
        return Err(PolicyError::new(format!(
            "{field} takes {} bytes, and at most {IDENTITY_TEXT_MAX} are allowed; shorten it",
            text.len()
        )));
    }
    Ok(())
}

/// A parse error of the regex crate is a drawing of several lines, whose last says
/// what is wrong.
fn one_line(error: &str) -> &str {
    let last = error.lines().last().unwrap_or(error);
    last.strip_prefix("error: ").unwrap_or(last)
}

impl fmt::Display for TextPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => formatter.write_str(text),
            Self::Expression { source, .. } => write!(formatter, "/{source}/"),
        }
    }
}
