//! What is offered where: which interfaces a trigger opens, and the paths of their functions.
//!
//! Decided when the component is loaded: an interface that is not there, or a function that no
//! caller could call, is refused then, by name. Made by `invoke`, asked by `exchange`.

use super::openapi;
use crate::error::LoadError;
use crate::typed::{Contract, Function};
use artifact::interface::Wanted;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

/// A trigger whose requests call functions.
#[derive(Debug, Clone)]
pub struct Door {
    /// Its name.
    pub trigger: Arc<str>,
    /// The interfaces that it opens.
    pub interfaces: Vec<Wanted>,
    /// Bytes of a request body; more is answered with 413.
    pub max_request_body: u64,
}

/// What a door offers.
#[derive(Debug)]
pub(super) struct Offered {
    /// Paths without the slash in front, and the place of what they call.
    paths: HashMap<String, usize>,
    /// One path of each function, in order: those that a caller is told.
    told: Vec<String>,
    pub(super) openapi: Bytes,
    pub(super) max_request_body: u64,
}

/// The names under which a component exports interfaces.
pub(super) fn exports(engine: &Engine, component: &Component) -> Vec<String> {
    let ty = component.component_type();
    ty.exports(engine)
        .filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// What doors ask for, and the names under which it is exported.
pub(super) fn interfaces(
    exports: &[String],
    doors: &[Door],
) -> Result<Vec<(Wanted, String)>, LoadError> {
    let wanted = doors.iter().flat_map(|door| &door.interfaces);
    wanted
        .map(|wanted| match wanted.among(exports) {
            Some(exported) => Ok((wanted.clone(), exported.to_owned())),
            None => Err(LoadError::NoInterface {
                wanted: wanted.to_string(),
                exported: exports.join(", "),
            }),
        })
        .collect()
}

impl Offered {
    pub(super) fn new(
        component: &str,
        door: &Door,
        interfaces: &[(Wanted, String)],
        contract: &Contract,
    ) -> Result<Offered, LoadError> {
        let (mut paths, mut told) = (HashMap::new(), Vec::new());
        let mut functions = Vec::new();
        for (index, function) in contract.functions().iter().enumerate() {
            let names = interfaces.iter().filter(|(wanted, exported)| {
                door.interfaces.contains(wanted) && function.interface() == Some(exported)
            });
            let mut names = names.peekable();
            let Some((_, exported)) = names.peek() else {
                continue;
            };
            if let Some(unfit) = function.unfit() {
                return Err(LoadError::Unfit {
                    function: format!("{exported}#{}", function.name()),
                    unfit,
                });
            }
            let path = |interface: &str| format!("{interface}/{}", function.name());
            let exact = path(exported);
            functions.push((exact.clone(), function));
            told.push(exact.clone());
            paths.insert(exact, index);
            for (wanted, _) in names {
                // A caller who names the version as the trigger does need not follow each patch.
                paths.entry(path(&wanted.to_string())).or_insert(index);
            }
        }
        Ok(Offered {
            openapi: openapi::document(component, &functions).into(),
            paths,
            told,
            max_request_body: door.max_request_body,
        })
    }

    /// The function that a path calls.
    pub(super) fn function<'a>(
        &self,
        path: &str,
        functions: &'a [Function],
    ) -> Option<&'a Function> {
        let path = unescaped(path.strip_prefix('/')?)?;
        functions.get(*self.paths.get(&path)?)
    }

    /// The paths that there are.
    pub(super) fn told(&self) -> &[String] {
        &self.told
    }
}

/// A path without percent signs: some clients write `:` and `@` so.
fn unescaped(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut parts = path.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        // `from_str_radix` would take a sign, too.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_found_however_it_is_escaped() {
        for (path, read) in [
            ("acme:math/tools@1/add", Some("acme:math/tools@1/add")),
            ("acme%3Amath/tools%401/add", Some("acme:math/tools@1/add")),
            ("%+1", None),
            ("%4", None),
            ("%ff", None),
            ("", Some("")),
        ] {
            assert_eq!(unescaped(path).as_deref(), read, "{path}");
        }
    }
}
