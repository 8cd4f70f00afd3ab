//! A section of `Component.toml`, its entries, and what is wrong with them and where.
//!
//! Knows no key by name. Called by [`super`].

use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::ManifestError;
use crate::outbound::Ports;
use crate::request::Request;

/// A table of the document and where it is.
pub(super) struct Section<'a, 'i> {
    text: &'a str,
    /// Keys from the root, joined with dots; empty at the root.
    path: String,
    table: Option<&'a DeTable<'i>>,
}

/// A value and where it is.
pub(super) struct Entry<'a, 'i> {
    text: &'a str,
    key: String,
    value: &'a Spanned<DeValue<'i>>,
}

impl<'a, 'i> Section<'a, 'i> {
    /// The whole document.
    pub(super) fn root(text: &'a str, table: &'a DeTable<'i>) -> Self {
        Self {
            text,
            path: String::new(),
            table: Some(table),
        }
    }

    /// Refuses every key but these.
    pub(super) fn allow(&self, valid: &[&str]) -> Result<(), ManifestError> {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !valid.contains(&name) {
                let valid: Vec<String> = valid.iter().map(|key| format!("`{key}`")).collect();
                return Err(ManifestError::UnknownKey {
                    line: line_of(self.text, key.span().start),
                    key: self.full(&one_line(name)),
                    valid: valid.join(", "),
                });
            }
        }
        Ok(())
    }

    /// A table in this one; empty when there is none.
    pub(super) fn section(&self, key: &str) -> Result<Self, ManifestError> {
        let table = match self.entry(key) {
            None => None,
            Some(entry) => match entry.value.get_ref() {
                DeValue::Table(table) => Some(table),
                _ => {
                    let section = format!("write it as a section, `[{}]`", entry.key);
                    return Err(entry.wrong(section));
                }
            },
        };
        Ok(Self {
            text: self.text,
            path: self.full(key),
            table,
        })
    }

    pub(super) fn entry(&self, key: &str) -> Option<Entry<'a, 'i>> {
        Some(Entry {
            text: self.text,
            key: self.full(key),
            value: self.table?.get(key)?,
        })
    }

    fn full(&self, key: &str) -> String {
        match self.path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        }
    }

    /// `true` or `false`; false when it is not there.
    pub(super) fn switch(&self, key: &str) -> Result<bool, ManifestError> {
        self.entry(key)
            .map_or(Ok(false), |entry| match entry.value.get_ref() {
                DeValue::Boolean(on) => Ok(*on),
                _ => Err(entry.wrong("write `true` or `false`")),
            })
    }

    pub(super) fn number(&self, key: &str, least: u64) -> Result<Option<u64>, ManifestError> {
        self.entry(key).map(|entry| entry.number(least)).transpose()
    }

    fn elements(&self, key: &str) -> Result<Vec<Entry<'a, 'i>>, ManifestError> {
        let Some(entry) = self.entry(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(array) = entry.value.get_ref() else {
            return Err(entry.wrong("write a list, as in `[\"one\", \"two\"]`"));
        };
        if array.len() > Request::ENTRIES_MAX {
            let most = Request::ENTRIES_MAX;
            let problem = format!("has {} entries; write at most {most}", array.len());
            return Err(entry.wrong(problem));
        }
        Ok(array
            .iter()
            .map(|value| Entry {
                text: self.text,
                key: entry.key.clone(),
                value,
            })
            .collect())
    }

    pub(super) fn list<T: FromStr<Err: ToString>>(
        &self,
        key: &str,
    ) -> Result<Vec<T>, ManifestError> {
        let read = |entry: Entry<'_, '_>| {
            let text = entry.text()?;
            text.parse()
                .map_err(|error: T::Err| entry.wrong(error.to_string()))
        };
        self.elements(key)?.into_iter().map(read).collect()
    }

    pub(super) fn names(&self, key: &str) -> Result<Vec<String>, ManifestError> {
        let elements = self.elements(key)?;
        elements.iter().map(Entry::name).collect()
    }

    pub(super) fn ports(&self, key: &str) -> Result<Vec<Ports>, ManifestError> {
        let read = |entry: Entry<'_, '_>| match entry.value.get_ref() {
            DeValue::Integer(_) => {
                let port = entry.number(1)?;
                let port = u16::try_from(port).map_err(|_| entry.wrong("write at most 65535"))?;
                Ok(Ports::one(port))
            }
            _ => {
                let text = entry.text()?;
                text.parse()
                    .map_err(|error: crate::outbound::InvalidPorts| entry.wrong(error.to_string()))
            }
        };
        self.elements(key)?.into_iter().map(read).collect()
    }
}

impl<'a> Entry<'a, '_> {
    fn text(&self) -> Result<&'a str, ManifestError> {
        match self.value.get_ref() {
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong("write a text in quotes")),
        }
    }

    /// A text that can be shown: not empty, not long, one line.
    pub(super) fn name(&self) -> Result<String, ManifestError> {
        let text = self.text()?;
        let fits = !text.is_empty() && text.len() <= Request::NAME_MAX;
        if !fits || text.trim() != text || text.chars().any(char::is_control) {
            let most = Request::NAME_MAX;
            return Err(self.wrong(format!(
                "write 1 to {most} bytes without control characters and surrounding spaces"
            )));
        }
        Ok(text.to_owned())
    }

    fn number(&self, least: u64) -> Result<u64, ManifestError> {
        /// TOML has no integers beyond it; whatever is larger limits nothing.
        const MOST: u64 = i64::MAX as u64;
        let DeValue::Integer(integer) = self.value.get_ref() else {
            return Err(self.wrong("write a whole number"));
        };
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (least..=MOST).contains(number))
            .ok_or_else(|| self.wrong(format!("write a whole number from {least} on")))
    }

    fn wrong(&self, problem: impl Into<String>) -> ManifestError {
        ManifestError::Value {
            line: line_of(self.text, self.value.span().start),
            key: self.key.clone(),
            problem: problem.into(),
        }
    }
}

pub(super) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

/// What a manifest's author wrote must not break the line, or the bound, of a message.
pub(super) fn one_line(text: &str) -> String {
    const LONG: usize = 80;
    text.chars()
        .map(|character| match character.is_control() {
            true => ' ',
            false => character,
        })
        .take(LONG)
        .collect()
}
