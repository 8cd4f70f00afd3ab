//! A fault in an object, with the field it is in and what mends it, and a
//! collector of them.
//!
//! Pure. Filled by `component::validate` and `trust_policy`, shown by the operator in
//! conditions and by the command line.

use std::collections::BTreeSet;
use std::fmt;

/// One fault of an object, with its mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}; {mend}")]
pub struct Problem {
    /// Path of the field at fault, such as `spec.triggers[0].http.port`.
    pub field: String,
    /// What is wrong with it, to be read after the field.
    pub message: String,
    /// What to do about it.
    pub mend: String,
}

/// Faults that were found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Problem {
            field: field.into(),
            message: message.into(),
            mend: mend.into(),
        });
    }

    /// A list or map with at most `most` entries.
    pub(crate) fn entries(&mut self, field: &str, found: usize, most: u32) {
        if found > most as usize {
            self.add(
                field,
                format!("has {found} entries"),
                format!("keep at most {most}"),
            );
        }
    }

    /// A text with at least one and at most `most` characters.
    pub(crate) fn text(&mut self, field: &str, found: &str, most: u32) {
        if found.is_empty() {
            self.add(field, "is empty", "write a value, or remove the entry");
        } else {
            self.length(field, found, most);
        }
    }

    /// A text with at most `most` characters.
    pub(crate) fn length(&mut self, field: &str, found: &str, most: u32) {
        let length = found.chars().count();
        if length > most as usize {
            self.add(
                field,
                format!("has {length} characters"),
                format!("keep at most {most}"),
            );
        }
    }

    /// A value from `least` to `most`.
    pub(crate) fn within<T: PartialOrd + fmt::Display>(
        &mut self,
        field: &str,
        found: &T,
        least: &T,
        most: &T,
    ) {
        if found < least || found > most {
            self.add(
                field,
                format!("is {found}"),
                format!("write {least} to {most}"),
            );
        }
    }

    /// List entries of which no two share a key.
    pub(crate) fn distinct<'a>(
        &mut self,
        field: &str,
        key: &str,
        found: impl IntoIterator<Item = &'a str>,
    ) {
        let mut seen = BTreeSet::new();
        for (index, found) in found.into_iter().enumerate() {
            if !seen.insert(found) {
                self.add(
                    format!("{field}[{index}].{key}"),
                    format!("is `{found}` for the second time"),
                    format!("give each entry a {key} of its own"),
                );
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}
