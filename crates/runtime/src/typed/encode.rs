//! Values to JSON: the other way of `decode`, and its exact opposite.
//!
//! Written straight from what the component gave. What is written is charged as it grows. Called
//! by `invoke`.

use super::shape::Shape;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};
use std::io;
use wasmtime::component::Val;

/// How a value came to be no text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwritten {
    /// There is no room for it.
    TooMuch,
    /// It is not of its type: a bug of the host.
    Unfit,
}

/// A value and its type.
struct Written<'a> {
    shape: &'a Shape,
    value: &'a Val,
}

/// A text that grows as long as there is room for it.
struct Paper<'a> {
    text: Vec<u8>,
    charge: &'a mut dyn FnMut(usize) -> bool,
    full: bool,
}

/// Writes one value. `charge` is asked for bytes before they are taken.
///
/// # Errors
/// When there is no room for it.
pub(crate) fn write(
    shape: &Shape,
    value: &Val,
    charge: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<u8>, Unwritten> {
    let mut paper = Paper {
        text: Vec::new(),
        charge,
        full: false,
    };
    match serde_json::to_writer(&mut paper, &Written { shape, value }) {
        Ok(()) => Ok(paper.text),
        Err(_) if paper.full => Err(Unwritten::TooMuch),
        Err(_) => Err(Unwritten::Unfit),
    }
}

impl io::Write for Paper<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let free = self.text.capacity() - self.text.len();
        if bytes.len() > free {
            let more = bytes.len().max(self.text.len()).max(64);
            if !(self.charge)(more) {
                self.full = true;
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            self.text.reserve_exact(more);
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written<'_> {
    fn part<'a>(shape: &'a Shape, value: &'a Val) -> Written<'a> {
        Written { shape, value }
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match (self.shape, self.value) {
            (Shape::Bool, Val::Bool(value)) => to.serialize_bool(*value),
            (Shape::Int(_), Val::U8(number)) => to.serialize_u8(*number),
            (Shape::Int(_), Val::U16(number)) => to.serialize_u16(*number),
            (Shape::Int(_), Val::U32(number)) => to.serialize_u32(*number),
            (Shape::Int(_), Val::U64(number)) => to.serialize_u64(*number),
            (Shape::Int(_), Val::S8(number)) => to.serialize_i8(*number),
            (Shape::Int(_), Val::S16(number)) => to.serialize_i16(*number),
            (Shape::Int(_), Val::S32(number)) => to.serialize_i32(*number),
            (Shape::Int(_), Val::S64(number)) => to.serialize_i64(*number),
            (Shape::F32, Val::Float32(number)) if number.is_finite() => to.serialize_f32(*number),
            (Shape::F64, Val::Float64(number)) if number.is_finite() => to.serialize_f64(*number),
            (Shape::F32, Val::Float32(number)) => to.serialize_str(special((*number).into())),
            (Shape::F64, Val::Float64(number)) => to.serialize_str(special(*number)),
            (Shape::Char, Val::Char(char)) => to.serialize_char(*char),
            (Shape::String, Val::String(text)) => to.serialize_str(text),
            (Shape::Bytes, Val::List(bytes)) => {
                let bytes: Option<Vec<u8>> = bytes
                    .iter()
                    .map(|byte| match byte {
                        Val::U8(byte) => Some(*byte),
                        _ => None,
                    })
                    .collect();
                let bytes = bytes.ok_or_else(unfit)?;
                to.serialize_str(&BASE64.encode(bytes))
            }
            (Shape::List(element), Val::List(values)) => {
                to.collect_seq(values.iter().map(|value| Written::part(element, value)))
            }
            (Shape::Tuple(parts), Val::Tuple(values)) if parts.len() == values.len() => {
                let mut list = to.serialize_seq(Some(parts.len()))?;
                for (shape, value) in parts.iter().zip(values) {
                    list.serialize_element(&Written::part(shape, value))?;
                }
                list.end()
            }
            (Shape::Record(fields), Val::Record(values)) if fields.len() == values.len() => {
                let mut object = to.serialize_map(Some(fields.len()))?;
                for ((name, shape), (_, value)) in fields.iter().zip(values) {
                    object.serialize_entry(name, &Written::part(shape, value))?;
                }
                object.end()
            }
            (Shape::Variant(cases), Val::Variant(name, payload)) => {
                let case = cases.iter().find(|(known, _)| **known == **name);
                let (name, shape) = case.ok_or_else(unfit)?;
                member(to, name, shape.as_ref(), payload.as_deref())
            }
            (Shape::Enum(_), Val::Enum(name)) => to.serialize_str(name),
            (Shape::Flags(_), Val::Flags(names)) => to.collect_seq(names),
            (Shape::Option(_), Val::Option(None)) => to.serialize_none(),
            (Shape::Option(inner), Val::Option(Some(value))) => match **inner {
                // Or the none inside could not be told from the one outside.
                Shape::Option(_) => member(to, "some", Some(inner), Some(value)),
                _ => Written::part(inner, value).serialize(to),
            },
            (Shape::Result(ok, _), Val::Result(Ok(value))) => {
                member(to, "ok", ok.as_deref(), value.as_deref())
            }
            (Shape::Result(_, err), Val::Result(Err(value))) => {
                member(to, "err", err.as_deref(), value.as_deref())
            }
            _ => Err(unfit()),
        }
    }
}

/// An object of one member, whose value is null where there is no payload.
fn member<S: Serializer>(
    to: S,
    name: &str,
    shape: Option<&Shape>,
    value: Option<&Val>,
) -> Result<S::Ok, S::Error> {
    let mut object = to.serialize_map(Some(1))?;
    match (shape, value) {
        (Some(shape), Some(value)) => object.serialize_entry(name, &Written::part(shape, value))?,
        (None, None) => object.serialize_entry(name, &())?,
        _ => return Err(unfit()),
    }
    object.end()
}

/// What JSON has no word for.
fn special(number: f64) -> &'static str {
    match number {
        number if number.is_nan() => "NaN",
        number if number > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

fn unfit<E: Error>() -> E {
    E::custom("the value is not of its type")
}
