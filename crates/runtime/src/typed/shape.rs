//! The type of a value, as a tree: what JSON and WIT call it, without a look into the component.
//!
//! Made once when a component is loaded. Must not hold what can not be written down: a resource,
//! a stream or a future is nothing that a caller could send. Made by `contract`.

use std::fmt;
use wasmtime::component::Type;

/// How deep a type may be nested. JSON is read that deep on the stack, and readers elsewhere
/// give up at about 128.
const DEPTH_MAX: usize = 48;

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    Bool,
    Int(Int),
    F32,
    F64,
    Char,
    String,
    /// `list<u8>`, which JSON has no shorter word for than base64.
    Bytes,
    List(Box<Shape>),
    Tuple(Vec<Shape>),
    Record(Vec<(Box<str>, Shape)>),
    Variant(Vec<(Box<str>, Option<Shape>)>),
    Enum(Vec<Box<str>>),
    Flags(Vec<Box<str>>),
    Option(Box<Shape>),
    Result(Option<Box<Shape>>, Option<Box<Shape>>),
}

/// The integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Int {
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
}

/// What a signature has that can not be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Strange {
    #[error("a resource, which is only of use inside the component")]
    Resource,
    #[error("a stream")]
    Stream,
    #[error("a future")]
    Future,
    #[error("an error-context")]
    ErrorContext,
    #[error("a map, which this version can not write as JSON")]
    Map,
    #[error("a list of fixed length, which this version can not write as JSON")]
    FixedLengthList,
    #[error("types nested deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("more types than are kept of one component")]
    TooMany,
}

/// Makes shapes, as many as there is room for.
pub(super) struct Shapes {
    /// Types that may still be made. A type may stand in many places of another, so that a few
    /// bytes of a component can name very many.
    left: usize,
}

impl Shapes {
    pub(super) fn new(most: usize) -> Shapes {
        Shapes { left: most }
    }

    pub(super) fn of(&mut self, ty: &Type) -> Result<Shape, Strange> {
        self.at(ty, DEPTH_MAX)
    }

    fn at(&mut self, ty: &Type, depth: usize) -> Result<Shape, Strange> {
        let depth = depth.checked_sub(1).ok_or(Strange::TooDeep)?;
        self.left = self.left.checked_sub(1).ok_or(Strange::TooMany)?;
        let mut part = |ty: &Type| self.at(ty, depth);
        Ok(match ty {
            Type::Bool => Shape::Bool,
            Type::U8 => Shape::Int(Int::U8),
            Type::U16 => Shape::Int(Int::U16),
            Type::U32 => Shape::Int(Int::U32),
            Type::U64 => Shape::Int(Int::U64),
            Type::S8 => Shape::Int(Int::S8),
            Type::S16 => Shape::Int(Int::S16),
            Type::S32 => Shape::Int(Int::S32),
            Type::S64 => Shape::Int(Int::S64),
            Type::Float32 => Shape::F32,
            Type::Float64 => Shape::F64,
            Type::Char => Shape::Char,
            Type::String => Shape::String,
            Type::List(list) => match list.ty() {
                Type::U8 => Shape::Bytes,
                element => Shape::List(Box::new(part(&element)?)),
            },
            Type::Tuple(tuple) => {
                let parts = tuple.types().map(|ty| part(&ty));
                Shape::Tuple(parts.collect::<Result<_, _>>()?)
            }
            Type::Record(record) => {
                let fields = record
                    .fields()
                    .map(|field| Ok((field.name.into(), part(&field.ty)?)));
                Shape::Record(fields.collect::<Result<_, _>>()?)
            }
            Type::Variant(variant) => {
                let cases = variant.cases().map(|case| {
                    let payload = case.ty.as_ref().map(&mut part).transpose()?;
                    Ok((case.name.into(), payload))
                });
                Shape::Variant(cases.collect::<Result<_, _>>()?)
            }
            Type::Enum(cases) => Shape::Enum(cases.names().map(Into::into).collect()),
            Type::Flags(flags) => Shape::Flags(flags.names().map(Into::into).collect()),
            Type::Option(option) => Shape::Option(Box::new(part(&option.ty())?)),
            Type::Result(result) => {
                let mut side = |ty: Option<Type>| ty.as_ref().map(&mut part).transpose();
                let (ok, err) = (side(result.ok())?, side(result.err())?);
                Shape::Result(ok.map(Box::new), err.map(Box::new))
            }
            Type::Own(_) | Type::Borrow(_) => return Err(Strange::Resource),
            Type::Stream(_) => return Err(Strange::Stream),
            Type::Future(_) => return Err(Strange::Future),
            Type::ErrorContext => return Err(Strange::ErrorContext),
            Type::Map(_) => return Err(Strange::Map),
            Type::FixedLengthList(_) => return Err(Strange::FixedLengthList),
        })
    }
}

impl Int {
    /// The least and the greatest.
    pub(crate) const fn range(self) -> (i128, i128) {
        match self {
            Int::U8 => (0, u8::MAX as i128),
            Int::U16 => (0, u16::MAX as i128),
            Int::U32 => (0, u32::MAX as i128),
            Int::U64 => (0, u64::MAX as i128),
            Int::S8 => (i8::MIN as i128, i8::MAX as i128),
            Int::S16 => (i16::MIN as i128, i16::MAX as i128),
            Int::S32 => (i32::MIN as i128, i32::MAX as i128),
            Int::S64 => (i64::MIN as i128, i64::MAX as i128),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Int::U8 => "u8",
            Int::U16 => "u16",
            Int::U32 => "u32",
            Int::U64 => "u64",
            Int::S8 => "s8",
            Int::S16 => "s16",
            Int::S32 => "s32",
            Int::S64 => "s64",
        }
    }
}

/// As WIT writes it, with what is behind a name in its place.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Bool => f.write_str("bool"),
            Shape::Int(int) => f.write_str(int.name()),
            Shape::F32 => f.write_str("f32"),
            Shape::F64 => f.write_str("f64"),
            Shape::Char => f.write_str("char"),
            Shape::String => f.write_str("string"),
            Shape::Bytes => f.write_str("list<u8>"),
            Shape::List(element) => write!(f, "list<{element}>"),
            Shape::Tuple(parts) => {
                f.write_str("tuple<")?;
                listed(f, parts, |f, part| write!(f, "{part}"))?;
                f.write_str(">")
            }
            Shape::Record(fields) => {
                f.write_str("record { ")?;
                listed(f, fields, |f, (name, ty)| write!(f, "{name}: {ty}"))?;
                f.write_str(" }")
            }
            Shape::Variant(cases) => {
                f.write_str("variant { ")?;
                listed(f, cases, |f, (name, payload)| match payload {
                    Some(payload) => write!(f, "{name}({payload})"),
                    None => f.write_str(name),
                })?;
                f.write_str(" }")
            }
            Shape::Enum(names) => {
                f.write_str("enum { ")?;
                listed(f, names, |f, name| f.write_str(name))?;
                f.write_str(" }")
            }
            Shape::Flags(names) => {
                f.write_str("flags { ")?;
                listed(f, names, |f, name| f.write_str(name))?;
                f.write_str(" }")
            }
            Shape::Option(some) => write!(f, "option<{some}>"),
            Shape::Result(None, None) => f.write_str("result"),
            Shape::Result(Some(ok), None) => write!(f, "result<{ok}>"),
            Shape::Result(None, Some(err)) => write!(f, "result<_, {err}>"),
            Shape::Result(Some(ok), Some(err)) => write!(f, "result<{ok}, {err}>"),
        }
    }
}

/// With commas in between.
pub(super) fn listed<T>(
    f: &mut fmt::Formatter<'_>,
    parts: &[T],
    mut write: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write(f, part)?;
    }
    Ok(())
}
