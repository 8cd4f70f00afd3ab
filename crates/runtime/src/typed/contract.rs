//! The functions that a component exports: where they are, and what they take and give.
//!
//! Looked up when the component is loaded, from the types that come with its machine code. What
//! is exported and can not be called from outside is kept with the reason, so that whoever asks
//! for it is told. Made by `invoke`.

use super::shape::{Shape, Shapes, Strange, listed};
use std::fmt;
use wasmtime::Engine;
use wasmtime::component::types::{ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, Type};

/// Types that are kept of one component: some megabytes at the most.
const TYPES_MAX: usize = 20_000;
/// Functions that are kept of one component.
const FUNCTIONS_MAX: usize = 2_000;

/// A function that a component exports.
#[derive(Debug, Clone)]
pub struct Function {
    /// The interface it is in, as the component names it; none for one that it exports by itself.
    interface: Option<String>,
    name: String,
    pub(crate) index: ComponentExportIndex,
    signature: Result<Signature, Unfit>,
}

/// What a function takes and gives.
#[derive(Debug, Clone)]
pub(crate) struct Signature {
    /// A record: each by its name.
    pub(crate) parameters: Shape,
    pub(crate) result: Option<Shape>,
    /// The types of the parameters, for who reads them in the notation of WIT.
    pub(super) types: Vec<Type>,
}

/// Why a function can not be called from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is a method or a constructor.
    #[error("it belongs to a resource, which is only of use inside the component")]
    Method,
    /// It is async.
    #[error("it is async, which this version does not call")]
    Async,
    /// Something in its signature can not be written down.
    #[error("its signature has {0}")]
    Signature(Strangeness),
}

/// Something in a signature that can not be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Strangeness(Strange);

/// The functions of a component, in its order.
#[derive(Debug, Default)]
pub(crate) struct Contract(Vec<Function>);

impl Contract {
    /// Those of the interfaces for which `wanted` holds, and those of no interface if it holds
    /// of none.
    pub(crate) fn of(
        engine: &Engine,
        component: &Component,
        wanted: impl Fn(Option<&str>) -> bool,
    ) -> Contract {
        let mut shapes = Shapes::new(TYPES_MAX);
        let mut functions = Vec::new();
        let ty = component.component_type();
        for (name, export) in ty.exports(engine) {
            match &export.ty {
                ComponentItem::ComponentFunc(func) if wanted(None) => {
                    let index = component.get_export_index(None, name);
                    let function = index.map(|index| Function {
                        interface: None,
                        name: name.to_owned(),
                        index,
                        signature: Signature::of(name, func, &mut shapes),
                    });
                    functions.extend(function);
                }
                ComponentItem::ComponentInstance(instance) if wanted(Some(name)) => {
                    let Some(interface) = component.get_export_index(None, name) else {
                        continue;
                    };
                    for (within, export) in instance.exports(engine) {
                        let ComponentItem::ComponentFunc(func) = &export.ty else {
                            continue;
                        };
                        let index = component.get_export_index(Some(&interface), within);
                        let function = index.map(|index| Function {
                            interface: Some(name.to_owned()),
                            name: within.to_owned(),
                            index,
                            signature: Signature::of(within, func, &mut shapes),
                        });
                        functions.extend(function);
                    }
                }
                _ => {}
            }
        }
        functions.truncate(FUNCTIONS_MAX);
        Contract(functions)
    }

    pub(crate) fn functions(&self) -> &[Function] {
        &self.0
    }
}

impl Signature {
    fn of(name: &str, func: &ComponentFunc, shapes: &mut Shapes) -> Result<Signature, Unfit> {
        // `[method]blob.read`, `[constructor]blob`, `[static]blob.open`.
        if name.starts_with('[') {
            return Err(Unfit::Method);
        }
        if func.async_() {
            return Err(Unfit::Async);
        }
        let strange = |strange| Unfit::Signature(Strangeness(strange));
        let parameters = func
            .params()
            .map(|(name, ty)| Ok((name.into(), shapes.of(&ty)?)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(strange)?;
        let result = func.results().next();
        let result = result.as_ref().map(|ty| shapes.of(ty)).transpose();
        Ok(Signature {
            parameters: Shape::Record(parameters),
            result: result.map_err(strange)?,
            types: func.params().map(|(_, ty)| ty).collect(),
        })
    }
}

impl Function {
    /// The interface it is in, as the component names it; none for one that it exports by itself.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Its name there.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Why it can not be called from outside, if so.
    #[must_use]
    pub fn unfit(&self) -> Option<Unfit> {
        self.signature.as_ref().err().copied()
    }

    /// What it takes and gives.
    ///
    /// # Errors
    /// Why it can not be called from outside.
    pub(crate) fn signature(&self) -> Result<&Signature, Unfit> {
        self.signature.as_ref().map_err(|unfit| *unfit)
    }
}

/// With its interface, and as WIT writes it: `acme:math/tools@1.0.0#add: func(a: u32) -> u32`.
impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(interface) = &self.interface {
            write!(f, "{interface}#")?;
        }
        match &self.signature {
            Ok(signature) => write!(f, "{}: {signature}", self.name),
            Err(unfit) => write!(f, "{} (not to be called: {unfit})", self.name),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("func(")?;
        if let Shape::Record(parameters) = &self.parameters {
            listed(f, parameters, |f, (name, ty)| write!(f, "{name}: {ty}"))?;
        }
        f.write_str(")")?;
        match &self.result {
            Some(result) => write!(f, " -> {result}"),
            None => Ok(()),
        }
    }
}
