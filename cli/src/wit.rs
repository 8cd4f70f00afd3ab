//! The WIT of a component, read from its binary.
//!
//! Knows the component format only; `inspect` prints what it returns.

use wit_component::{OutputToString, WitPrinter};

/// Imports and exports as one WIT world; `None` when the binary carries no types that can be printed.
pub(crate) fn of(component: &[u8]) -> Option<String> {
    let decoded = wit_parser::decoding::decode(component).ok()?;
    let mut printer = WitPrinter::<OutputToString>::default();
    printer.emit_docs(false);
    printer
        .print(decoded.resolve(), decoded.package(), &[])
        .ok()?;
    Some(String::from(printer.output).trim().to_owned())
}
